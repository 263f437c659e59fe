"""Local files under many threads: each reads what it asked for, however few may be open."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drawpoint_store.storage.byte_sources import Span
from drawpoint_store.storage.local_storage import LocalSource, OpenFiles


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("limit", [1, 2])
def test_threads_read_their_own_file_when_few_may_be_open(tmp_path: Path, limit: int) -> None:
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 1000)
    source = LocalSource(tmp_path, OpenFiles(tmp_path, limit), 2**20)
    problems: list[object] = []

    def read_in_turn(first: int) -> None:
        try:
            for turn in range(1500):
                number = (first + turn) % 6
                (found,) = source.fetch([Span(str(number), 100, 500)])
                if found != bytes([number]) * 500:
                    problems.append((number, bytes(found[:10])))
        except Exception as error:  # noqa: BLE001  whatever it is, the thread must not swallow it
            problems.append(error)

    threads = [threading.Thread(target=read_in_turn, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_no_more_files_stay_open_than_may(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).write_bytes(b"x")
    files = OpenFiles(tmp_path, 3)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for number in range(10):
        files.open(str(tmp_path / str(number)))
    assert len(list(descriptors.iterdir())) == before + 3


def test_a_span_beyond_the_end_gives_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"0123456789")
    source = LocalSource(tmp_path, OpenFiles(tmp_path, 1), 2**20)
    spans = [Span("object", 8, 5), Span("object", -3, 3), Span("object", 0, None), Span("object", 50, 5)]
    assert [bytes(found) for found in source.fetch(spans)] == [b"89", b"789", b"0123456789", b""]


def test_an_object_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^a/b$"):
        list(LocalSource(tmp_path, OpenFiles(tmp_path, 1), 2**20).fetch([Span("a/b", 0, 5)]))
