"""Conversion: what becomes of sources, good and broken, and of stores that exist."""

from __future__ import annotations

import itertools
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import numpy as np
import pytest
import torch

from conftest import AHMED, FILEMAP
from drawpoint.errors import InvalidSample, StoreExists, StoreUnreadable
from drawpoint_store import FileMap, StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.engines.engine import run_tasks
from drawpoint_store.conversion.sample_conversion import SampleConverter, Task
from drawpoint_store.conversion.sources.file_tree import FileTree
from drawpoint_store.conversion.sources.pt_source import PtSource, read_tensor
from drawpoint_store.conversion.sources.source import SourceFile
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.storage import Storage, open_storage
from drawpoint_store.writing.group import GROUP_FORMAT
from drawpoint_store.writing.layout import present_specs
from drawpoint_store.writing.lock import lock_store
from small import same
from trees import RUN_FILEMAP, SURFACE, VOLUME, files_below, run_tensors, write_run, write_runs, writer_at

if TYPE_CHECKING:
    from collections.abc import Callable


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def column(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().reshape(len(tensor), -1).float().numpy()


def sorted_rows(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values[np.lexsort(values.T)]


def test_every_point_of_real_runs_is_stored_once_with_all_its_fields(tmp_path: Path) -> None:
    report = convert(AHMED, ZarrStoreWriter(tmp_path, FILEMAP, "ahmed"))
    assert (report.converted, report.broken) == (["slant_0", "slant_25"], {})
    reader = ZarrChunkReader(tmp_path)
    for run, domain in itertools.product(report.converted, ("surface", "volume")):
        fields = [field for field in reader.manifest.fields if field.startswith(f"{domain}_")]
        stored = reader.read_sample(run, fields=fields)
        columns = []
        for field in fields:
            name = "volume_distance_to_surface.pt" if field == "volume_sdf" else f"{field}.pt"
            tensor = torch.load(AHMED / run / name, weights_only=True)
            columns.append(column(tensor.to(getattr(torch, reader.manifest.fields[field].dtype))))
        there = np.concatenate([column(stored[field]) for field in fields], axis=1)
        assert np.array_equal(sorted_rows(there), sorted_rows(np.concatenate(columns, axis=1)))


def test_ids_are_paths_below_the_source(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "param1" / "0a1b")
    write_run(tmp_path / "runs" / "run_1")
    write_run(tmp_path / "runs" / ".trash" / "run_2")
    (tmp_path / "runs" / "images").mkdir()
    (tmp_path / "runs" / "images" / "run_1.png").touch()
    report = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    assert (report.converted, report.broken) == (["param1/0a1b", "run_1"], {})
    assert (tmp_path / "store" / "param1" / "0a1b.zarr" / "zarr.json").is_file()
    # A source that is itself a run has its own name.
    assert convert(tmp_path / "runs" / "run_1", writer_at(tmp_path / "alone")).converted == ["run_1"]


def test_ids_leave_out_the_folder_that_noether_preprocesses_into(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("preprocessed/param1/0a1b", "raw/preprocessed/run_1", "run_1", "preprocessed/run_2", "run_2"):
        write_run(runs / name)
    report = convert(runs, writer_at(tmp_path / "store"))
    assert report.converted == ["param1/0a1b", "raw/preprocessed/run_1", "run_1"]
    assert report.broken == {"run_2": f"{runs}/preprocessed/run_2 and {runs}/run_2 would be samples of the same id"}
    convert(runs / "preprocessed", writer_at(tmp_path / "alone"))
    manifest, alone = (StoreManifest.load(tmp_path / name) for name in ("store", "alone"))
    assert manifest.samples["param1/0a1b"] == alone.samples["param1/0a1b"]
    # Nor is a sample added again that an older store has by its whole path.
    manifest.samples["preprocessed/param1/0a1b"] = manifest.samples.pop("param1/0a1b")
    manifest.save(tmp_path / "store")
    again = convert(runs / "preprocessed", writer_at(tmp_path / "store"), existing="append")
    assert (again.skipped, again.converted) == (["param1/0a1b"], ["run_2"])


def test_links_to_runs_are_followed_once_and_those_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    runs, names = tmp_path / "runs", [f"run_{number}" for number in range(12)]  # 12! paths
    for name in names:
        write_run(runs / name)
        for other in names:
            (runs / name / f"to_{other}").symlink_to(runs / other)
    (runs / "a_link_before_them").symlink_to(runs / "run_3")
    for folder in (runs, runs / "run_1"):
        (folder / "dangling").symlink_to("nowhere")
        (folder / "itself").symlink_to("itself")
        (folder / "through_a_file").symlink_to(runs / "run_1" / "surface_pressure.pt" / "x")
    write_run(tmp_path / "elsewhere")
    (runs / "run_12").symlink_to(tmp_path / "elsewhere")
    (runs / "loop").symlink_to(runs)
    assert sorted(FileTree.scan(runs).folders) == sorted(["", *names, "run_12"])
    write_run(tmp_path / "one" / "run")
    (tmp_path / "one" / "loop").symlink_to(tmp_path / "one")
    (tmp_path / "one" / "dangling").symlink_to("nowhere")
    assert convert(tmp_path / "one", writer_at(tmp_path / "store")).converted == ["run"]


def test_a_tree_in_memory_gives_the_bytes_of_one_on_disk(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 2)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "runs"), "/made-runs", recursive=True)
    here = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    there = convert("memory://made-runs", writer_at("memory://made-store"))
    assert there.model_dump(exclude={"seconds"}) == here.model_dump(exclude={"seconds"})
    files = files_below(tmp_path / "store")
    assert {path.removeprefix("/made-store/"): memory.cat(path) for path in memory.find("/made-store")} == files
    assert here.bytes_written == sum(len(data) for name, data in files.items() if name != "manifest.json")
    assert here.bytes_read == sum(map(len, files_below(tmp_path / "runs").values()))
    assert here.n_points == 2 * (SURFACE + VOLUME)


def test_a_tree_in_an_archive_gives_the_bytes_of_one_on_disk(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 1)
    archive = shutil.make_archive(str(tmp_path / "runs"), "zip", tmp_path / "runs")
    convert(tmp_path / "runs", writer_at(tmp_path / "here"))
    convert(f"zip://::{archive}", writer_at(tmp_path / "there"))
    assert files_below(tmp_path / "there") == files_below(tmp_path / "here")


def test_locations_that_cannot_be_listed_or_hold_no_sample_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotADirectoryError, match=r"file is a file; give a directory"):
        FileTree.scan(tmp_path / "file")
    for nowhere in (str(tmp_path / "nowhere"), "memory://nowhere"):
        with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
            FileTree.scan(nowhere)
    with pytest.raises(StoreUnreadable, match=r"nonsense://runs cannot be listed: Protocol not known"):
        FileTree.scan("nonsense://runs")
    with pytest.raises(InvalidSample, match=r"no directory in it holds any of surface_position\.pt"):
        convert(tmp_path / "empty", writer_at(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


BROKEN: dict[str, tuple[object, str]] = {
    "no file": (None, "lacks surface_pressure.pt (surface_pressure)"),
    "a dict": ({"p": torch.zeros(SURFACE)}, "surface_pressure.pt holds a dict, not a tensor"),
    "complex": (
        torch.zeros(SURFACE, dtype=torch.complex64),
        "surface_pressure must hold real numbers, holds complex64",
    ),
    "sparse": (torch.eye(SURFACE).to_sparse(), "surface_pressure.pt holds a sparse or quantized tensor; save it as a "),
    "endless": (torch.rand(1).expand(2**40), f"surface_pressure.pt claims {2**40} rows that its file does not hold; "),
    "another count": (torch.zeros(SURFACE + 1), "the fields of 'surface' disagree on the number of points: "),
    "too large": (torch.full((SURFACE,), 1e6), "exceeds the float16 range: surface_pressure peaks at 1e+06"),
    "not finite": (
        torch.tensor([0.0] * 9 + [float("nan")] * 2 + [float("inf")] * (SURFACE - 11)),
        "surface_pressure holds 2 NaN and 289 infinite of 300 values, the first in row 9",
    ),
    "a\\b": (torch.zeros(SURFACE), "sample id 'a\\\\b' is refused: "),
}


class _Bomb:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (shutil.rmtree, (str(self.victim),))


def test_broken_samples_are_left_out_with_their_reasons_and_no_code_of_theirs_is_run(tmp_path: Path) -> None:
    runs, victim = tmp_path / "runs", tmp_path / "victim"
    victim.mkdir()
    write_run(runs / "good")
    reasons = {name: reason for name, (_, reason) in BROKEN.items()}
    for name, (value, _) in BROKEN.items():
        write_run(runs / name, surface_pressure=value)
    whole = (runs / "good" / "volume_position.pt").read_bytes()
    files = {"empty": b"", "junk": b"junk data of some length", "half": b"\x80\x02junk", "cut short": whole[:5000]}
    for name, data in {**files, "bomb": pickle.dumps(_Bomb(victim), protocol=2)}.items():
        write_run(runs / name)
        (runs / name / "volume_position.pt").write_bytes(data)
        reasons[name] = f"volume_position.pt {'is refused' if name == 'bomb' else 'cannot be read: '}"
    report = convert(runs, writer_at(tmp_path / "store"))
    assert report.converted == list(StoreManifest.load(tmp_path / "store").samples) == ["good"]
    assert [name for name in files_below(tmp_path / "store") if not name.startswith(("good", "manifest"))] == []
    assert report.broken.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert report.broken[name].startswith(reason)
        assert "\n" not in report.broken[name]
    assert report.broken["empty"].endswith(": it is empty, damaged, or not what torch.save writes")
    assert victim.exists()


def test_a_sample_that_does_not_fit_in_memory_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_group = ZarrStoreWriter.write_group

    def write(writer: ZarrStoreWriter, sample_id: str, *arguments: Any) -> Any:
        if sample_id == "run_0":
            np.empty(2**50)  # numpy's own way of failing
        return write_group(writer, sample_id, *arguments)

    write_runs(tmp_path / "runs", 2)
    monkeypatch.setattr(ZarrStoreWriter, "write_group", write)
    report = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    assert report.converted == ["run_1"]
    assert report.broken == {"run_0": "does not fit in the memory that is left; try fewer --workers"}


def test_numbers_of_other_types_column_vectors_parameters_views_and_files_of_old_torch_are_read(tmp_path: Path) -> None:
    runs, tensors = tmp_path / "runs", run_tensors()
    pressure, position = tensors["surface_pressure.pt"], tensors["surface_position.pt"]
    given: dict[str, dict[str, Any]] = {
        **{
            str(dtype)[6:]: {"surface_pressure": torch.arange(SURFACE).to(dtype)}
            for dtype in (torch.bfloat16, torch.int32)
        },
        "a column": {"surface_pressure": pressure[:, None]},
        "a parameter": {"surface_position": torch.nn.Parameter(position)},
        "a view": {"surface_position": position.T.contiguous().T},
        "of old torch": {"surface_position": position},
    }
    for name, changes in given.items():
        write_run(runs / name, **changes)
    torch.save(position, runs / "of old torch" / "surface_position.pt", _use_new_zipfile_serialization=False)
    assert convert(runs, writer_at(tmp_path / "store", values_dtype="float32")).broken == {}
    for name, changes in given.items():
        stored = ZarrChunkReader(tmp_path / "store").read_sample(name)
        for field, tensor in changes.items():
            assert np.array_equal(sorted_rows(column(stored[field])), sorted_rows(column(tensor)))


def test_changes_of_a_file_after_it_was_read_do_not_show(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "volume_position.pt"
    values = read_tensor(open_storage(tmp_path), path.name)
    with path.open("r+b") as file:  # in place, as a mapping would show; cut short, it would be SIGBUS
        file.write(bytes(path.stat().st_size))
    assert np.array_equal(values, run_tensors()["volume_position.pt"].numpy())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_runs(tmp_path / "runs", 2)
    convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    return tmp_path / "store"


def test_a_store_that_exists_or_is_written_to_is_refused_before_the_source_is_looked_at(
    tmp_path: Path, store: Path
) -> None:
    before = files_below(store)
    with pytest.raises(StoreExists, match=r"2 samples.*--append.*--overwrite"):
        convert(tmp_path / "nowhere", writer_at(store))
    with lock_store(str(store)), pytest.raises(StoreExists, match="another conversion is writing"):
        convert(tmp_path / "runs", writer_at(store), existing="overwrite")
    assert files_below(store) == before


def test_appending_adds_new_samples_and_leaves_the_rest(tmp_path: Path, store: Path) -> None:
    before = files_below(store)
    report = convert(tmp_path / "runs", writer_at(store), existing="append")
    assert (report.converted, report.skipped, report.revision) == ([], ["run_0", "run_1"], None)
    assert files_below(store) == before
    write_run(tmp_path / "runs" / "run_2", 2)
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    (tmp_path / "runs" / "run_0" / "surface_pressure.pt").unlink()
    report = convert(tmp_path / "runs", writer_at(store), existing="append")
    assert (report.converted, report.skipped, report.broken) == (["run_2"], ["run_1"], {})
    assert files_below(store) == files_below(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"chunk_points": 32}, "lie in chunks"),
        ({"shard_points": 128}, "lie in chunks"),
        ({"values_dtype": "float32"}, "its values_dtype is 'float16', not 'float32'"),
        ({"field_dtypes": {"volume_sdf": "float32"}}, "its volume_sdf is float16"),
        ({"shuffle_seed": 1}, "its shuffle_seed is 0, not 1"),
        ({"dataset_name": "other"}, "its dataset_name is 'made', not 'other'"),
        (
            {"filemap": FileMap(surface_position="surface_position.pt")},
            "it has surface_pressure, volume_position, volume_sdf, which the FileMap",
        ),
    ],
)
def test_appending_with_other_settings_is_refused(
    tmp_path: Path, store: Path, settings: dict[str, Any], difference: str
) -> None:
    with pytest.raises(StoreExists, match=difference):
        convert(tmp_path / "runs", writer_at(store, **settings), existing="append")


