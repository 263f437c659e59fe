"""The import arrows: drawpoint_cli -> drawpoint_service -> drawpoint_store -> drawpoint, and what each may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = {
    "drawpoint": REPOSITORY / "client" / "drawpoint",
    "drawpoint_store": REPOSITORY / "service" / "drawpoint_store",
    "drawpoint_service": REPOSITORY / "service" / "drawpoint_service",
    "drawpoint_cli": REPOSITORY / "service" / "drawpoint_cli",
}
FORBIDDEN = {
    "drawpoint": {
        *("drawpoint_store", "drawpoint_service", "drawpoint_cli"),
        *("zarr", "numcodecs", "obstore", "fsspec", "fastapi", "uvicorn"),
    },
    "drawpoint_store": {"drawpoint_service", "drawpoint_cli", "fastapi", "starlette", "uvicorn"},
    "drawpoint_service": {"drawpoint_cli", "torch", "safetensors"},
    "drawpoint_cli": {"torch", "safetensors"},
}
# The rooms of a package: each may load those before it. What all of them need lies beside them.
ROOMS = {
    "drawpoint": ("draw", "format", "remote", "training", "adapters"),
    "drawpoint_store": (
        *("storage", "data_files", "reading", "statistics", "writing", "conversion", "inspecting", "maintenance"),
    ),
}
SHARED = {
    *("drawpoint", "drawpoint.errors", "drawpoint.extras", "drawpoint.export", "drawpoint.transforms"),
    *("drawpoint_store", "drawpoint_store.convert", "drawpoint_store.wording"),
}
# What a training alone imports, and `import drawpoint` only when asked: they are kinds of torch's own.
OF_TORCH = {"drawpoint.training.concat", "drawpoint.training.dataset", "drawpoint.training.loader"}
# Commands that draw or convert run in processes of their own, never in one that serves.
OFFLINE = {"drawpoint_cli.commands.demo"}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    root = SOURCES[package]
    for path in sorted(root.rglob("*.py")):
        dotted = ".".join((package, *path.relative_to(root).with_suffix("").parts))
        yield dotted.removesuffix(".__init__"), path


def imported(path: Path, *, when_loaded: bool, whole: bool = False, types: bool = True) -> set[str]:
    """Packages (or `whole` modules) that a file imports: all, those not for `types` alone, or those of its loading."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(str(node.module))
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not (later and when_loaded) and not (for_types and (when_loaded or not types)):
            nodes.extend(ast.iter_child_nodes(node))
    return names if whole else {name.partition(".")[0] for name in names}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


@pytest.mark.parametrize("package", SOURCES)
def test_arrows_point_one_way(package: str) -> None:
    found = {
        f"{name} imports {stray}"
        for name, path in modules(package)
        if name not in OFFLINE
        for stray in imported(path, when_loaded=False) & FORBIDDEN[package]
    }
    assert not found


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_loads_only_rooms_before_it(package: str) -> None:
    # Types alone may be named from everywhere: the draw rule is told of grids by the manifest's own models.
    rooms, found = ROOMS[package], set()
    for name, path in modules(package):
        if name in SHARED:
            continue
        room = rooms.index(name.split(".")[1])
        for needed in imported(path, when_loaded=False, whole=True, types=False):
            parts = needed.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] in rooms and rooms.index(parts[1]) > room:
                found.add(f"{name} imports {needed}")
    assert found == set()


def test_torch_is_loaded_only_by_what_is_imported_on_demand() -> None:
    # A dataset must be torch's at import; whoever imports such a module when it is loaded itself loads torch too.
    paths = {name: path for package in SOURCES for name, path in modules(package)}
    with_torch = {name for name, path in paths.items() if "torch" in imported(path, when_loaded=True)}
    assert {name for name in with_torch if not name.startswith("drawpoint.")} == set()
    reached = {
        f"{name} imports {needed}"
        for name, path in paths.items()
        if name not in with_torch
        for needed in imported(path, when_loaded=True, whole=True) & with_torch
    }
    assert reached == set()


def test_importing_the_client_loads_no_tensor_storage_or_http_library() -> None:
    heavy = {"torch", "zarr", "numcodecs", "obstore", "fsspec", "httpx", "fastapi", "safetensors"}
    assert not loaded_by("import drawpoint") & (heavy | {"drawpoint_store", "drawpoint_service"})


def test_importing_the_service_loads_no_torch() -> None:
    loaded = loaded_by("import drawpoint_service.app, drawpoint_cli.commands.serve")
    assert "fastapi" in loaded
    assert not loaded & {"torch", "safetensors", "httpx"}
