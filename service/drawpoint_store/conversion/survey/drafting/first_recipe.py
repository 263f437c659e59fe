"""A first recipe of a source, to be edited: what its files say, and comments where a person has to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_store.conversion.survey.drafting.domain_draft import draft_meshes, draft_rows, toml
from drawpoint_store.conversion.survey.drafting.scalar_draft import draft_scalars
from drawpoint_store.conversion.survey.layout.source_unit import BESIDE
from drawpoint_store.wording import count, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.survey.array_survey import FileSurvey
    from drawpoint_store.conversion.survey.layout.sample_layout import SampleLayout
    from drawpoint_store.storage import Storage

_HEAD = """\
# A first recipe, written by `drawpoint inspect` from the names of all files and the arrays of {looked} of {all}.
# It converts as it is, but for what is marked. What no file says is for you to decide (docs/recipes.md has every key):
# - names: fields are called as they are below in the store;
# - units: pressure = {{ array = "p", units = "Pa" }}; nothing is converted unless scale and offset say so;
# - signs: friction = {{ array = "wallShearStress", scale = -1.0 }} where a file has it opposite to drag;
# - lengths: length_unit = "mm" below a domain makes metres of its positions, axes = ["x", "-z", "y"] turns them.
# Numbers after # are the range of the values that were looked at. float32 is for what float16 would spoil.
"""


def write_first_recipe(
    name: str, layout: SampleLayout, files: Sequence[FileSurvey], looked: int, storage: Storage
) -> str | None:
    """Return a recipe in TOML that loads, for `convert` with the source that it is of; None where no domain is found.

    Where both cells and points have arrays, `place` is left to a person, and a conversion says so until it is given.
    """
    # Tables and documents beside data of other kinds hold numbers of the sample as a whole.
    beside = BESIDE if any(file.kind not in BESIDE for file in files) else frozenset()
    data = [file for file in files if file.kind not in beside]
    domains = draft_meshes(data)
    rows, remarks = draft_rows([file for file in data if not file.is_mesh], layout.sample)
    taken = {domain.name for domain in domains}
    for domain in rows:
        while domain.name in taken:
            domain.name += "_rows"
        taken.add(domain.name)
    domains += rows
    if not domains:
        return None
    groups = [group for group in layout.groups if group.kind in beside]
    scalars, others = draft_scalars(layout, groups, storage)
    lines = [
        *_HEAD.format(looked=looked, all=count(len(layout.samples), "sample")).splitlines(),
        "",
        f"name = {toml(name)}",
        f"sample = {toml(layout.sample)}",
        *([f"id = {toml(layout.id)}"] if layout.id else []),
    ]
    for domain in domains:
        lines += ["", *domain.lines()]
    if scalars:
        lines += ["", "[scalars]", *scalars]
    if remarks or others:
        lines += ["", *(f"# {printable(remark)}" for remark in (*remarks, *others))]
    return "\n".join(lines) + "\n"