@pytest.mark.parametrize(("level", "compressor"), [(0, "none"), (1, "blosc-zstd-1")])
def test_appending_at_another_level_reads_right(tmp_path: Path, store: Path, level: int, compressor: str) -> None:
    write_run(tmp_path / "runs" / "run_2", 2)
    convert(tmp_path / "runs", writer_at(store, compression_level=level), existing="append")
    assert StoreManifest.load(store).compressor == compressor  # what the latest samples were written with
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    for sample_id in ("run_0", "run_1", "run_2"):
        assert same(*(ZarrChunkReader(root).read_sample(sample_id) for root in (store, tmp_path / "whole")))
    assert all(check.problems == () for check in verify_store(store))


def test_a_conversion_of_another_format_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(tmp_path / "runs", 3)
    for format_, resumed in ((GROUP_FORMAT, 3), (GROUP_FORMAT - 1, 0)):
        root = tmp_path / str(format_)
        monkeypatch.setattr("drawpoint_store.writing.group.GROUP_FORMAT", format_)
        monkeypatch.setattr("drawpoint_store.conversion.convert.publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path / "runs", writer_at(root))
        monkeypatch.undo()
        assert convert(tmp_path / "runs", writer_at(root)).resumed == resumed


def test_readers_of_an_overwritten_revision_go_on_reading_it(tmp_path: Path, store: Path) -> None:
    reader = ZarrChunkReader(store)
    before, files = reader.read_sample("run_0"), files_below(store)
    write_run(tmp_path / "others" / "bad", surface_pressure=None)
    report = convert(tmp_path / "others", writer_at(store), existing="overwrite")  # of which nothing is left
    assert report.revision is None
    assert files_below(store) == files
    write_run(tmp_path / "runs" / "run_0", 9)
    report = convert(tmp_path / "runs", writer_at(store), existing="overwrite")
    assert report.replaced == ["run_0.zarr", "run_1.zarr"]
    assert same(ZarrChunkReader(store, manifest=reader.manifest).read_sample("run_0"), before)
    now = ZarrChunkReader(store)
    assert now.manifest.revision == report.revision != reader.manifest.revision
    assert not same(now.read_sample("run_0"), before)


def test_workers_stand_where_their_parent_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):  # the second time, the server of the workers stands elsewhere
        write_runs(tmp_path / place / "runs", 2)
        monkeypatch.chdir(tmp_path / place)
        assert convert("runs", writer_at("store"), workers=2).broken == {}
        assert (tmp_path / place / "store" / "run_1.zarr").is_dir()


