"""What a source holds, as `drawpoint inspect` prints it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from drawpoint_cli.sizes import size
from drawpoint_store.conversion.survey.drafting.domain_draft import describe_values
from drawpoint_store.wording import count, first_few

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drawpoint_store.conversion.survey.array_survey import ArraySurvey, FileSurvey
    from drawpoint_store.conversion.survey.conversion_cost import ConversionCost
    from drawpoint_store.conversion.survey.recipe_check import RecipeCheck
    from drawpoint_store.conversion.survey.source_survey import ShippedFit, SourceSurvey
    from drawpoint_store.conversion.survey.tensor_tree import TensorTree

_SHOWN = 10
_WIDTH = 32
_MINUTE, _HOUR = 90, 5400
_KINDS = {1: "lines", 2: "surface", 3: "volume"}


def survey_lines(survey: SourceSurvey, written: str | None) -> Iterator[str]:
    """Yield the lines of a survey; `written` is the file that the first recipe was written to, if it was."""
    # A web server lists names alone.
    nbytes = size(survey.n_bytes) if survey.n_bytes or not survey.n_files else "of sizes that are not listed"
    yield f"source   {survey.source}: {count(survey.n_files, 'file')}, {nbytes}"
    if survey.sample is not None:
        yield from _samples(survey)
    if survey.others:
        shown = ", ".join(f"{number:,} {suffix}" for suffix, number in list(survey.others.items())[:_SHOWN])
        yield f"others   {shown}: not looked into"
    for file in survey.files:
        yield ""
        yield from _file(file)
    yield from _problems("cannot be read", survey.unreadable)
    for note in survey.notes:
        yield f"remark: {note}"
    if survey.tensors is not None:
        yield ""
        yield from _tensors(survey.tensors, survey.source)
    if survey.shipped:
        yield ""
        yield from (line for fit in survey.shipped for line in _shipped(fit, survey))
    if survey.check is not None:
        yield ""
        yield from _check(survey.check, is_first=survey.first_recipe is not None and survey.best_shipped is None)
    yield from _next(survey, written)


def _samples(survey: SourceSurvey) -> Iterator[str]:
    names = [sample or "the folder itself" for sample in survey.looked_at]
    looked = f"; looked into {', '.join(names)}" if names else ""
    yield f"samples  {survey.n_samples:,}, as {survey.sample}{looked}"


def _file(file: FileSurvey) -> Iterator[str]:
    sizes = " to ".join(dict.fromkeys((size(file.smallest), size(file.largest))))
    kind = f" ({_KINDS[file.cells]})" if file.cells in _KINDS else ""
    yield f"{file.name}{kind}: {count(file.n_files, 'file')} of {sizes}"
    if file.n_cells:
        yield f"  {_spread(file.n_cells, 'cell')}, {_spread(file.n_points, 'point')}"
    if file.lacking:
        yield f"  {count(len(file.lacking), 'sample')} without it: {first_few(file.lacking)}"
    if file.empty:
        yield f"  {count(len(file.empty), 'file')} of 0 bytes: {first_few(file.empty)}"
    yield from (_array(array, file) for array in file.arrays)


def _array(array: ArraySurvey, file: FileSurvey) -> str:
    rows = next(iter(array.rows.values()))
    text = f"  {array.place:<6} {array.name or '(no name)':<{_WIDTH}} {describe_values(array)}"
    if array.shape:
        text += f", shape {array.shape}"
    elif not file.is_mesh:
        text += f", {_spread(array.rows, 'row')}"
    if 0 < array.rows_read < rows:
        text += f", in the first {array.rows_read:,} rows"
    if len(array.rows) < file.n_opened:
        text += f"; in {len(array.rows)} of the {file.n_opened} looked into"
    return text + (f"; {array.problem}" if array.problem else "")


def _tensors(tensors: TensorTree, source: str) -> Iterator[str]:
    also = f"; the same files are those of {', '.join(tensors.presets)}" if tensors.presets else ""
    yield f".pt files of a field each, in {count(tensors.n_samples, 'sample')}, need no recipe{also}:"
    yield f"  {', '.join(tensors.fields)}"
    if tensors.scalars:
        yield f"  scalars: {first_few(tensors.scalars, _SHOWN)}"
    for name, number in list(tensors.left_out.items())[:_SHOWN]:
        yield f"  left out: {name}, in {count(number, 'sample')}, which is in no file map"
    yield from _problems("broken", tensors.broken)
    if tensors.problem:
        yield f"  {tensors.problem}"
    if tensors.cost is not None:
        yield from _cost(tensors.cost)
    preset = "" if tensors.filemap == "auto" else f" --filemap {tensors.filemap}"
    yield f"  convert it with: drawpoint convert {shlex.quote(source)} STORE{preset}"


def _shipped(fit: ShippedFit, survey: SourceSurvey) -> Iterator[str]:
    if not fit.fits:
        absent = f", not {first_few(fit.absent)}" if fit.absent else ", in files of other names"
        yield (
            f"recipe {fit.recipe} has {count(fit.n_found, 'array')} of these names{absent}; to see what it lacks: "
            f"drawpoint inspect {shlex.quote(survey.source)} --recipe {fit.recipe}"
        )
        return
    broken = f", {fit.n_broken:,} more broken" if fit.n_broken else ""
    absent = f"; without the optional {first_few(fit.absent, _SHOWN)}" if fit.absent else ""
    yield f"recipe {fit.recipe} fits: {count(fit.n_samples, 'sample')}{broken}, {count(fit.n_found, 'field')}{absent}"
    yield f"  convert with it: drawpoint convert {shlex.quote(survey.source)} STORE --recipe {fit.recipe}"


def _check(check: RecipeCheck, *, is_first: bool) -> Iterator[str]:
    what = "a first recipe" if is_first else f"the recipe {check.recipe}"
    looked = f"; looked into {', '.join(check.looked_at)}" if check.looked_at else ""
    yield f"{what} finds {count(check.n_samples, 'sample')}{looked}"
    for found in check.found:
        dtype = f", {found.dtype}" if found.dtype else ""
        yield f"  {found.field:<{_WIDTH}} {found.origin}{dtype}" + (f", in {found.units}" if found.units else "")
    for name, reason in check.missing.items():
        yield f"  {name:<{_WIDTH}} cannot be had: {reason}"
    if check.scalars:
        shown = [f"{name} {value:g}" for name, value in check.scalars.items()]
        yield f"  scalars of {check.looked_at[0]}: {first_few(shown, _SHOWN)}"
    if check.absent:
        yield f"  not there, and optional: {', '.join(check.absent)}"
    for file, arrays in check.left_out.items():
        if arrays:
            yield f"  left out of {file}: {', '.join(arrays)}"
    yield from _problems("broken", check.broken)
    yield from _problems("does not fit", check.unreadable)
    if check.cost is not None:
        yield from _cost(check.cost)


def _cost(cost: ConversionCost) -> Iterator[str]:
    about = "" if cost.is_counted else "about "
    points = " and ".join(f"{number:,} points of {domain}" for domain, number in cost.n_points.items())
    yield f"  the store will have {about}{size(cost.store_bytes)}: {about}{points}"
    if cost.seconds is None:
        yield f"  {cost.measured_sample} cannot be converted: {cost.problem}"
    else:
        yield (
            f"  estimated time: {_duration(cost.seconds)} with {count(cost.workers, 'worker')}, at the rate at which "
            f"{first_few(cost.measured, 2)} of {cost.measured_sample} went to this machine's temporary files"
        )


def _next(survey: SourceSurvey, written: str | None) -> Iterator[str]:
    """Yield what to do next."""
    source = shlex.quote(survey.source)
    if written is not None:
        yield ""
        yield f"wrote {written}: read it, edit it, then"
        yield f"  drawpoint convert {source} STORE --recipe {written}"
    elif survey.first_recipe is not None and survey.check is not None:
        yield ""
        what = "this recipe" if survey.best_shipped is None else "a recipe of your own"
        yield f"to write {what} and edit it: drawpoint inspect {source} --write-recipe my.toml"


def _problems(what: str, reasons: Mapping[str, str]) -> Iterator[str]:
    for name, reason in list(reasons.items())[:_SHOWN]:
        yield f"  {what}: {name}: {reason}"
    if len(reasons) > _SHOWN:
        yield f"  {what}: {len(reasons) - _SHOWN:,} more (--json has all)"


def _spread(counts: Mapping[str, int], noun: str) -> str:
    low, high = min(counts.values()), max(counts.values())
    return count(low, noun) if low == high else f"{low:,} to {high:,} {noun}s"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    if seconds < _MINUTE:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < _HOUR else f"about {seconds / 3600:,.1f} h"
