"""Conversion from and to a bucket, against a real S3 server."""

from __future__ import annotations

import multiprocessing.util
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from drawpoint.errors import StoreExists, StoreUnreadable
from drawpoint_cli.__main__ import main
from drawpoint_store import StoreManifest
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.statistics.moments_table import MOMENTS_NAME
from drawpoint_store.storage import bucket_storage, open_storage
from drawpoint_store.storage.bucket_access import open_client
from proxy import BucketProxy, Fault, Passed, status
from s3 import ACCESS_KEY, SECRET_KEY, Bucket, upload
from trees import RUN_FILEMAP, VOLUME, files_below, write_run, write_runs, writer_at


@pytest.fixture
def root(bucket: Bucket, bucket_environment: None, tmp_path: Path) -> str:
    """A place in the bucket that is empty."""
    return f"s3://{bucket.name}/{tmp_path.name}"


def put_runs(folder: Path, root: str, count: int) -> str:
    """Write runs into the folder and into the bucket, and return where they are there."""
    write_runs(folder, count)
    return upload(folder, f"{root}/runs")


def objects_below(root: str) -> dict[str, bytes]:
    client = open_client(root)
    return {entry["path"]: bytes(client.get(entry["path"]).bytes()) for page in client.list() for entry in page}


def assert_same_samples(bucket_root: str, local_root: Path) -> None:
    """Assert that a store in a bucket holds what a local one does, in groups named by their content, and no more."""
    there, here = StoreManifest.load(bucket_root), StoreManifest.load(local_root)
    objects, files = objects_below(bucket_root), files_below(local_root)
    assert objects.pop("manifest.json") == there.to_json()
    assert files.pop("manifest.json") == here.to_json()
    for sample_id, entry in there.samples.items():
        assert re.fullmatch(rf"{re.escape(sample_id)}\.[0-9a-f]{{12}}\.zarr", entry.relpath)
        assert entry.model_copy(update={"relpath": f"{sample_id}.zarr"}) == here.samples[sample_id]
    local = {entry.relpath: f"{sample_id}.zarr" for sample_id, entry in there.samples.items()}
    split = {name: name.split("/", 1) for name in objects}
    assert {f"{local[group]}/{name}": objects[whole] for whole, (group, name) in split.items()} == files


def test_what_is_measured_on_the_way_to_a_bucket_is_what_is_measured_on_the_way_to_a_disk(
    root: str, tmp_path: Path
) -> None:
    write_runs(tmp_path / "runs", 2)
    convert(tmp_path / "runs", writer_at(tmp_path / "store"), stats=True)
    report = convert(tmp_path / "runs", writer_at(f"{root}/store"), stats=True)
    there, here = open_storage(f"{root}/store"), open_storage(tmp_path / "store")
    assert there.read(MOMENTS_NAME) == here.read(MOMENTS_NAME) is not None
    documents = [read_statistics(storage) for storage in (there, here)]
    assert documents[0] is not None
    assert documents[0]["revision"] == report.revision
    assert documents[0] | {"revision": ""} == (documents[1] or {}) | {"revision": ""}
    write_run(tmp_path / "more" / "run_2", 2)
    appended = convert(tmp_path / "more", writer_at(f"{root}/store"), existing="append").statistics
    assert (appended.n_samples if appended else 0) == 3