def test_a_file_that_vanishes_breaks_its_sample(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 2)
    source = PtSource.scan(tmp_path / "runs", RUN_FILEMAP)
    (tmp_path / "runs" / "run_0" / "surface_pressure.pt").unlink()
    report = convert(source, writer_at(tmp_path / "store"))
    assert report.broken == {"run_0": "surface_pressure.pt cannot be read: it is gone"}


@pytest.fixture
def rewrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what makes the second file that is read of each of so many reads find the whole run rewritten."""
    write_run(tmp_path / "runs" / "run", 0)

    def rewrite(reads: int) -> None:
        calls = []

        def read(storage: Storage, path: str) -> Any:
            calls.append(path)
            number, place = divmod(len(calls) - 1, 4)
            if place == 1 and number < reads:
                write_run(tmp_path / "runs" / "run", number + 1)
            return original(storage, path)

        original = read_tensor
        monkeypatch.setattr("drawpoint_store.conversion.sources.pt_source.read_tensor", read)

    return rewrite


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_a_source_rewritten_while_it_is_read_is_stored_in_one_state_or_broken(
    tmp_path: Path, rewrite: Callable[[int], None], reads: int
) -> None:
    rewrite(reads)
    report = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    if reads == 3:
        assert "rewritten while they were read, 3 times" in report.broken["run"]
        assert not (tmp_path / "store").exists()
        return
    assert report.converted == ["run"]
    write_run(tmp_path / "same" / "run", reads)
    convert(tmp_path / "same", writer_at(tmp_path / "whole"))
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")


def test_a_source_rewritten_with_another_count_while_it_is_read_is_not_taken_for_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(storage: Storage, path: str) -> Any:
        values = original(storage, path)
        if not rewritten:
            rewritten.append(path)
            for name, tensor in larger.items():
                torch.save(tensor, tmp_path / "runs" / "run" / name)
        return values

    original, rewritten = read_tensor, list[str]()
    write_run(tmp_path / "runs" / "run")
    larger = {name: torch.cat([tensor, tensor]) for name, tensor in run_tensors().items()}
    monkeypatch.setattr("drawpoint_store.conversion.sources.pt_source.read_tensor", read)
    report = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    assert (report.converted, report.n_points) == (["run"], 2 * (SURFACE + VOLUME))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_fields_of_a_sample_that_takes_long_are_told_as_they_are_read(tmp_path: Path, workers: int) -> None:
    write_runs(tmp_path / "runs", 2)
    source, told = PtSource.scan(tmp_path / "runs", RUN_FILEMAP), list[str]()
    settings = writer_at(tmp_path / "store").to_init_kwargs()
    for seconds in (1000.0, 0.0):
        converter = SampleConverter(source, settings, frozenset(), seconds)
        tasks = [Task(sample_id, f"{sample_id} {seconds}", f"{sample_id} {seconds}") for sample_id in source.sample_ids]
        outcomes = list(run_tasks(tasks, converter, workers=workers, notify=told.append))
        assert [outcome.reason for outcome in outcomes] == ["", ""]
        assert len(told) == (8 if seconds == 0 else 0)
    assert [text for text in told if text.startswith("run_1")] == [
        f"run_1: {field}, {number} of 4 fields"
        for number, field in enumerate(("surface_position", "surface_pressure", "volume_position", "volume_sdf"), 1)
    ]


def test_a_source_rewritten_after_its_listing_is_stored_in_one_state(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "run", 0)
    source = PtSource.scan(tmp_path / "runs", RUN_FILEMAP)
    write_run(tmp_path / "runs" / "run", 5)
    convert(source, writer_at(tmp_path / "store"))
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")


class NpySource:
    """One .npy file a field, `<sample>_<field>.npy` in one folder: a source of another format."""

    settings: ClassVar[dict[str, str]] = {"format": "npy"}
    specs = present_specs(RUN_FILEMAP)
    broken: ClassVar[dict[str, str]] = {"lost": "lacks its file"}
    unmapped_files: ClassVar[dict[str, int]] = {}
    splits: ClassVar[dict[str, list[str]]] = {}

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self.sample_ids = sorted({path.name.partition("_")[0] for path in folder.glob("*_*.npy")})

    def only(self, sample_id: str) -> NpySource:
        del sample_id
        return self

    def files(self, sample_id: str) -> list[SourceFile]:
        stats = {path.name: path.stat() for path in Path(self.location).glob(f"{sample_id}_*.npy")}
        return [SourceFile(name, stats[name].st_size, str(stats[name].st_mtime_ns)) for name in sorted(stats)]

    def fields(self, sample_id: str) -> list[str]:
        return [Path(file.path).stem.partition("_")[2] for file in self.files(sample_id)]

    def scalars(self, sample_id: str) -> dict[str, float]:
        return {"run": float(sample_id.partition("-")[2])}

    def where(self, field: str) -> str:
        return f"{field}.npy"

    def close(self, *, keep: bool = False) -> None:
        del keep

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        values: np.ndarray[Any, Any] = np.load(Path(self.location) / f"{sample_id}_{field}.npy")
        return values


def test_any_source_is_converted_through_the_same_interface(tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    write_runs(tmp_path / "runs", 2)
    for number in range(2):
        for name, tensor in run_tensors(number).items():
            field = name.removesuffix(".pt").replace("distance_to_surface", "sdf")
            np.save(tmp_path / "arrays" / f"run-{number}_{field}.npy", tensor.numpy())
        (tmp_path / "runs" / f"run_{number}").rename(tmp_path / "runs" / f"run-{number}")
    report = convert(NpySource(tmp_path / "arrays"), writer_at(tmp_path / "store"))
    assert (report.converted, report.broken) == (["run-0", "run-1"], {"lost": "lacks its file"})
    scalars = {f"run-{number}": {"run": float(number)} for number in range(2)}
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"), scalars=scalars)
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")
