"""What a source holds, as far as its names and a few of its samples tell."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from drawpoint.errors import ExtraMissing, InvalidManifest, InvalidSample, InvalidSettings, StoreNotFound
from drawpoint_store.conversion.recipes.file_reference import is_archive
from drawpoint_store.conversion.recipes.recipe_file import load_recipe, parse_recipe, shipped_recipes
from drawpoint_store.conversion.scratch.scratch import Scratch
from drawpoint_store.conversion.sources.file_tree import FileTree, folders_above, open_source
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.conversion.sources.source import SourceFile
from drawpoint_store.conversion.survey.array_survey import FileSurvey, survey_files
from drawpoint_store.conversion.survey.drafting.first_recipe import write_first_recipe
from drawpoint_store.conversion.survey.layout.layout_search import find_layout
from drawpoint_store.conversion.survey.layout.source_unit import find_units
from drawpoint_store.conversion.survey.recipe_check import RecipeCheck, check_recipe, spread
from drawpoint_store.conversion.survey.tensor_tree import TensorTree, find_tensor_tree
from drawpoint_store.data_files.opening import READERS
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import LocalStorage
from drawpoint_store.storage.locations import is_remote, local_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from drawpoint_store.conversion.recipes.recipe import Recipe
    from drawpoint_store.conversion.survey.layout.sample_layout import SampleLayout
    from drawpoint_store.conversion.survey.layout.source_unit import SourceUnit

_PT = ".pt"
_ALIKE = 0.5
"""A recipe that does not fit is named if so much of its arrays' names are those of the files, and at least three."""
_FEWEST_ALIKE = 3


@dataclass
class ShippedFit:
    """A shipped recipe that fits a source, or whose names of arrays do: how many it finds, and which are not there."""

    recipe: str
    fits: bool
    n_samples: int
    n_broken: int
    n_found: int
    absent: list[str] = field(default_factory=list)


@dataclass
class SourceSurvey:
    """What a source holds.

    `sample` is the pattern of its samples, None where it has no mesh and no array. `looked_at` are the samples whose
    files were opened. `others` counts the files of no sample by suffix. `check` is how the recipe that was asked for
    fits, or else the shipped one that does, or else the first recipe, whose text is `first_recipe`.
    """

    source: str
    n_files: int
    n_bytes: int
    sample: str | None = None
    n_samples: int = 0
    looked_at: list[str] = field(default_factory=list)
    files: list[FileSurvey] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    archives: int = 0
    tensors: TensorTree | None = None
    shipped: list[ShippedFit] = field(default_factory=list)
    check: RecipeCheck | None = None
    first_recipe: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def best_shipped(self) -> str | None:
        """The shipped recipe that fits and finds the most fields."""
        return next((fit.recipe for fit in self.shipped if fit.fits), None)

    @property
    def can_be_converted(self) -> bool:
        """Whether there is a way to a store: by its names alone, by a recipe, or by one that is to be completed."""
        if self.tensors is not None and self.tensors.n_samples and self.check is None:
            return True
        return self.first_recipe is not None or (self.check is not None and self.check.fits)

    @property
    def unreadable(self) -> dict[str, str]:
        """The files that could not be read, with the reason."""
        return {path: reason for file in self.files for path, reason in file.unreadable.items()}


def survey_source(
    location: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
    scratch: Scratch | None = None,
) -> SourceSurvey:
    """Look at the files below a path or URL, or at one file, and at how `recipe` fits, or what a first one would be.

    Of a URL names and sizes are looked at, and with a recipe one sample, by a copy in `scratch` of what the recipe
    needs of it.

    Raises InvalidSample for a store, and where nothing is of a kind that is read, and what FileTree.scan raises.
    """
    tree = _scan(location)
    _refuse_store(tree)
    units = find_units(tree)
    survey = SourceSurvey(
        tree.storage.root,
        sum(len(files) for files in tree.folders.values()),
        sum(file.size for files in tree.folders.values() for file in files.values()),
        archives=sum(is_archive(unit.path) for unit in units),
    )
    if len(units) == 1 and not is_remote(location) and local_path(location).is_file():
        survey.notes.append(f"{units[0].path} alone was looked at; a conversion takes its folder")
    survey.tensors = _tensors(survey, tree, workers)
    tensors_alone = survey.tensors is not None and not any(unit.is_data and unit.kind != _PT for unit in units)
    if survey.tensors is not None and not tensors_alone:
        units = [unit for unit in units if unit.kind != _PT]
    layout = find_layout(units)
    if layout is None:
        survey.others = _by_suffix(units)
    elif isinstance(tree.storage, LocalStorage):
        _look(survey, tree, layout, progress=progress)
        survey.shipped = [] if recipe is not None else _fit_shipped(tree, layout, survey)
    else:
        survey.sample, survey.n_samples, survey.others = layout.sample, len(layout.samples), _by_suffix(layout.others)
        if recipe is None:
            survey.notes.append(
                "its files are not opened where they are: give a --recipe, which is tried on one sample, or copy a "
                "sample or two to this machine, and look at those"
            )
    if recipe is not None:
        survey.check = check_recipe(RecipeSource(tree, recipe, scratch or Scratch()), workers)
    elif layout is not None and survey.files:
        _draft(survey, tree, layout, None if tensors_alone else workers)
    elif layout is None and survey.tensors is None:
        raise InvalidSample(_nothing(survey, tree))
    return survey


