"""A drawn sample as a file that ParaView opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import UnknownDomain
from drawpoint.extras import importing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import torch


def write_vtp(path: str | os.PathLike[str], sample: Mapping[str, torch.Tensor], domain: str = "surface") -> Path:
    """Write the points of one domain of a drawn sample, or of a Part, as VTK PolyData (`.vtp`); returns the path.

    Each field of the domain, and any other tensor named `<domain>_...` with a row a point, such as a prediction,
    becomes point data without the domain in its name. Raises UnknownDomain if the sample holds no positions of
    `domain`, ValueError for rows that do not agree, and ExtraMissing without pyvista.
    """
    with importing("viz", "write_vtp"):
        import pyvista  # noqa: PLC0415  loading it takes a second, and few want it

    suffix = "_position"
    if f"{domain}{suffix}" not in sample:
        held = [name.removesuffix(suffix) for name in sample if name.endswith(suffix)]
        raise UnknownDomain.among("positions of domain", domain, held, where="the sample")
    points = sample[f"{domain}{suffix}"]
    cloud = pyvista.PolyData(points.cpu().numpy())
    for name, tensor in sample.items():
        field = name.removeprefix(f"{domain}_")
        if field in (name, "position"):
            continue
        if len(tensor) != len(points):
            raise ValueError(f"{name} has {len(tensor)} rows and {domain}{suffix} has {len(points)}: one a point.")
        cloud.point_data[field] = tensor.detach().cpu().numpy()
    target = Path(path)
    if target.suffix != ".vtp":
        raise ValueError(f"{target.name!r} does not end in .vtp, the file type of points with data.")
    cloud.save(target)
    return target
