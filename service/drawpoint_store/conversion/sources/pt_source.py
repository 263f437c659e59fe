"""Trees of `.pt` files: a folder is a sample, and each field is a tensor in a file of its own."""

from __future__ import annotations

import importlib.util
import io
import posixpath
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from drawpoint.errors import ExtraMissing, InvalidSample
from drawpoint.extras import how_to_install
from drawpoint.format.scalars import check_scalars
from drawpoint_store.conversion.scalars import BESIDE, name_parameters, parse_scalars
from drawpoint_store.conversion.sources.file_tree import FileTree, look_at_unlisted, read_file
from drawpoint_store.conversion.sources.filemaps import is_unmapped_field, near_fields
from drawpoint_store.data_files.tables.pt import as_array, load_pt
from drawpoint_store.storage import LocalStorage
from drawpoint_store.writing.layout import FieldSpec, FileMap, filename_to_canonical, present_specs

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np

    from drawpoint_store.conversion.sources.source import SourceFile
    from drawpoint_store.storage import Storage

PREPROCESSED = "preprocessed/"
"""The folder that the preprocessing of some data sets writes to; no part of a sample's id."""


@dataclass(frozen=True)
class PtSource:
    """The samples of a file tree: the folders that hold the files of fields; a `Source`.

    These are the fields that `filemap` names a file for, and `own` of yours. A sample's scalars are the numbers in the
    files `scalars.toml`, `.json` and `.csv` beside its fields, and its `design_parameters`, if the FileMap names a
    file of them, by `parameter_names` or as `design_parameters_0` and so on. Raises ValueError for two fields in
    one file, and ExtraMissing, with the remedy, where there is no torch to read the files with.
    """

    tree: FileTree
    filemap: FileMap
    own: tuple[FieldSpec, ...] = ()
    parameter_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_torch()
        if len(self._fields) < len(self.specs):
            lost = next(spec.canonical for spec in self.specs if spec.canonical not in self._fields.values())
            raise ValueError(f"{lost} lies in the file of another field; give each its own (filemap_attr).")

    @classmethod
    def scan(cls, location: str | os.PathLike[str], filemap: FileMap, fields: Iterable[FieldSpec] = ()) -> Self:
        """List the files below `location`; raises what FileTree.scan raises."""
        return cls(FileTree.scan(location), filemap, tuple(fields))

    @property
    def location(self) -> str:
        return self.tree.storage.root

    @property
    def sample_ids(self) -> list[str]:
        if not self.sample_folders:
            raise InvalidSample(
                f"there is no sample in {self.location}: no directory in it holds any of "
                f"{', '.join(self._fields)}; name the files of its fields with --filemap, or give a --recipe."
            )
        return [sample_id for sample_id in self.sample_folders if sample_id not in self.broken]

    @cached_property
    def broken(self) -> dict[str, str]:
        reasons = {}
        for sample_id, folders in self.sample_folders.items():
            found = self.fields(sample_id)
            missing = [f"{name} ({field})" for name, field in self._fields.items() if field not in found]
            if len(folders) > 1:
                paths = " and ".join(posixpath.join(self.location, folder).rstrip("/") for folder in folders)
                reasons[sample_id] = f"{paths} would be samples of the same id"
            elif missing:
                reasons[sample_id] = f"lacks {', '.join(missing)}"
        return reasons

    @cached_property
    def unmapped_files(self) -> dict[str, int]:
        folders = [folder for folders in self.sample_folders.values() for folder in folders]
        counts = Counter(name for folder in (*folders, *self.unmapped_folders) for name in self.tree.folders[folder])
        return {name: counts[name] for name in sorted(counts) if is_unmapped_field(name, self.filemap, self.own)}

    @cached_property
    def unmapped_folders(self) -> list[str]:
        """The folders that are no samples although the names of two or more of their files are near those of fields.

        One such file alone may be anything that lies beside samples.
        """
        unmapped = (name for name in self.tree.file_names if is_unmapped_field(name, self.filemap, self.own))
        near = {name for name in unmapped if near_fields(name, self.own)}
        return sorted(
            folder
            for folder, files in self.tree.folders.items()
            if self._fields.keys().isdisjoint(files) and len(near.intersection(files)) > 1
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "filemap": self.filemap.model_dump(),
            "fields": [asdict(spec) for spec in self.own],
            "parameter_names": self.parameter_names,
        }

    @property
    def splits(self) -> dict[str, list[str]]:
        return {}

    @property
    def writer_settings(self) -> dict[str, Any]:
        """The arguments of ZarrStoreWriter that say which fields a store of the source has."""
        return {"filemap": self.filemap, "fields": self.own}

    @property
    def specs(self) -> list[FieldSpec]:
        return [*present_specs(self.filemap), *self.own]

    def only(self, sample_id: str) -> PtSource:
        folders = {folder: self.tree.folders[folder] for folder in self.sample_folders.get(sample_id, ())}
        narrowed = replace(self, tree=FileTree(self.tree.storage.absolute(), folders))
        # What this source knows of the files: looked at again, they might be others than those that it lists.
        narrowed.__dict__["_looked_at"] = {file.path: file for file in self.files(sample_id)}
        return narrowed

    def files(self, sample_id: str) -> list[SourceFile]:
        return [self._looked_at.get(file.path) or file for file in self._listed_files(sample_id)]

    def _listed_files(self, sample_id: str) -> list[SourceFile]:
        return [*self._field_files(sample_id).values(), *self._scalar_files(sample_id)]

    @cached_property
    def _looked_at(self) -> dict[str, SourceFile | None]:
        """The files of samples of which a web server lists the names alone, with sizes and stamps."""
        files = (file for sample_id in self.sample_folders for file in self._listed_files(sample_id))
        return {} if isinstance(self.tree.storage, LocalStorage) else look_at_unlisted(self.tree.storage, files)

    def fields(self, sample_id: str) -> list[str]:
        return list(self._field_files(sample_id))

    def scalars(self, sample_id: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for file in self._scalar_files(sample_id):
            name, scalars = posixpath.basename(file.path), self._read_scalars(file.path)
            twice = sorted(found.keys() & scalars.keys())
            if twice:
                raise InvalidSample(f"{name} has the scalar {twice[0]!r}, as another file of the sample has")
            found |= scalars
        return found

    def where(self, field: str) -> str:
        return next(name for name, named in self._fields.items() if named == field)

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        return read_tensor(self.tree.storage, self._field_files(sample_id)[field].path)

    def close(self, *, keep: bool = False) -> None:
        """Do nothing: each file is closed when it was read."""

    def _field_files(self, sample_id: str) -> dict[str, SourceFile]:
        """Return the files of a sample by canonical field."""
        found = self._files_beside(sample_id)
        return {field: found[name] for name, field in self._fields.items() if name in found}

    def _scalar_files(self, sample_id: str) -> list[SourceFile]:
        """Return the files that hold scalars of a sample."""
        found = self._files_beside(sample_id)
        return [found[name] for name in (self.filemap.design_parameters, *BESIDE) if name in found]

    def _files_beside(self, sample_id: str) -> dict[str, SourceFile]:
        """Return the files in the folder of a sample by name."""
        folders = self.sample_folders.get(sample_id, [])
        return self.tree.folders[folders[0]] if len(folders) == 1 else {}

    def _read_scalars(self, path: str) -> dict[str, float]:
        name = posixpath.basename(path)
        if name == self.filemap.design_parameters:
            values = read_tensor(self.tree.storage, path)
            if values.size != max(values.shape, default=1):
                raise InvalidSample(f"{name} has shape {values.shape}, and design parameters are one row of numbers")
            try:
                return check_scalars(name_parameters(values.reshape(-1).tolist(), self.parameter_names))
            except ValueError as error:
                raise InvalidSample(f"{name}: {error}") from error
        data = read_file(self.tree.storage, path)
        if data is None:
            raise InvalidSample(f"{name} is gone")
        return parse_scalars(name, data)

    @cached_property
    def _fields(self) -> dict[str, str]:
        """The field of each file name."""
        return filename_to_canonical(self.filemap, fields=self.own)

    @cached_property
    def sample_folders(self) -> dict[str, list[str]]:
        """The folders that hold any field's file, by sample id, in the order of the ids.

        The id is a folder's path below the source, or below `preprocessed/` in it: noether's preprocessing of
        ShapeNet-Car writes there, and its ids leave that out (`shapenet_car/dataset.py`). A source that is itself a
        sample has its own name.
        """
        found: dict[str, list[str]] = {}
        for folder, files in self.tree.folders.items():
            if not self._fields.keys().isdisjoint(files):
                found.setdefault(folder.removeprefix(PREPROCESSED) or self.tree.name, []).append(folder)
        return {sample_id: sorted(found[sample_id]) for sample_id in sorted(found)}


def require_torch() -> None:
    """Raise ExtraMissing, with the remedy, where there is no torch to read files with."""
    if importlib.util.find_spec("torch") is None:
        raise ExtraMissing(f"torch, which reads the source's files, is not installed: {how_to_install('convert')}.")


def read_tensor(storage: Storage, path: str) -> np.ndarray[Any, Any]:
    """Return the tensor in the .pt file at `path` as an array of its dtype, bfloat16 and the like as float32.

    The array is a copy, which later changes of the file leave alone. Raises InvalidSample, naming the file, for one
    that cannot be read, claims more than it holds, or holds anything but a dense tensor of real numbers, and
    StoreUnreadable where a remote storage does not answer, which says nothing of the file.
    """
    import torch  # noqa: PLC0415  only conversion needs torch

    name = posixpath.basename(path)
    file: Path | io.BytesIO
    if isinstance(storage, LocalStorage):
        file = storage.path(path)  # a link may lead out of the tree
    elif (data := storage.read(path)) is None:
        raise InvalidSample(f"{name} cannot be read: it is gone.")
    else:
        file = io.BytesIO(data)
    tensor = load_pt(file, name)
    if not isinstance(tensor, torch.Tensor):
        raise InvalidSample(f"{name} holds a {type(tensor).__name__}, not a tensor.")
    return as_array(tensor, name)
