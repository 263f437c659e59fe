"""A file elsewhere is read as a local one is, and each part of it fetched once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawpoint.errors import InvalidSample, StoreUnreadable
from drawpoint_store.storage import Storage, open_storage, partial_file
from drawpoint_store.storage.partial_file import PartialFile
from drawpoint_store.storage.storage import RangesRefused

DATA = np.random.default_rng(0).bytes(5000)
SPANS = st.lists(st.tuples(st.integers(0, 5200), st.integers(0, 700)), max_size=6)


def remote_file(folder: str | Path) -> tuple[PartialFile, Storage]:
    fsspec.filesystem("memory").pipe("/runs/data.bin", DATA)
    storage = open_storage("memory://runs")
    info = storage.info("data.bin")
    assert info is not None
    return PartialFile(storage, info, Path(folder, "below", "data.bin")), storage


def read(file: PartialFile, begin: int, nbytes: int) -> bytes:
    view = bytearray(nbytes)
    return bytes(view[: file.preadv(memoryview(view), begin)])


@settings(max_examples=50)  # each makes files
@given(SPANS, SPANS, st.integers(1, 300), st.sampled_from([1, 500, 10_000]))
def test_any_reads_give_the_bytes_of_the_file(
    fetched: list[tuple[int, int]], spans: list[tuple[int, int]], block: int, most: int
) -> None:
    sizes = mock.patch.multiple(partial_file, BLOCK=block, MOST_BYTES=block * most)
    with TemporaryDirectory() as folder, sizes, ThreadPoolExecutor(2) as pool:
        file, storage = remote_file(folder)
        wanted = [(begin, min(begin + nbytes, 5000)) for begin, nbytes in fetched]
        planned = file.nbytes_of(wanted)
        for each in file.fetch(wanted, pool):
            each.result()
        assert planned == file.nbytes_present
        file = pickle.loads(pickle.dumps(file))
        for begin, end in wanted:
            if begin < end:
                assert read(file, begin, end - begin) == DATA[begin:end]
        assert file.round_trips == 0
        for begin, nbytes in spans:
            assert read(file, begin, nbytes) == DATA[begin : begin + nbytes]
        with mock.patch.object(storage, "read_range", side_effect=AssertionError("fetched again")):
            for begin, nbytes in spans:
                assert read(file, begin, nbytes) == DATA[begin : begin + nbytes]
        file.close()


def test_a_file_that_ends_early_or_is_gone_is_no_file_of_fewer_bytes(tmp_path: Path) -> None:
    file, _ = remote_file(tmp_path)
    fsspec.filesystem("memory").pipe("/runs/data.bin", DATA[:-1])
    with pytest.raises(InvalidSample, match=r"^memory://runs/data\.bin was written again, or cut short, while"):
        read(file, 0, 10)
    fsspec.filesystem("memory").rm("/runs/data.bin")
    with pytest.raises(InvalidSample, match="was written again, or cut short"):
        read(file, 0, 10)


@pytest.mark.parametrize("longer", [1, 100])
def test_a_file_that_grew_takes_no_more_room_than_was_listed(tmp_path: Path, longer: int) -> None:
    file, storage = remote_file(tmp_path)
    file.whole = True
    refused = RangesRefused("gives files whole", store="")
    with (
        mock.patch.object(storage, "read_range", side_effect=refused),
        mock.patch.object(storage, "stream", return_value=iter([DATA, b"+" * longer])),
        pytest.raises(InvalidSample, match="it has more than the 5,000 bytes that were listed"),
    ):
        read(file, 0, 10)
    assert file.place.stat().st_size == len(DATA)


def test_a_file_that_nobody_waits_for_is_not_read_to_its_end(tmp_path: Path) -> None:
    file, storage = remote_file(tmp_path)
    file.whole = True

    def pieces(_: str) -> Iterator[bytes]:
        yield DATA[:10]
        file.stop()
        yield DATA[10:20]
        raise AssertionError("read on")

    with (
        mock.patch.object(storage, "read_range", side_effect=RangesRefused("gives files whole", store="")),
        mock.patch.object(storage, "stream", pieces),
        pytest.raises(StoreUnreadable, match="nobody waits for it"),
    ):
        read(file, 0, 10)


def test_a_place_without_room_is_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "below").touch()
    with pytest.raises(StoreUnreadable, match=r"cannot be copied to .*below: File exists; give --scratch"):
        read(remote_file(tmp_path)[0], 0, 10)
