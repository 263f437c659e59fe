"""Conversion by a recipe of files that lie in a bucket or on a web server."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import pyvista as pv
from fsspec.registry import _registry

from drawpoint.errors import DrawpointError, ExtraMissing, InvalidSample, InvalidSettings, StoreUnreadable
from drawpoint_cli.__main__ import main
from drawpoint_store import ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.publishing.report import ConversionReport
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.scratch import sample_copy
from drawpoint_store.conversion.scratch.scratch import Scratch
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.data_files import needed_parts
from drawpoint_store.data_files.vtk_xml import tags
from drawpoint_store.storage import partial_file
from drawpoint_store.storage.bucket_access import BucketAccess, open_client
from drawpoint_store.storage.http_storage import HttpStorage
from foam import FoamCase, cell_faces
from hub import hub
from proxy import BucketProxy, Fault, Passed, status
from s3 import Bucket, upload
from trees import RUN_FILEMAP, files_below
from trees import write_run as write_tensors
from vtk_files import add_arrays, block, body, save, split
from web import nginx, python_server

RECIPE = """
name = "made"
sample = "run {n}"
[surface]
file = "boundary_{n}.vtp"
place = "cell"
[surface.fields]
pressure = "p"
normals = { derive = "normals", mode = "flip" }
[volume]
file = "volume_{n}.vtu*"
place = "cell"
[volume.fields]
velocity = "U"
[scalars]
Cd = { file = "force.csv", column = "Cd" }
yaw = { file = "/cases.csv", column = "yaw", row = { case = "{n}" } }
[splits]
train = [1, 2]
"""


def write_run(folder: Path, number: int, size: int = 6) -> None:
    """Write a run with a surface, a volume in two parts with arrays that no recipe takes, and a table."""
    run = folder / f"run {number}"
    surface, volume = body(number), block(number, size)
    add_arrays(surface, {"p": 1, "other": 3}, seed=number)
    add_arrays(volume, {"U": 3, **{f"other_{each}": 3 for each in range(6)}}, {"at_points": 3}, seed=number)
    save(surface, run / f"boundary_{number}.vtp")
    save(volume, run / f"volume_{number}.vtu")
    split(run / f"volume_{number}.vtu", 2)
    (run / "force.csv").write_text(f"Cd,Cl\n0.{number},1\n")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, of which nobody changes a file."""
    folder = tmp_path_factory.mktemp("tree")
    for number in (1, 2, 3):
        write_run(folder, number)
    (folder / "cases.csv").write_text("case,yaw\n1,0.5\n2,1.5\n3,2.5\n")
    return folder


def source_of(location: object, scratch: Scratch | None = None, recipe: str = RECIPE) -> RecipeSource:
    return RecipeSource.scan(str(location), parse_recipe(recipe, "test.toml"), scratch)


def convert_to(store: Path, source: RecipeSource, **settings: Any) -> ConversionReport:
    return convert(source, ZarrStoreWriter(store, **source.writer_settings, compression_level=0), **settings)


