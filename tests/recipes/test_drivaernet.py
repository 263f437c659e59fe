"""The recipe drivaernet on a tree with the names, arrays, files and traps of DrivAerNet and DrivAerNet++."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvista as pv

from shipped import DERIVED, areas_of_points, assert_holds, convert_by, outward_at_points, splits_of
from vtk_files import add_arrays, block, body, save


def of_points(mesh: pv.DataSet) -> dict[str, object]:
    return {"position": mesh.points, "pressure": mesh.point_data["p"]}


class Tree:
    """Cars as the unpacked files of the Harvard Dataverse have them."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.surfaces: dict[str, tuple[pv.PolyData, np.ndarray]] = {}
        self.volumes: dict[str, pv.UnstructuredGrid] = {}

    def add(self, sample_id: str, part: int, *, is_half: bool = False) -> None:
        """Write a car whose friction lies in a file of other order, and whose volume is in one of two parts."""
        group, seed = sample_id.rpartition("_")[0], len(self.surfaces)
        surface = body(seed)
        add_arrays(surface, {"patchID": 1}, {"p": 1}, seed=seed)
        order = np.arange(surface.n_points)[::-1]
        other = pv.PolyData(np.asarray(surface.points)[order])
        friction = np.random.default_rng(seed).standard_normal((surface.n_points, 3), dtype=np.float32)
        other.point_data["wallShearStress"] = friction[order]
        volume = block(seed)
        if is_half:
            volume.points[:, 1] -= volume.points[:, 1].min()
        add_arrays(volume, {"cellID": 1, "U": 3, "p": 1}, {"U": 3, "p": 1}, seed=seed)
        for folder, mesh in (("PressureVTK", surface), ("WallShearStressVTK_Updated", other)):
            save(mesh, self.source / folder / group / f"{sample_id}.vtk")
        save(volume, self.source / "CFD" / f"{group}_part{part}" / f"{sample_id}.vtk")
        self.surfaces[sample_id], self.volumes[sample_id] = (surface, friction), volume


def test_friction_is_joined_by_position_and_volumes_are_found_in_either_part(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "set")
    tree.add("F_D_WM_WW_0001", 1)
    tree.add("N_S_WWS_WM_073", 2)
    tree.add("E_S_WW_WM_005", 1, is_half=True)
    for broken, part in (("F_S_WWC_WM_010", 1), ("F_S_WWC_WM_011", 1), ("F_S_WWC_WM_012", 2)):
        tree.add(broken, part)
    moved = tree.source / "WallShearStressVTK_Updated" / "F_S_WWC_WM" / "F_S_WWC_WM_010.vtk"
    other = pv.read(moved)
    other.points[3] += 0.001  # another mesh than that of the pressure, which noether's blacklist is of
    other.save(moved)
    save(tree.volumes["F_S_WWC_WM_011"], tree.source / "CFD" / "F_S_WWC_WM_part2" / "F_S_WWC_WM_011.vtk")
    (tree.source / "CFD" / "F_S_WWC_WM_part2" / "F_S_WWC_WM_012.vtk").unlink()
    (tree.source / "DrivAerNetPlusPlus_Cd_8k_Updated.csv").write_text(
        "Design,Average Cd\nN_S_WWS_WM_073,0.29\nF_D_WM_WW_0001,0.31\n", encoding="utf-8"
    )
    lists = tree.source / "train_val_test_splits"
    lists.mkdir()
    for name, ids in (("train", "F_D_WM_WW_0001\nF_D_WM_WW_0002\n"), ("val", "E_S_WW_WM_005\n")):
        (lists / f"{name}_design_ids.txt").write_text(ids, encoding="utf-8")
    report, reader = convert_by("drivaernet", tree.source, tmp_path / "store")
    assert report.converted == ["E_S_WW_WM_005", "F_D_WM_WW_0001", "N_S_WWS_WM_073"]
    assert report.broken["F_S_WWC_WM_010"].startswith("1 of 8 points are not among the 8 of F_S_WWC_WM_010.vtk")
    assert report.broken["F_S_WWC_WM_011"].startswith("has 2 files where one is expected (/CFD/{class}_part*/{id}.vtk)")
    assert report.broken["F_S_WWC_WM_012"] == "lacks /CFD/F_S_WWC_WM_part*/F_S_WWC_WM_012.vtk"
    assert splits_of(tmp_path / "store") == {"train": ["F_D_WM_WW_0001"], "val": ["E_S_WW_WM_005"]}
    known = {"U_inf": 30.0, "rho_inf": 1.184}
    assert reader.scalars("F_D_WM_WW_0001") == known | {"Cd": 0.31}
    assert reader.scalars("E_S_WW_WM_005") == known
    for sample_id in report.converted:
        surface, friction = tree.surfaces[sample_id]
        expected = of_points(surface) | {
            "friction": friction,
            "normals": outward_at_points(surface),
            "area": areas_of_points(surface),
        }
        assert_holds(reader, sample_id, "surface", expected, rounded=DERIVED)
        volume = tree.volumes[sample_id]
        assert_holds(reader, sample_id, "volume", of_points(volume) | {"velocity": volume.point_data["U"]}, rounded=[])
