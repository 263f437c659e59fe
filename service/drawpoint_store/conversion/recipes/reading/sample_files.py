"""The samples that a recipe finds in a tree of files, and the files of each."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample, InvalidSettings
from drawpoint_store.conversion.recipes.file_reference import PIECE, SAMPLE_ITSELF
from drawpoint_store.conversion.recipes.pattern import ID, Pattern, Step, fill, fits, natural_key
from drawpoint_store.conversion.recipes.reading.listed_sizes import with_sizes
from drawpoint_store.conversion.recipes.reading.named_files import NamedFiles
from drawpoint_store.conversion.sources.file_tree import folders_above
from drawpoint_store.conversion.sources.source import SourceFile
from drawpoint_store.data_files import open_data_file
from drawpoint_store.data_files.opening import LISTERS, suffix_of
from drawpoint_store.storage import LocalStorage
from drawpoint_store.storage.partial_file import PartialFile
from drawpoint_store.storage.temporary_folder import temporary_folder
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from drawpoint_store.conversion.recipes.file_reference import FileReference
    from drawpoint_store.conversion.recipes.recipe import Recipe
    from drawpoint_store.conversion.sources.file_tree import FileTree


_NAMING = tuple(LISTERS)
"""The suffixes of files that are not alone what is read."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A data file of a sample: the path to open, or the paths of its pieces in order, and all files that these are."""

    paths: tuple[str, ...]
    files: tuple[SourceFile, ...]

    @property
    def name(self) -> str:
        """What messages call the file."""
        return posixpath.basename(self.paths[0])


@dataclass(frozen=True)
class SampleFiles:
    """A sample of a data set: where it lies, what its path captured, and its files as the recipe refers to them.

    `problem` says what is missing, "" if nothing is.
    """

    sample_id: str
    path: str
    captures: Mapping[str, str]
    found: Mapping[FileReference, FoundFile]
    problem: str = ""

    @property
    def files(self) -> list[SourceFile]:
        """All files of the sample, each once."""
        return list(dict.fromkeys(file for each in self.found.values() for file in each.files))


class _FileMissing(InvalidSample):
    """There is no file where a recipe expects one."""