def test_a_bucket_converts_into_a_bucket_like_a_disk_onto_a_disk(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(_registry, "s3", MemoryFileSystem)  # as s3fs would be; obstore is used all the same
    runs = put_runs(tmp_path / "runs", root, 3)
    here = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    there = convert(runs, writer_at(f"{root}/store"), workers=2)
    assert there.model_dump(exclude={"seconds", "revision"}) == here.model_dump(exclude={"seconds", "revision"})
    assert_same_samples(f"{root}/store", tmp_path / "store")
    with pytest.raises(StoreExists, match="3 samples"):
        convert(runs, writer_at(f"{root}/store"))
    assert main(["verify", f"{root}/store", "--source", runs]) == 0
    write_run(tmp_path / "runs" / "run_0", 5)
    name = "run_0/volume_distance_to_surface.pt"
    open_storage(runs).write(name, (tmp_path / "runs" / name).read_bytes())
    assert main(["verify", f"{root}/store", "--source", runs]) == 1
    assert "volume_sdf of sample 'run_0' differs in" in capsys.readouterr().out


def test_an_interrupted_conversion_into_a_bucket_goes_on(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> str:
        raise KeyboardInterrupt

    write_runs(tmp_path / "runs", 2)
    with monkeypatch.context() as patch:
        patch.setattr(StoreManifest, "save", die)
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path / "runs", writer_at(f"{root}/again"))
    assert len(open_storage(f"{root}/again").list(".convert/samples")[1]) == 2
    report = convert(tmp_path / "runs", writer_at(f"{root}/again"))
    assert report.resumed == 2
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    assert_same_samples(f"{root}/again", tmp_path / "whole")


def test_an_outage_of_the_source_breaks_no_sample(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PtSource.scan(put_runs(tmp_path / "runs", root, 1), RUN_FILEMAP)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong by now")
    with pytest.raises(StoreUnreadable, match=r"surface_position\.pt cannot be read.*run the same command again"):
        convert(source, writer_at(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_command_opens_one_client_that_reads_and_one_that_writes(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def count(*arguments: Any, read_only: bool) -> Any:
        opened.append("reads" if read_only else "writes")
        return open_client(*arguments, read_only=read_only)

    write_runs(tmp_path / "runs", 2)
    monkeypatch.setattr(bucket_storage, "open_client", count)
    store = f"{root}/counted"
    for command, clients in (
        (["convert", str(tmp_path / "runs"), store, "--workers", "1"], ["reads", "writes"]),
        (["verify", store], ["reads"]),
        (["stats", store], ["reads", "writes"]),
        (["info", store], ["reads"]),
        (["upgrade", store], ["reads"]),
        (["prune", store], ["reads"]),
    ):
        opened.clear()
        assert main(command) == 0
        assert sorted(opened) == clients, command


def test_nothing_of_a_broken_sample_is_put_into_a_bucket(root: str, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "broken", volume_distance_to_surface=torch.full((VOLUME,), torch.nan))
    report = convert(tmp_path / "runs", writer_at(f"{root}/store"))
    assert "volume_sdf holds 700 NaN" in report.broken["broken"]
    assert objects_below(f"{root}/store") == {}


REFUSALS = {
    ".json cannot be read": ("GET", r"\.convert/samples/"),
    "cannot be listed": ("GET", r"list-type.*run_0\."),
    "cannot be written": ("PUT", r"\.convert/samples/"),
    "manifest.json cannot be written": ("PUT", r"manifest\.json"),
    " cannot be deleted": ("(DELETE|POST)", ""),
}


@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_bucket_that_refuses_is_a_sentence_without_its_words_and_the_same_command_goes_on(
    proxy: BucketProxy,
    root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
    processes: int,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    multiprocessing.util.get_temp_dir()  # this process keeps the first that it is given, for sockets with a short path
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    write_runs(tmp_path / "runs", 2)
    words = ["convert", str(tmp_path / "runs"), root, "--workers", str(processes)]
    method, where = REFUSALS[what]

    def refuse(request: Passed) -> Fault | None:
        asked = re.fullmatch(method, request.method) and re.search(where, request.target)
        return status(403, "AccessDenied", "<StringToSign>its secret</StringToSign>") if asked else None

    proxy.fault = refuse
    assert main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("drawpoint convert: ")
    assert f"{what}: the storage answers 403 Forbidden (AccessDenied); check the credentials; " in err
    assert err.endswith("run the same command again to go on.\n")
    assert err.count("\n") == 1
    for secret in ("its secret", ACCESS_KEY + "/", SECRET_KEY, "127.0.0.1"):
        assert secret not in err
    assert not list(temporary.glob(".drawpoint-*"))
    proxy.fault = lambda _: None
    assert main(words) == 0
    assert "converted 2 samples" in capsys.readouterr().out
    assert not [name for name in objects_below(root) if name.startswith(".convert")]


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_ENDPOINT_URL", "storage.example.org"), ("AWS_ENDPOINT_URL_S3", "http://a b"), ("AWS_REGION", "us east")],
)
def test_a_variable_that_is_malformed_is_named_instead_of_a_panic(
    root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
) -> None:
    write_runs(tmp_path / "runs", 1)
    monkeypatch.setenv(name, value)
    for locations in ((str(tmp_path / "runs"), root), (root, str(tmp_path / "store"))):
        assert main(["convert", *locations]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"drawpoint convert: the environment's {name} is not ")
        assert value not in err