def _draft(survey: SourceSurvey, tree: FileTree, layout: SampleLayout, workers: int | None) -> None:
    """Add a first recipe, and how the shipped one that fits finds the samples, or else the first, for `workers`."""
    name = tree.name or "dataset"
    survey.first_recipe = write_first_recipe(name, layout, survey.files, len(survey.looked_at), tree.storage)
    if survey.first_recipe is None:
        survey.notes.append(
            "there is no first recipe: no file that was read has a mesh, or an array named like positions (points, "
            "or x, y and z); docs/recipes.md says how a recipe names them, and rows of arrays that hold all samples"
        )
    recipe = None
    if survey.best_shipped is not None:
        recipe = load_recipe(survey.best_shipped)
    elif survey.first_recipe is not None:
        recipe = parse_recipe(survey.first_recipe, "the first recipe")
    if recipe is not None and workers is not None:
        survey.check = check_recipe(RecipeSource(tree, recipe), workers)


def _scan(location: str | os.PathLike[str]) -> FileTree:
    """Return the tree at a location, or for a file the tree of that file alone."""
    path = None if is_remote(location) else local_path(location)
    if path is None or not path.is_file():
        return FileTree.scan(location)
    if path.suffix == ".foam":
        return FileTree.scan(path.parent)
    status = path.stat()
    file = SourceFile(path.name, status.st_size, str(status.st_mtime_ns))
    return FileTree(open_source(path.parent), {"": {path.name: file}})


def _refuse_store(tree: FileTree) -> None:
    if StoreManifest.MANIFEST_NAME not in tree.folders.get("", {}):
        return
    try:
        StoreManifest.load(tree.storage.root)
    except (InvalidManifest, StoreNotFound):
        return  # of another kind: some data sets have a manifest of their own
    root = tree.storage.root
    raise InvalidSample(
        f"{root} is a drawpoint store, which needs no conversion; `drawpoint info {root}` describes it."
    )


def _tensors(survey: SourceSurvey, tree: FileTree, workers: int) -> TensorTree | None:
    if not any(name.endswith(_PT) for name in tree.file_names):
        return None
    try:
        return find_tensor_tree(tree, workers)
    except ExtraMissing as error:
        survey.notes.append(str(error))
    except (InvalidSample, ValueError):
        pass
    return None


def _look(survey: SourceSurvey, tree: FileTree, layout: SampleLayout, *, progress: bool) -> None:
    storage = tree.storage
    assert isinstance(storage, LocalStorage)
    survey.sample, survey.n_samples = layout.sample, len(layout.samples)
    survey.others = _by_suffix(layout.others)
    survey.looked_at = spread(layout.samples)
    groups = [group for group in layout.groups if group.kind]
    with tqdm(groups, "looking", unit="file", disable=None if progress else True, leave=False) as bar:
        for group in bar:
            bar.set_postfix_str(group.name)
            survey.files.append(survey_files(group, layout.lacking(group), survey.looked_at, storage.path))


def _fit_shipped(tree: FileTree, layout: SampleLayout, survey: SourceSurvey) -> list[ShippedFit]:
    """Return the shipped recipes that fit, the best first, and those whose arrays' names do."""
    few = _few(tree, layout, survey.looked_at)
    present = {array.name for file in survey.files for array in file.arrays}
    fits = []
    for name in shipped_recipes():
        recipe = load_recipe(name)
        named = _named_arrays(recipe)
        check = None
        if not survey.archives:  # which would be unpacked
            check = check_recipe(RecipeSource(few, recipe))
        if check is not None and check.fits:
            whole = RecipeSource(tree, recipe)
            fits.append(
                ShippedFit(name, True, len(whole.sample_ids), len(whole.broken), len(check.found), check.absent)
            )
        elif len(named & present) >= max(_FEWEST_ALIKE, _ALIKE * len(named)):
            fits.append(ShippedFit(name, False, 0, 0, len(named & present), sorted(named - present)))
    return sorted(fits, key=lambda fit: (not fit.fits, -fit.n_found))


def _few(tree: FileTree, layout: SampleLayout, chosen: Sequence[str]) -> FileTree:
    """Return the tree without the files of samples that are not among `chosen`."""
    dropped = {
        path
        for group in layout.groups
        for sample, unit in group.units.items()
        if sample not in chosen
        for path in unit.paths
    }
    away = set(layout.samples) - set(chosen) - {""}
    folders = {
        folder: {name: file for name, file in files.items() if posixpath.join(folder, name) not in dropped}
        for folder, files in tree.folders.items()
        if not any(above in away for above in (folder, *folders_above(folder)))
    }
    return FileTree(tree.storage, {folder: files for folder, files in folders.items() if files})


def _named_arrays(recipe: Recipe) -> set[str]:
    return {
        str(name)
        for domain in recipe.domains.values()
        for each in domain.fields.values()
        for name in ((each.array_name,) if each.array_name else each.components or ())
    }


def _by_suffix(units: Sequence[SourceUnit]) -> dict[str, int]:
    counts = Counter(posixpath.splitext(unit.path.rstrip("*"))[1].lower() or "no suffix" for unit in units)
    return dict(counts.most_common())


def _nothing(survey: SourceSurvey, tree: FileTree) -> str:
    if not survey.n_files:
        return f"{survey.source} is empty."
    found = ", ".join(f"{count:,} {suffix}" for suffix, count in list(survey.others.items())[:8])
    for name in shipped_recipes() if survey.archives else ():
        try:
            if RecipeSource(tree, load_recipe(name)).sample_ids:
                return (
                    f"{survey.source} holds archives ({found}) with the names of the recipe {name}; `drawpoint inspect "
                    f"{survey.source} --recipe {name}` unpacks those of one sample to look into them."
                )
        except (InvalidSample, InvalidSettings):
            continue
    unpack = "; unpack its archives, or name their members in a recipe" if survey.archives else ""
    return (
        f"there is nothing in {survey.source} that drawpoint reads ({found}){unpack}. These are read: "
        f"{' '.join(sorted(READERS))}, and OpenFOAM cases."
    )
