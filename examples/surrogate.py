"""A small point-based surrogate: surface pressure from positions, normals and a draw of the geometry."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from drawpoint import LoaderReport

TARGET = "surface_pressure"
INPUTS = ("surface_position", "surface_normals")
FREQUENCIES = 5
WIDTH = 96
PEAK_RATE = 4e-3


class Surrogate(nn.Module):
    """PointNet's idea (Qi et al., CVPR 2017): a code of the shape from unordered points, read out at any point.

    `n_scalars` numbers of the sample, such as its inflow speed, are given beside it.
    """

    def __init__(self, n_scalars: int = 0) -> None:
        super().__init__()
        features = 3 * (1 + 2 * FREQUENCIES)
        self.encoder = nn.Sequential(
            nn.Linear(features, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 32)
        )
        self.decoder = nn.Sequential(
            nn.Linear(features + 3 + 32 + n_scalars, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, 1),
        )

    def forward(
        self, position: torch.Tensor, normals: torch.Tensor, geometry: torch.Tensor, scalars: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the pressure (B, T) at points (B, T, 3) of the shape that `geometry` (B, G, 3) shows.

        `scalars` are (B, n_scalars).
        """
        code = self.encoder(_waves(geometry)).amax(dim=1)
        sample = code if scalars is None else torch.cat([code, scalars], dim=-1)
        points = torch.cat([_waves(position), normals, sample[:, None].expand(-1, position.shape[1], -1)], dim=-1)
        pressure: torch.Tensor = self.decoder(points).squeeze(-1)
        return pressure


@dataclass
class Run:
    """What one training gave: the loss of each step, the trained model, and what its loading cost."""

    seed: int
    losses: list[float] = field(default_factory=list)
    model: Surrogate | None = None
    report: LoaderReport | None = None
    seconds: float = 0.0


class Batches(Protocol):
    """What is trained on: each pass over it is an epoch, as over a SampleLoader. `scalars` of a batch need not be."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]: ...


def train(loader: Batches, epochs: int, seed: int, n_scalars: int = 0) -> Run:
    """Train a surrogate for `epochs` passes over `loader`, weights drawn from `seed`."""
    torch.manual_seed(seed)
    run = Run(seed)
    model = Surrogate(n_scalars)
    optimiser = torch.optim.Adam(model.parameters(), lr=PEAK_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=epochs * len(loader))
    begun = time.perf_counter()
    for _ in range(epochs):
        for batch in loader:
            predicted = model(*(batch[name] for name in INPUTS), batch["geometry_position"], batch.get("scalars"))
            loss = nn.functional.mse_loss(predicted, batch[TARGET])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            optimiser.step()
            schedule.step()
            run.losses.append(loss.item())
    run.seconds = time.perf_counter() - begun
    run.model = model.eval()
    return run


@torch.no_grad()
def predict(
    model: Surrogate, points: Mapping[str, torch.Tensor], geometry: torch.Tensor, scalars: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the pressure (T,) at the points of one sample."""
    known = None if scalars is None else scalars[None]
    predicted: torch.Tensor = model(*(points[name][None] for name in INPUTS), geometry[None], known)
    return predicted[0]


def smooth(losses: Iterable[float], weight: float = 0.95) -> list[float]:
    """Return the exponential mean of a loss curve, without the pull to zero at its start."""
    mean, total, smoothed = 0.0, 0.0, []
    for loss in losses:
        mean = weight * mean + (1 - weight) * loss
        total = weight * total + (1 - weight)
        smoothed.append(mean / total)
    return smoothed


def _waves(position: torch.Tensor) -> torch.Tensor:
    """Return positions with sines and cosines of them, so that a small network sees edges."""
    scales = math.pi / 2 * 2.0 ** torch.arange(FREQUENCIES, dtype=position.dtype)
    angles = (position[..., None] * scales).flatten(-2)
    return torch.cat([position, angles.sin(), angles.cos()], dim=-1)
