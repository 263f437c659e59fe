"""Runs all benchmarks and writes what they print into docs/performance.md, with a figure.

    python tests/benchmarks/report.py          (or: make bench)

Peers come with the `bench` extra; nginx and wrk are Debian packages. A benchmark that fails fails the report.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parents[1] / "docs"
PAGE = DOCS / "performance.md"
FIGURE = DOCS / "images" / "performance.png"
SECTIONS = {
    "Local draws": "local_read.py",
    "Served draws": "served_read.py",
    "Client": "client_cpu.py",
    "Scale": "scale.py",
    "VTK files": "vtk_read.py",
    "Conversion": "conversion.py",
    "Conversion on a Dask cluster": "engines.py",
    "Conversion of a huge sample": "huge_conversion.py",
    "Conversion of a huge VTK file": "huge_conversion.py --vtu",
    "Conversion from a bucket": "remote_conversion.py",
    "Derived fields": "derived.py",
    "Statistics": "store_statistics.py",
    "Check by physics": "physics_check.py",
    "Publication of a shared conversion": "publication.py",
    "Compression": "compression.py",
}


def machine() -> str:
    """Return a line about where the figures come from."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.processor()}), Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m')}"
    )


def rows(table: str, columns: int) -> list[tuple[str, list[float]]]:
    """Return first cell and numbers of the rows of Markdown tables of so many columns; a row without is left out."""
    found = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        numbers = [re.match(r"[\d.]+", cell) for cell in cells[1:]]
        if len(cells) == columns and numbers[0]:
            found.append((cells[0], [float(number[0]) for number in numbers if number]))
    return found


def plot(outputs: dict[str, str]) -> None:
    """Draw local and served draws as bars, and throughput over connections."""
    import matplotlib as mpl  # noqa: PLC0415  only the report needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  the figures alone need it

    local, served = (outputs[title].partition("level 0")[0] for title in ("Local draws", "Served draws"))
    figure, (bars, lines) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(3, 2))
    shown = rows(local, 4) + rows(served, 4)
    shown.sort(key=lambda row: row[1][0], reverse=True)
    drawn = bars.barh([name for name, _ in shown], [numbers[0] for _, numbers in shown], color="#8aa4c8")
    for bar, (name, _) in zip(drawn, shown, strict=True):
        if name in ("drawpoint", "local read", "served to tensors"):
            bar.set_color("#1f4e8c")
    bars.bar_label(drawn, fmt="%.2f", padding=3)
    bars.set_xscale("log")
    bars.set_xlabel("p50, ms a draw of 4096 + 16384 points (log)")
    load = [row for row in rows(served, 7) if row[0].isdigit()]
    for column, label in ((0, "1 worker"), (2, "2 workers")):
        lines.plot([int(name) for name, _ in load], [numbers[column] for _, numbers in load], "o-", label=label)
    lines.set_xscale("log", base=2)
    lines.set_xlabel("connections")
    lines.set_ylabel("draws a second")
    lines.set_ylim(bottom=0)
    lines.legend()
    for axes in (bars, lines):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    outputs = {}
    for title, script in SECTIONS.items():
        print(f"== {title}: {script}", flush=True)
        name, *arguments = script.split()
        command = [sys.executable, str(FOLDER / name), *arguments]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=FOLDER)
        outputs[title] = ran.stdout.strip()
        print(outputs[title], flush=True)
    plot(outputs)
    origin = (
        f"Written by `make bench` (tests/benchmarks/report.py) on {machine()}. Ratios are taken in one run on one "
        "machine; times drift with the machine and the hour. Rows that drawpoint loses stay in."
    )
    page = [
        "# Performance",
        origin,
        "![p50 of one draw by way, and draws a second over connections](images/performance.png)",
    ]
    for title, script in SECTIONS.items():
        page += [f"## {title}", f"`python tests/benchmarks/{script}`", outputs[title]]
    PAGE.write_text("\n\n".join(page) + "\n")
    print(f"\nwrote {PAGE} and {FIGURE}")


if __name__ == "__main__":
    main()