@pytest.fixture(scope="module")
def expected(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the store that local files become."""
    store = tmp_path_factory.mktemp("expected") / "store"
    assert convert_to(store, source_of(tree)).broken == {}
    return files_below(store)


@pytest.fixture
def root(bucket: Bucket, bucket_environment: None, tree: Path, tmp_path: Path) -> str:
    """The runs in a bucket."""
    return upload(tree, f"s3://{bucket.name}/{tmp_path.name}/runs")


@pytest.fixture
def by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small files be worth to be read by their parts, as if a round trip took no time."""
    for module in (needed_parts, sample_copy):
        monkeypatch.setattr(module, "ROUND_TRIP_BYTES", 16)
    monkeypatch.setattr(partial_file, "BLOCK", 256)
    monkeypatch.setattr(tags, "WINDOW", 512)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bucket_becomes_the_bytes_that_local_files_become_with_room_for_two_samples(
    root: str, tree: Path, expected: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    most = 2 * size_of(tree / "run 1")
    scratch = Scratch(tmp_path / "scratch", most)
    report = convert_to(tmp_path / "store", source_of(root, scratch), workers=workers, n_probes=1)
    assert report.broken == {}
    assert files_below(tmp_path / "store") == expected
    assert size_of(tree / "run 1") <= scratch.peak <= most
    assert files_below(tmp_path / "scratch") == {}


def test_web_servers_with_ranges_and_without_become_the_same_bytes(
    tree: Path,
    expected: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    by_parts: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with python_server(tree) as url:
        source = source_of(url)
        assert all(file.size and file.stamp for file in source.files("run 1"))
        assert convert_to(tmp_path / "whole", source).broken == {}
        assert main(["inspect", url, "--recipe", str(recipe_file(tmp_path))]) == 0
        assert "files, of sizes that are not listed" in capsys.readouterr().out
        assert main(["inspect", url]) == 1
        assert "its files are not opened where they are: give a --recipe" in capsys.readouterr().out
        assert main(["inspect", url, "--write-recipe", str(tmp_path / "first.toml")]) == 1
        assert "copy a sample or two to this machine" in capsys.readouterr().err
    assert files_below(tmp_path / "whole") == expected
    with nginx(tree, tmp_path_factory.mktemp("nginx")) as url:
        assert convert_to(tmp_path / "parts", source_of(f"{url}/")).broken == {}
    assert files_below(tmp_path / "parts") == expected


def recipe_file(folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path


ONE = """
name = "one"
sample = "."
[surface]
file = "boundary_1.vtp"
place = "cell"
[surface.fields]
pressure = "p"
"""


def test_tensors_of_a_web_server_are_listed_with_what_tells_that_they_changed(tmp_path: Path) -> None:
    write_tensors(tmp_path / "runs" / "run_1")
    with python_server(tmp_path / "runs") as url:
        source = PtSource.scan(url, RUN_FILEMAP)
        before = source.files("run_1")
        assert [file.size for file in before] == [(tmp_path / "runs" / file.path).stat().st_size for file in before]
        assert source.only("run_1").files("run_1") == before
        file = tmp_path / "runs" / "run_1" / "surface_pressure.pt"
        os.utime(file, (0, file.stat().st_mtime + 10))
        changed = [each.path for each in PtSource.scan(url, RUN_FILEMAP).files("run_1") if each not in before]
        assert changed == ["run_1/surface_pressure.pt"]


def test_a_file_that_a_server_gives_whole_may_take_longer_than_the_deadline_of_a_request(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(400_000)
    (tmp_path / "large.bin").write_bytes(data)
    with python_server(tmp_path) as url, BucketProxy(int(url.rpartition(":")[2]), bytes_per_second=200_000) as proxy:
        storage = HttpStorage(proxy.url, BucketAccess(deadline_seconds=1, retries=0))
        assert b"".join(map(bytes, storage.stream("large.bin"))) == data


def test_what_is_wrong_in_a_copy_is_said_of_the_file_in_the_source(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "runs")
    for number in (1, 2, 3):
        (tmp_path / "runs" / f"run {number}" / f"boundary_{number}.vtp").write_bytes(b"\x1f\x8b packed")
    with python_server(tmp_path / "runs") as url:
        source = source_of(f"{url}/", Scratch(tmp_path / "scratch"))
        with pytest.raises(InvalidSample, match=rf"{url}/run 1/boundary_1\.vtp is compressed with gzip"):
            _ = source.specs


def test_a_server_that_fails_while_it_lists_is_no_source_with_fewer_samples(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with nginx(tree, tmp_path_factory.mktemp("nginx")) as url, BucketProxy(int(url.rpartition(":")[2])) as proxy:
        proxy.fault = lambda request: status(403, "Denied") if "run%202" in request.target else None
        with pytest.raises(StoreUnreadable, match="the server answers 403"):
            source_of(proxy.url)
        for code in (503, 429):
            proxy.fail_first(2, status(code, "SlowDown"), "run%202/$")
            assert source_of(proxy.url).sample_ids == ["run 1", "run 2", "run 3"]
        proxy.passed.clear()
        one = source_of(f"{proxy.url}/run%201/", recipe=ONE)
        assert [file.size > 0 for file in one.files(one.sample_ids[0])] == [True]
        assert [request.target for request in proxy.passed if "//" in request.target] == []
        # The page names a file that is gone: the server has said so.
        proxy.fault = lambda request: status(404, "Gone") if "boundary_2" in request.target else None
        assert "lacks run 2/boundary_2.vtp" in source_of(proxy.url).broken["run 2"]
        with pytest.raises(FileNotFoundError, match="the server has to show its folders"):
            source_of(f"{url}/nothing")


@pytest.mark.usefixtures("by_parts")
def test_of_large_files_the_arrays_alone_are_fetched_that_a_recipe_names(
    root: str, tree: Path, expected: dict[str, bytes], tmp_path: Path, proxied: BucketProxy
) -> None:
    size = size_of(tree / "run 1")
    scratch = Scratch(tmp_path / "scratch", size * 2 // 3)
    source = source_of(root, scratch)
    assert [spec.canonical for spec in source.specs][:2] == ["surface_position", "surface_pressure"]
    looked = scratch_size(tmp_path)
    assert looked == 0  # it was looked at the beginnings of files, and nothing kept
    copy = source.fetch("run 1")
    proxied.passed.clear()
    source.scratch.release("run 1", keep=True)
    domains = source.domains("run 1")
    for field in ("pressure", "normals", "position"):
        domains["surface"].read(field)
    domains["volume"].read("velocity")
    assert [request.target for request in proxied.passed] == []  # all that is read was there
    assert copy.nbytes < size * 2 // 3
    assert set(copy.partial) == {f"run 1/volume_1.vtu.0{part}.part" for part in (0, 1)}
    source.close()
    assert convert_to(tmp_path / "store", source).broken == {}
    assert files_below(tmp_path / "store") == expected
    reader = source.domains("run 2")["volume"]
    assert reader.recipe.own_file is not None
    file = reader.sample.open(reader.recipe.own_file)
    arrays = {array.name: array for array in file.arrays}
    unnamed = file.read(arrays["other_2"])  # what a reader needs although the recipe does not tell
    assert np.array_equal(unnamed, pv.read(joined(tree, tmp_path)).cell_data["other_2"])
    for part in (0, 1):
        upload_changed(root, f"run 2/volume_2.vtu.0{part}.part")
    with pytest.raises(InvalidSample, match=r"run 2/volume_2.*was written again"):
        file.read(arrays["other_4"])
    source.close()


def joined(tree: Path, folder: Path) -> Path:
    parts = sorted((tree / "run 2").glob("volume_2.vtu*"))
    (folder / "joined.vtu").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / "joined.vtu"


def scratch_size(folder: Path) -> int:
    return sum(path.stat().st_blocks for path in (folder / "scratch").rglob("*") if path.is_file())


def upload_changed(root: str, path: str) -> None:
    client = open_client(root)
    client.put(path, bytes(client.get(path).bytes()) + b" ")


@pytest.fixture
def proxied(bucket: Bucket, root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketProxy]:
    """A proxy before the bucket that holds the runs."""
    with BucketProxy(int(bucket.endpoint.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def test_a_sample_larger_than_the_scratch_is_named_with_both_sizes(
    root: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", root, str(tmp_path / "store"), "--recipe", str(recipe_file(tmp_path)), "--workers", "1"]
    assert main([*words, "--scratch", str(tmp_path / "scratch"), "--scratch-bytes", "1k"]) == 1
    err = capsys.readouterr().err
    assert f"its files take {size_of(tree / 'run 1'):,} bytes, and the scratch 1,000: give more --scratch-bytes" in err
    assert main([*words, "--scratch-bytes", "much"]) == 2
    assert "'much' is no number of bytes, such as 500M" in capsys.readouterr().err
    assert main([*words, "--scratch-bytes", "0.5G"]) == 0
    words = ["verify", str(tmp_path / "store"), "--source", root, "--recipe", words[4], "--scratch-bytes", "1M"]
    assert main(words) == 0
    upload_run(root, tmp_path, 2, of=7)
    assert main(words) == 1
    assert "the scalar 'Cd' of sample 'run 2' is 0.2, and 0.7 in the source" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--scratch", "scratch"], ["--scratch-bytes", "1G"]])
def test_a_scratch_that_would_hold_nothing_is_wrong_usage(
    tree: Path, tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store, recipe = str(tmp_path / "store"), ["--recipe", str(recipe_file(tmp_path))]
    for words in (
        ["convert", str(tree), store, *recipe],
        ["convert", "s3://bucket/tree", store],
        ["inspect", str(tree), *recipe],
        ["verify", store],
    ):
        assert main([*words, *option]) == 2
        assert "trees of .pt files are not copied: leave these options out" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def upload_run(root: str, folder: Path, number: int, *, of: int) -> None:
    """Write run `number` again, with the values of another number."""
    write_run(folder / "again", of)
    run = folder / "again" / f"run {of}"
    client = open_client(root)
    for path in run.iterdir():
        client.put(f"run {number}/{path.name.replace(str(of), str(number), 1)}", path.read_bytes())


@pytest.mark.parametrize("workers", [1, 2])
def test_an_outage_breaks_no_sample_and_the_same_call_goes_on(
    root: str, expected: dict[str, bytes], tmp_path: Path, proxied: BucketProxy, workers: int
) -> None:
    source = source_of(root, Scratch(tmp_path / "scratch"))
    settings = source.writer_settings
    proxied.fault = lambda request: status(403, "AccessDenied") if "run%203/boundary" in request.target else None
    writer = ZarrStoreWriter(tmp_path / "store", **settings, compression_level=0)
    with pytest.raises(StoreUnreadable, match=r"boundary_3\.vtp cannot be read.*403.*run the same command again"):
        convert(source, writer, workers=workers)
    assert files_below(tmp_path / "scratch") == {}
    proxied.fail_first(2, Fault("truncate"), "boundary_3")  # bodies that break off are asked for again
    report = convert(source, writer, workers=workers)
    assert (report.broken, report.resumed > 0 or workers == 2) == ({}, True)
    assert files_below(tmp_path / "store") == expected


def test_what_is_gone_is_broken_by_name_and_what_changes_meanwhile_is_fetched_again(
    root: str, tree: Path, tmp_path: Path, proxied: BucketProxy
) -> None:
    source = source_of(root, Scratch(tmp_path / "scratch"))
    open_client(root).delete("run 1/force.csv")
    changed = threading.Event()

    def change(request: Passed) -> None:
        if "run%202/boundary_2" in request.target and request.method == "GET" and not changed.is_set():
            changed.set()
            threading.Thread(target=upload_run, args=(root, tmp_path, 2), kwargs={"of": 7}).start()

    proxied.fault = change
    report = convert_to(tmp_path / "store", source)
    assert list(report.broken) == ["run 1"]
    assert "lacks run 1/force.csv, which was listed before" in report.broken["run 1"]
    assert changed.is_set()
    stored = {name: data for name, data in files_below(tmp_path / "store").items() if name.startswith("run 2")}
    again = convert_to(tmp_path / "again", source_of(root, Scratch(tmp_path / "scratch")))
    assert again.converted == ["run 2", "run 3"]
    of_one_state = {name: data for name, data in files_below(tmp_path / "again").items() if name.startswith("run 2")}
    before = convert_to(tmp_path / "before", source_of(tree))
    assert before.broken == {}
    old = {name: data for name, data in files_below(tmp_path / "before").items() if name.startswith("run 2")}
    assert stored in (of_one_state, old)


def processes() -> Executor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


@pytest.mark.parametrize("make", [partial(ThreadPoolExecutor, 2), processes], ids=["threads", "processes"])
def test_the_workers_of_an_executor_fetch_their_samples_themselves(
    root: str, expected: dict[str, bytes], tmp_path: Path, make: Callable[[], Executor]
) -> None:
    with make() as executor:
        report = convert_to(tmp_path / "store", source_of(root, Scratch(tmp_path / "scratch")), executor=executor)
    assert report.broken == {}
    assert files_below(tmp_path / "store") == expected
    assert list((tmp_path / "scratch").glob("*/*")) == []


@pytest.mark.parametrize("moment", ["killed", "interrupted"])
def test_a_conversion_that_ends_early_leaves_nothing_that_the_next_one_does_not_remove(
    root: str, expected: dict[str, bytes], tmp_path: Path, proxied: BucketProxy, moment: str
) -> None:
    scratch, store = tmp_path / "scratch", tmp_path / "store"
    words = ["convert", root, str(store), "--recipe", str(recipe_file(tmp_path)), "--workers", "1"]
    words += ["--scratch", str(scratch)]
    holding = threading.Event()

    def hold(request: Passed) -> Fault | None:
        if "run%203/boundary" in request.target:
            holding.set()
            return Fault("drip") if moment == "killed" else None
        return None

    proxied.fault = hold
    process = subprocess.Popen(
        [sys.executable, "-m", "drawpoint_cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert holding.wait(60)
    process.send_signal(signal.SIGKILL if moment == "killed" else signal.SIGINT)
    process.communicate(timeout=60)
    if moment == "killed":
        assert files_below(scratch) != {}
    elif process.returncode == 130:  # it may have been done by then
        assert list(scratch.iterdir()) == []
    proxied.fault = lambda _: None
    if not (store / "manifest.json").exists():
        assert main(words) == 0
    assert files_below(store) == expected
    assert list(scratch.iterdir()) == []


def test_cases_and_indexes_are_listed_and_converted_as_local_ones(
    bucket: Bucket, bucket_environment: None, tmp_path: Path
) -> None:
    grid = pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid()
    for number in (1, 2):
        case = FoamCase(tmp_path / "cases" / f"case_{number}", grid, cell_faces(grid), binary=number == 2)
        case.write_mesh()
        for time in ("0", "250"):
            case.write_field(time, "p", np.arange(grid.n_cells) * float(number), {})
    foam = 'name = "foam"\nsample = "case_{n}"\n[volume]\nfile = "."\nplace = "cell"\n[volume.fields]\npressure = "p"\n'
    assert_same(tmp_path, "cases", bucket, foam)
    index = tmp_path / "pieces" / "run_1" / "volume.pvtu"
    for number in (1, 2):
        piece = block(number)
        add_arrays(piece, {"p": 1}, seed=number)
        save(piece, index.parent / "parts" / f"{number}.vtu")
    pieces = "".join(f'<Piece Source="parts/{number}.vtu"/>' for number in (1, 2))
    index.write_text(f'<VTKFile type="PUnstructuredGrid"><PUnstructuredGrid>{pieces}</PUnstructuredGrid></VTKFile>')
    recipe = foam.replace('"."', '"volume.pvtu"').replace("case_", "run_")
    assert_same(tmp_path, "pieces", bucket, recipe)
    index.write_text(index.read_text().replace("parts/2", "../../elsewhere/2"))
    upload(tmp_path / "pieces", f"s3://{bucket.name}/{tmp_path.name}/pieces")
    broken = source_of(f"s3://{bucket.name}/{tmp_path.name}/pieces", recipe=recipe).broken
    assert "names ../elsewhere/2.vtu, which is not below s3://" in broken["run_1"]


def assert_same(folder: Path, name: str, bucket: Bucket, recipe: str) -> None:
    root = upload(folder / name, f"s3://{bucket.name}/{folder.name}/{name}")
    here, there = source_of(folder / name, recipe=recipe), source_of(root, recipe=recipe)
    assert [(file.path, file.size) for file in there.files(there.sample_ids[0])] == [
        (file.path, file.size) for file in here.files(here.sample_ids[0])
    ]
    stores = folder / "stores" / name
    for source, store in ((here, "here"), (there, "there")):
        assert convert_to(stores / store, source).broken == {}
    assert files_below(stores / "there") == files_below(stores / "here")


ROWS = """
name = "rows"
sample = "p.npy[{n}]"
[surface]
place = "row"
[surface.fields]
position = { file = "/x.npy", index = "{n}" }
pressure = { index = "{n}" }
"""


@pytest.mark.usefixtures("by_parts")
def test_of_an_array_of_all_samples_the_rows_of_one_are_fetched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "p.npy", rng.standard_normal((40, 300)))
    np.save(tmp_path / "arrays" / "x.npy", rng.standard_normal((40, 300, 3)))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "arrays"), "/arrays", recursive=True)
    here, there = source_of(tmp_path / "arrays", recipe=ROWS), source_of("memory://arrays", recipe=ROWS)
    assert there.sample_ids == here.sample_ids
    for field in ("surface_position", "surface_pressure"):
        assert np.array_equal(there.read("p/7", field), here.read("p/7", field))
    assert there.scratch.peak < 4 * 300 * 8 * 4
    there.close()
    memory.mv("/arrays/p.npy", "/arrays/p.h5")
    with pytest.raises(InvalidSettings, match=r"each row of p\.h5 is a sample.*copy it to this machine"):
        assert source_of("memory://arrays", recipe=ROWS.replace("p.npy", "p.h5")).sample_ids


def test_a_data_set_of_a_hub_becomes_the_same_bytes(tree: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    words = ["hf://datasets/owner/set", str(tmp_path / "store"), "--recipe", str(recipe_file(tmp_path))]
    with hub(tree) as endpoint:  # which the library reads when it is imported
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
        ended = subprocess.run(
            [sys.executable, "-m", "drawpoint_cli", "convert", *words, "--workers", "1"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert files_below(tmp_path / "store") == expected


def test_a_url_whose_package_is_not_installed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(_registry, "hf", raising=False)
    with pytest.raises(ExtraMissing, match=r"hf://datasets/a/b cannot be reached: fsspec lacks.*huggingface_hub"):
        source_of("hf://datasets/a/b")


def test_a_scratch_that_cannot_be_written_is_named(root: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreadable, match=r"no folder for temporary files can be made in .*file"):
        assert source_of(root, Scratch(tmp_path / "file")).specs


def test_a_thread_that_waits_for_room_goes_on_when_another_lets_go(root: str, tree: Path, tmp_path: Path) -> None:
    source = source_of(root, Scratch(tmp_path / "scratch", size_of(tree / "run 1") + 1000))
    source.fetch("run 1")
    fetched = threading.Event()

    def fetch() -> None:
        source.fetch("run 2")
        fetched.set()

    thread = threading.Thread(target=fetch)
    thread.start()
    assert not fetched.wait(0.3)
    source.scratch.release("run 1", keep=True)
    assert fetched.wait(30)
    thread.join()
    stop = threading.Event()
    waiting = threading.Thread(target=lambda: ended.append(catch(lambda: source.fetch("run 3", stop))))
    ended: list[BaseException | None] = []
    waiting.start()
    stop.set()
    waiting.join(30)
    assert isinstance(ended[0], StoreUnreadable)
    assert [path.name for path in tree.iterdir()] != []
    assert json.dumps(sorted(path.name for path in (tmp_path / "scratch").glob("*/*/*"))) == '["run 2"]'


def catch(do: Callable[[], object]) -> BaseException | None:
    try:
        do()
    except DrawpointError as error:
        return error
    return None
