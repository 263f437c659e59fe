"""The picture of docs/training.md: loss curves of the three ways, and predicted beside true surface pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt

from surrogate import smooth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from surrogate import Run

STYLES = {
    "whole .pt files": ("#8c6d31", "-", 2.6),
    "local store": ("#1f77b4", "-", 2.6),
    "served store": ("black", (0, (1, 2)), 1.4),
}


def draw(
    path: Path, runs: Mapping[str, Sequence[Run]], position: torch.Tensor, true: torch.Tensor, predicted: torch.Tensor
) -> None:
    """Write the figure to `path`."""
    mpl.use("Agg")
    figure = plt.figure(figsize=(13, 3.7), constrained_layout=True)
    grid = figure.add_gridspec(1, 3, width_ratios=(1.2, 1, 1))
    curves = figure.add_subplot(grid[0])
    for name, each in runs.items():
        colour, line, width = STYLES[name]
        for number, run in enumerate(each):
            curves.plot(
                smooth(run.losses), color=colour, ls=line, lw=width, alpha=0.75, label=name if number == 0 else None
            )
    curves.set(yscale="log", xlabel="step", ylabel="loss (normalised pressure)")
    curves.set_title(f"{len(next(iter(runs.values())))} seeds a way; local and served curves coincide", fontsize=10)
    curves.legend(frameon=False)
    low, high = (float(true.quantile(share)) for share in (0.01, 0.99))
    panels = []
    for place, values, title in ((1, true, "true"), (2, predicted, "predicted, in tiles, by the served training")):
        panel = figure.add_subplot(grid[place], projection="3d")
        x, y, z = position.T
        dots = panel.scatter(x, y, z, c=values, s=2, cmap="coolwarm", vmin=low, vmax=high, depthshade=False)
        panel.set_title(title, fontsize=10)
        panel.set_box_aspect([float(side.max() - side.min()) for side in (x, y, z)], zoom=1.2)
        panel.view_init(elev=22, azim=-130)
        panel.set_axis_off()
        panels.append(panel)
    figure.colorbar(dots, ax=panels, shrink=0.7, label="p / rho (m²/s²)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
