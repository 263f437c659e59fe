"""The sizes and stamps of files of which a storage lists the names alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drawpoint_store.conversion.sources.file_tree import look_at_unlisted
from drawpoint_store.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drawpoint_store.conversion.recipes.reading.sample_files import FoundFile, SampleFiles
    from drawpoint_store.conversion.sources.source import SourceFile
    from drawpoint_store.storage import Storage


def with_sizes(samples: Mapping[str, list[SampleFiles]], storage: Storage) -> dict[str, list[SampleFiles]]:
    """Return samples of which each file has size and stamp; one that is gone by now is lacking.

    Asked for are those that were not listed, several at a time. Raises StoreUnreadable where the storage does not
    answer.
    """
    looked = look_at_unlisted(storage, _files(samples))
    if not looked:
        return dict(samples)
    known = {path: file for path, file in looked.items() if file is not None}
    return {
        sample_id: [_sized(each, known, looked.keys() - known.keys()) for each in found]
        for sample_id, found in samples.items()
    }


def _files(samples: Mapping[str, list[SampleFiles]]) -> Iterable[SourceFile]:
    return (file for found in samples.values() for each in found for file in each.files)


def _sized(sample: SampleFiles, known: Mapping[str, SourceFile], gone: Iterable[str]) -> SampleFiles:
    def sized(found: FoundFile) -> FoundFile:
        return replace(found, files=tuple(known.get(file.path, file) for file in found.files))

    paths = {file.path for file in sample.files}
    lacking = [f"lacks {printable(path)}, which is listed" for path in sorted(gone) if path in paths]
    return replace(
        sample,
        found={reference: sized(found) for reference, found in sample.found.items()},
        problem="; ".join(filter(None, [sample.problem, *lacking])),
    )
