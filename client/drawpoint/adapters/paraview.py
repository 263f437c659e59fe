"""An export of drawn samples to files for ParaView."""

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
    """Write the points of one domain of a drawn sample or a Part as VTK PolyData (`.vtp`), and return the path.

    Each tensor named `<domain>_<name>`, a field or a prediction with a row a point, becomes point data called `<name>`.
    What begins with the name of a longer domain that the sample has, such as `surface_stl`, belongs to that one.
    Raises UnknownDomain without positions of `domain`, ValueError for a tensor with another number of rows, and
    ExtraMissing without pyvista.
    """
    with importing("viz", "write_vtp"):
        import pyvista  # noqa: PLC0415  it takes a second to load

    suffix = "_position"
    held = [name.removesuffix(suffix) for name in sample if name.endswith(suffix)]
    if domain not in held:
        raise UnknownDomain.among("positions of domain", domain, held, where="the sample")
    points = sample[f"{domain}{suffix}"]
    inner = tuple(f"{other}_" for other in held if other.startswith(f"{domain}_"))
    cloud = pyvista.PolyData(points.cpu().numpy())
    for name, tensor in sample.items():
        field = name.removeprefix(f"{domain}_")
        if field in (name, "position") or name.startswith(inner):
            continue
        if len(tensor) != len(points):
            raise ValueError(
                f"{name} has {len(tensor)} rows, but {domain}{suffix} has {len(points)}; give it one row a point."
            )
        cloud.point_data[field] = tensor.detach().cpu().numpy()
    target = Path(path)
    if target.suffix != ".vtp":
        raise ValueError(f"{target.name!r} does not end in .vtp; write_vtp writes no other file type.")
    cloud.save(target)
    return target