class SampleFinder:
    """Finds the samples of a recipe in a tree of files."""

    def __init__(self, tree: FileTree, recipe: Recipe) -> None:
        self.tree = tree
        self.recipe = recipe
        self._named = recipe.named_files
        self._needed = frozenset(recipe.needed_files)
        self._own = [each for each in self._named if not all(map(_is_no_sign, each.patterns))]
        self._files = NamedFiles(tree)

    def find(self) -> dict[str, list[SampleFiles]]:
        """Return all samples by id, in the order of the ids; those of one id more than once have to be told apart.

        A folder that matches and holds none of its files is broken, unless any name would match or samples lie in it
        or around it. A folder inside a sample is no sample of its own.
        """
        candidates = sorted(self._candidates(), key=lambda found: len(list(folders_above(found[0]))))
        taken: dict[str, SampleFiles] = {}
        empty: dict[str, SampleFiles] = {}
        for path, pattern, captures in candidates:
            if any(above in taken for above in folders_above(path)):
                continue
            sample = self._sample(path, pattern, captures)
            if self._has_any(path, sample):
                taken[path] = sample
            elif not pattern.is_any_name:
                empty[path] = sample
        around = {above for path in taken for above in folders_above(path)}
        taken |= {path: sample for path, sample in empty.items() if path not in around}
        by_id: dict[str, list[SampleFiles]] = {}
        for path in sorted(taken):
            by_id.setdefault(taken[path].sample_id, []).append(taken[path])
        return with_sizes({sample_id: by_id[sample_id] for sample_id in sorted(by_id)}, self.tree.storage)

    def _candidates(self) -> Iterator[tuple[str, Pattern, dict[str, str]]]:
        """Yield each folder, file or row that a pattern matches, with the first such pattern and what it captures."""
        patterns = [pattern for pattern in self.recipe.patterns if pattern.rows is None]
        for path in self._folders:
            yield from _first_match(path, patterns)
        of_files = [pattern for pattern in patterns if pattern.names_files]
        of_rows = [(pattern, *pattern.rows) for pattern in self.recipe.patterns if pattern.rows is not None]
        if of_files or of_rows:
            for path in (posixpath.join(folder, name) for folder, files in self.tree.folders.items() for name in files):
                yield from _first_match(path, of_files)
                for pattern, file, capture in of_rows:
                    for _, _, captures in _first_match(path, [file]):
                        for row in range(self._n_rows(path)):
                            yield f"{path}[{row}]", pattern, {**captures, capture: str(row)}

    def _n_rows(self, path: str) -> int:
        """Return the rows of the first array of a file; of one that lies elsewhere its header is read."""
        storage = self.tree.storage
        if isinstance(storage, LocalStorage):
            with open_data_file(storage.path(path)) as file:
                return file.arrays[0].n_rows
        if suffix_of(path) != ".npy":
            raise InvalidSettings(
                f"each row of {printable(path)} is a sample, and how many it has cannot be told of {storage.root}, but "
                "for .npy files: copy it to this machine, and give a path."
            )
        info = storage.info(path)
        if info is None:
            return 0
        with temporary_folder() as folder, open_data_file(PartialFile(storage, info, folder / "rows.npy")) as file:
            return file.arrays[0].n_rows

    def _sample(self, path: str, pattern: Pattern, captures: dict[str, str]) -> SampleFiles:
        is_file = path not in self._folders
        row = "" if pattern.rows is None else f"/{captures[pattern.rows[1]]}"
        path = path.removesuffix(f"[{row[1:]}]") if row else path
        if self.recipe.id is not None:
            sample_id = fill(self.recipe.id, captures)
        else:
            sample_id = (posixpath.splitext(path)[0] + row if is_file else path) or self.tree.name
        values = {ID: sample_id, **captures}
        folder = posixpath.dirname(path) if is_file else path
        found: dict[FileReference, FoundFile] = {}
        problems = []
        for reference in (*self._named, SAMPLE_ITSELF) if is_file else self._named:
            try:
                if reference == SAMPLE_ITSELF:
                    found[reference] = FoundFile((path,), tuple(self._files_of(path)))
                else:
                    found[reference] = self._find_file(reference, folder, values)
            except _FileMissing as error:
                if reference in self._needed:
                    problems.append(str(error))
            except InvalidSample as error:
                found[reference] = FoundFile((), ())
                problems.append(str(error))
        return SampleFiles(sample_id, path, values, found, "; ".join(problems))

    def _has_any(self, path: str, sample: SampleFiles) -> bool:
        """Tell whether a sample has any file that is neither the same for all samples nor its own folder."""
        return path not in self._folders or not self._own or any(each in sample.found for each in self._own)

    def _find_file(self, reference: FileReference, folder: str, values: Mapping[str, str]) -> FoundFile:
        """Return the file that a recipe refers to; raises _FileMissing or, for several, InvalidSample."""
        paths = []
        for pattern in reference.patterns:
            start = "" if pattern.text.startswith("/") else folder
            matched = sorted(self._below(start, pattern.steps(values)), key=natural_key)
            if not matched:
                raise _FileMissing(f"lacks {printable(pattern.fill(values))}")
            paths += matched
        if len(paths) > 1:
            others = [path for path in paths if not path.endswith(PIECE)]
            if others:
                raise InvalidSample(
                    f"has {count(len(paths), 'file')} where one is expected ({reference}): "
                    f"{first_few([printable(posixpath.basename(path)) for path in paths])}"
                )
            _check_pieces(paths)
        return FoundFile(tuple(paths), tuple(file for path in paths for file in self._files_of(path)))

    def _below(self, folder: str, steps: Sequence[Step]) -> list[str]:
        """Return the paths of the files and folders below `folder` that the steps lead to."""
        if steps == [(".",)]:
            return [folder]
        here = [folder]
        for step in steps:
            entries = ((each, self._entries.get(each, frozenset())) for each in here)
            if len(step) == 1:
                here = [posixpath.join(each, step[0]) for each, names in entries if step[0] in names]
            else:
                here = [posixpath.join(each, name) for each, names in entries for name in names if fits(step, name)]
        return here

    def _files_of(self, path: str) -> list[SourceFile]:
        """Return the file at `path` with those that it names, or the files of the folder at `path` that are read."""
        is_file = path not in self._folders
        if is_file and not path.lower().endswith(_NAMING):
            return [self._source_file(path)]
        besides = self._files.besides(path)
        if is_file or besides:
            return [self._source_file(each) for each in ([path] if is_file else []) + besides]
        return [
            file
            for folder, files in sorted(self.tree.folders.items())
            if folder == path or folder.startswith(f"{path}/" if path else "")
            for _, file in sorted(files.items())
        ]

    def _source_file(self, path: str) -> SourceFile:
        """Return the file at `path`, which need not lie below the source; raises InvalidSample if it is not there."""
        folder, name = posixpath.split(path)
        found = self.tree.folders.get(folder, {}).get(name)
        if found is None:
            info = self.tree.storage.info(path)
            if info is None:
                raise InvalidSample(f"lacks {printable(path)}")
            found = SourceFile(path, info.nbytes, info.stamp)
        return found

    @cached_property
    def _folders(self) -> frozenset[str]:
        """All folders that files lie below; `""` is the source itself."""
        return frozenset(above for folder in self.tree.folders for above in (folder, *folders_above(folder)))

    @cached_property
    def _entries(self) -> dict[str, frozenset[str]]:
        """The names of the files and folders that lie directly in each folder."""
        names: dict[str, set[str]] = {folder: set(files) for folder, files in self.tree.folders.items()}
        for folder in self._folders:
            if folder:
                names.setdefault(posixpath.dirname(folder), set()).add(posixpath.basename(folder))
        return {folder: frozenset(found) for folder, found in names.items()}


def _first_match(path: str, patterns: Sequence[Pattern]) -> Iterator[tuple[str, Pattern, dict[str, str]]]:
    for pattern in patterns:
        captures = ({} if pattern.text == "." else None) if path == "" else pattern.match(path)
        if captures is not None:
            yield path, pattern, captures
            return


def _is_no_sign(pattern: Pattern) -> bool:
    """Tell whether a path is there for any folder: one that all samples share, or the folder itself."""
    return pattern.text == "." or (pattern.text.startswith("/") and not pattern.captures)


def _check_pieces(paths: Sequence[str]) -> None:
    """Raise InvalidSample where the numbers of pieces have a gap, or do not begin with 0 or 1."""
    numbers = [int(found[-1]) if (found := re.findall(r"\d+", path)) else 0 for path in paths]
    expected = range(min(numbers[0], 1), min(numbers[0], 1) + len(paths))
    for number, wanted, path in zip(numbers, expected, paths, strict=True):
        if number != wanted:
            raise _FileMissing(f"lacks the piece before {printable(posixpath.basename(path))}")
