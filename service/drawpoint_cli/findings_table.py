"""What `drawpoint check` found, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_store.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint_store.inspecting.physics.finding import Finding

MOST_ROWS = 60
"""Of more findings, those of one verdict are a line a check, of the sample that is farthest off."""

_HEAD = ("sample", "check", "found", "expected", "difference", "verdict")
_NUMBERS = slice(2, 5)


def findings_table(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a head and a line for each finding with numbers."""
    shown = [finding for finding in findings if finding.found is not None]
    rows = [_row(finding) for finding in shown]
    if len(rows) > MOST_ROWS:
        alike: dict[tuple[str, str], list[Finding]] = {}
        for finding in shown:
            alike.setdefault((finding.verdict, finding.check), []).append(finding)
        rows = []
        for (verdict, _), those in sorted(alike.items(), key=lambda each: each[0][0] == "holds"):
            worst = max(those, key=lambda finding: abs(finding.difference or 0.0))
            number = f"{verdict} in {count(len(those), 'sample')}, this the farthest off"
            rows.append((*_row(worst)[:-1], number if len(those) > 1 else verdict))
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        padded[_NUMBERS] = [cell.rjust(width) for cell, width in zip(row[_NUMBERS], widths[_NUMBERS], strict=True)]
        yield "  ".join(padded).rstrip()


def explain(finding: Finding) -> Iterator[str]:
    """Yield what does not hold, and its likely causes, a line each."""
    yield f"{finding.verdict}: {finding.sample}, {finding.check}: {finding.message}"
    for cause in finding.causes:
        yield f"    {cause}"


def _row(finding: Finding) -> tuple[str, ...]:
    tolerance = f" +- {finding.tolerance:.2g}" if finding.tolerance else ""
    return (
        finding.sample,
        finding.check,
        f"{finding.found:.4g}",
        f"{finding.expected:.4g}{tolerance}",
        f"{finding.difference:.2g}",
        finding.verdict,
    )
