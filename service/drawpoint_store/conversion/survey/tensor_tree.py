"""Trees of `.pt` files of one field each, which need no recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.conversion.sources.filemap_file import MappedFields
from drawpoint_store.conversion.sources.filemaps import PRESETS, choose_fields, fitting_presets
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.conversion.survey.conversion_cost import ConversionCost, estimate_cost

if TYPE_CHECKING:
    from drawpoint_store.conversion.sources.file_tree import FileTree

AUTO = "auto"


@dataclass
class TensorTree:
    """A tree of `.pt` files that `drawpoint convert` takes with a `filemap`, the preset's name or "auto".

    `presets` are others that name the same files. `left_out` are the files that look like fields and are in no file
    map, with the number of samples that have each.
    """

    filemap: str
    presets: list[str]
    n_samples: int
    broken: dict[str, str]
    fields: list[str]
    left_out: dict[str, int]
    cost: ConversionCost | None = None
    problem: str = ""
    scalars: list[str] = field(default_factory=list)


def find_tensor_tree(tree: FileTree, workers: int) -> TensorTree | None:
    """Return how a tree of `.pt` files is converted; None for a tree whose files no file map names."""
    presets = fitting_presets(tree.file_names)
    try:
        filemap, fields = AUTO, choose_fields(None, tree)
    except InvalidSample:
        if not presets:
            return None
        filemap, fields = presets[0], choose_fields(MappedFields(PRESETS[presets[0]]), tree)
    source = PtSource(tree, *fields)
    sample_ids = source.sample_ids
    found = TensorTree(
        filemap=filemap,
        presets=[preset for preset in presets if preset != filemap],
        n_samples=len(sample_ids),
        broken=dict(source.broken),
        fields=[spec.canonical for spec in source.specs],
        left_out=dict(source.unmapped_files),
    )
    if not sample_ids:
        return found
    first = sample_ids[0]
    try:
        found.scalars = list(source.scalars(first))
        positions = [spec for spec in source.specs if spec.kind == "coord"]
        rows = {spec.domain: len(source.read(first, spec.canonical)) for spec in positions}
        found.cost = estimate_cost(source, {first: rows}, sample_ids, workers)
    except (DrawpointError, ValueError) as error:
        found.problem = f"sample {first!r}: {error}"
    return found
