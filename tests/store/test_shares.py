"""Conversions that several processes share: the store is that of an undivided one."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drawpoint.errors import ConversionUnfinished, StoreExists
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.report import ConversionReport
from drawpoint_store.conversion.shares import Share, convert_share, publish_shares
from drawpoint_store.writing.lock import lock_share, lock_store
from trees import files_below, write_run, write_runs, writer_at


def without_times(report: ConversionReport) -> ConversionReport:
    return report.model_copy(update={"seconds": 0.0})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Seven runs, of which one is broken and one not finite."""
    write_runs(tmp_path / "runs", 5)
    write_run(tmp_path / "runs" / "broken", surface_pressure=None)
    write_run(tmp_path / "runs" / "odd", surface_pressure=[float("nan")])
    return tmp_path / "runs"


@pytest.mark.parametrize("total", [1, 3, 9])
def test_shares_in_any_order_give_the_store_of_one_conversion(runs: Path, tmp_path: Path, total: int) -> None:
    whole = convert(runs, writer_at(tmp_path / "whole"))
    numbers = random.Random(total).sample(range(1, total + 1), total)
    for number in numbers:
        report = convert_share(runs, writer_at(tmp_path / "shared"), Share(number, total))
        assert report.revision is None
        assert not (tmp_path / "shared" / "manifest.json").exists()
    shared = publish_shares(runs, writer_at(tmp_path / "shared"))
    assert without_times(shared) == without_times(whole)
    assert files_below(tmp_path / "shared") == files_below(tmp_path / "whole")


def test_shares_run_beside_each_other(runs: Path, tmp_path: Path) -> None:
    convert(runs, writer_at(tmp_path / "whole"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: convert_share(runs, writer_at(tmp_path / "shared"), Share(n, 4)), range(1, 5)))
    publish_shares(runs, writer_at(tmp_path / "shared"))
    assert files_below(tmp_path / "shared") == files_below(tmp_path / "whole")


def test_samples_that_no_share_has_done_are_named_and_nothing_is_published(runs: Path, tmp_path: Path) -> None:
    for number in (1, 3):
        convert_share(runs, writer_at(tmp_path / "shared"), Share(number, 3))
    with pytest.raises(ConversionUnfinished, match="2 samples of 6 are not converted yet"):
        publish_shares(runs, writer_at(tmp_path / "shared"))
    assert not (tmp_path / "shared" / "manifest.json").exists()
    with pytest.raises(ConversionUnfinished, match="6 samples of 6 are not converted yet, with these options"):
        publish_shares(runs, writer_at(tmp_path / "shared", shuffle_seed=1))
    convert_share(runs, writer_at(tmp_path / "shared"), Share(2, 3))
    assert len(publish_shares(runs, writer_at(tmp_path / "shared")).converted) == 5


def test_a_sample_that_was_mended_is_converted_by_the_next_run_of_its_share(runs: Path, tmp_path: Path) -> None:
    assert list(convert_share(runs, writer_at(tmp_path / "shared"), Share(1, 1)).broken) == ["broken", "odd"]
    shutil.rmtree(runs / "odd")
    write_run(runs / "odd")
    with pytest.raises(ConversionUnfinished, match="odd"):  # what was found of its old files does not count
        publish_shares(runs, writer_at(tmp_path / "shared"))
    assert convert_share(runs, writer_at(tmp_path / "shared"), Share(1, 1)).resumed == 5
    assert "odd" in publish_shares(runs, writer_at(tmp_path / "shared")).converted


def test_a_share_is_kept_out_by_a_whole_conversion_and_keeps_it_out(runs: Path, tmp_path: Path) -> None:
    with lock_share(tmp_path / "store", "1/2"):
        for convert_all in (convert, publish_shares):
            with pytest.raises(StoreExists, match="another conversion is writing to"):
                convert_all(runs, writer_at(tmp_path / "store"))
        with pytest.raises(StoreExists, match="another process converts share 1/2 into"):
            convert_share(runs, writer_at(tmp_path / "store"), Share(1, 2))
        convert_share(runs, writer_at(tmp_path / "store"), Share(2, 2))
    with lock_store(tmp_path / "store"), pytest.raises(StoreExists, match="a conversion that is no share"):
        convert_share(runs, writer_at(tmp_path / "store"), Share(1, 2))


@pytest.mark.parametrize(("number", "total"), [(0, 2), (3, 2), (1, 0)])
def test_a_share_that_is_none_is_refused(number: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"not {number}/{total}"):
        Share(number, total)
