"""A file elsewhere is read as a local one is, and each part of it fetched once."""

from __future__ import annotations

import pickle
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

DATA = np.random.default_rng(0).bytes(5000)
SPANS = st.lists(st.tuples(st.integers(0, 5200), st.integers(0, 700)), max_size=6)


def far_file(folder: str | Path) -> tuple[PartialFile, Storage]:
    fsspec.filesystem("memory").pipe("/far/data.bin", DATA)
    storage = open_storage("memory://far")
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
        file, storage = far_file(folder)
        wanted = [(begin, min(begin + nbytes, 5000)) for begin, nbytes in fetched]
        planned = file.nbytes_of(wanted)
        for each in file.fetch(wanted, pool):
            each.result()
        assert planned <= file.nbytes_present + 4 * block * len(wanted)
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
    file, _ = far_file(tmp_path)
    fsspec.filesystem("memory").pipe("/far/data.bin", DATA[:-1])
    with pytest.raises(InvalidSample, match=r"^memory://far/data\.bin was written again, or cut short, while"):
        read(file, 0, 10)
    fsspec.filesystem("memory").rm("/far/data.bin")
    with pytest.raises(InvalidSample, match="was written again, or cut short"):
        read(file, 0, 10)


def test_a_place_without_room_is_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "below").touch()
    with pytest.raises(StoreUnreadable, match=r"cannot be copied to .*below: File exists; give --scratch"):
        read(far_file(tmp_path)[0], 0, 10)
