"""Stores in a bucket of a real S3 server read and fail like stores on disk, also where a proxy makes faults of it."""

from __future__ import annotations

import multiprocessing
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import SecretStr

from conftest import FILEMAP, sample_arrays
from drawpoint.errors import (
    ChunkDamaged,
    ChunkMissing,
    DrawpointError,
    InvalidManifest,
    InvalidSettings,
    MetadataDamaged,
    StoreNotFound,
    StoreUnreadable,
)
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter, make_store
from drawpoint_store.storage import BucketAccess, Storage, open_storage
from drawpoint_store.storage.bucket_access import open_client
from proxy import BucketProxy, Fault, Passed, status
from s3 import ACCESS_KEY, SECRET_KEY, Bucket
from small import files_of, same

pytestmark = pytest.mark.usefixtures("bucket_environment", "made_root")
COUNTS: dict[str, int | None] = {"surface": 700, "volume": 5000}
SOON = {"stall_seconds": 1.0, "deadline_seconds": 3.0}
"""For faults that only time ends; all other reads have the time of a busy machine."""

TRANSIENT = {
    "a slow answer": Fault("blackhole"),
    "a reset connection": Fault("reset"),
    "a truncated body": Fault("truncate"),
    "500": status(500, "InternalError"),
    "503": status(503, "SlowDown"),
    "429": status(429, "TooManyRequests"),
}


def location(proxy: BucketProxy, **settings: Any) -> Storage:
    return open_storage(
        "s3://cars/made",
        BucketAccess(
            endpoint=proxy.url,
            region="us-east-1",
            access_key_id=SecretStr(ACCESS_KEY),
            secret_access_key=SecretStr(SECRET_KEY),
            **settings,
        ),
    )


def read(reader: ZarrChunkReader, counts: dict[str, int | None], seed: int = 0) -> dict[str, torch.Tensor]:
    return reader.read_sample("param0/run", counts, seed=seed)


@pytest.mark.parametrize("arguments", [{"seed": 1}, {"seed": 1, "part": 2}, {"seed": 1, "fields": ["volume_pressure"]}])
def test_draws_from_a_bucket_are_those_from_disk(made_root: str, store_root: Path, arguments: dict[str, Any]) -> None:
    expected = ZarrChunkReader(store_root).read_sample("param0/run", COUNTS, **arguments)
    through_stores = ZarrChunkReader(made_root, store_factory=lambda path: make_store(path, read_only=True))
    for reader in (ZarrChunkReader(made_root), ZarrChunkReader(made_root, read_concurrency=4), through_stores):
        assert same(reader.read_sample("param0/run", COUNTS, **arguments), expected)


def test_a_store_written_to_a_bucket_has_the_bytes_of_one_on_disk_and_leaves_what_is_published(
    bucket: Bucket, tmp_path: Path
) -> None:
    roots = (str(tmp_path / "store"), f"s3://{bucket.name}/written")
    for root in roots:
        writer = ZarrStoreWriter(root, FILEMAP, "twice", chunk_points=512, shard_points=2048)
        writer.write_sample("param/run", sample_arrays())
        writer.save_manifest()
    here, there = (StoreManifest.load(root).samples["param/run"] for root in roots)
    assert here.relpath == "param/run.zarr"
    assert re.fullmatch(r"param/run\.[0-9a-f]{12}\.zarr", there.relpath)
    assert (here.domains, here.digest) == (there.domains, there.digest)
    on_disk, client = files_of(Path(roots[0], here.relpath)), open_client(roots[1])
    in_bucket = {entry["path"].removeprefix(f"{there.relpath}/") for page in client.list() for entry in page}
    assert in_bucket == {"manifest.json", *on_disk}
    assert all(bytes(client.get(f"{there.relpath}/{key}").bytes()) == data for key, data in on_disk.items())
    old = ZarrChunkReader(roots[1])
    before = old.read_sample("param/run")
    writer.write_sample("param/run", sample_arrays(1))
    writer.save_manifest()
    assert ZarrChunkReader(roots[1]).manifest.revision != old.manifest.revision
    assert same(ZarrChunkReader(roots[1], manifest=old.manifest).read_sample("param/run"), before)


def test_damage_in_a_bucket_is_named(bucket_root: str) -> None:
    client, key = open_client(bucket_root), "param0/run.zarr/volume/velocity/c/0/0"
    whole = bytes(client.get(key).bytes())
    client.put(key, whole[:5] + bytes([whole[5] ^ 1]) + whole[6:])
    with pytest.raises(ChunkDamaged, match="chunk 0 of volume_velocity in sample 'param0/run'"):
        ZarrChunkReader(bucket_root).read_sample("param0/run")
    client.put(key, whole)
    reader = ZarrChunkReader(bucket_root)
    reader.read_sample("param0/run", {"volume": 10}, seed=0)
    client.put(key, whole[:100])  # after its index was read
    with pytest.raises(ChunkDamaged, match="volume_velocity in sample 'param0/run' is damaged"):
        reader.read_sample("param0/run")


def test_a_document_larger_than_is_to_be_read_is_refused(made_root: str) -> None:
    storage = open_storage(made_root, BucketAccess().model_copy(update={"document_bytes": 100}))  # less than may be set
    with pytest.raises(InvalidManifest, match=r"manifest\.json is not read: .* 100 are read at most"):
        ZarrChunkReader(storage)
    with pytest.raises(MetadataDamaged, match=r"zarr\.json is not read: .* 100 are read at most") as caught:
        ZarrChunkReader(storage, StoreManifest.load(made_root)).read_sample("param0/run")
    assert caught.value.sample == "param0/run"


@pytest.mark.parametrize("counts", [COUNTS, {}], ids=["some points", "all points"])
def test_a_first_read_is_two_round_trips_and_a_later_one_is_one(
    proxy: BucketProxy, store_root: Path, counts: dict[str, int | None]
) -> None:
    store = ZarrChunkReader(location(proxy))
    proxy.latency = 0.25
    for seed, round_trips in ((0, 2), (1, 1)):
        proxy.passed.clear()
        found = read(store, counts, seed)
        assert proxy.round_trips() == round_trips
        assert len(proxy.passed) >= 10
        assert same(found, read(ZarrChunkReader(store_root), counts, seed))


def test_a_bucket_that_does_not_answer_once_costs_nothing_that_was_cached(proxy: BucketProxy) -> None:
    store = ZarrChunkReader(location(proxy, retries=0), chunk_cache_bytes=2**26)
    whole = read(store, {})
    proxy.passed.clear()
    proxy.fault = lambda _: status(500, "InternalError")
    with pytest.raises(StoreUnreadable):
        store.read_sample("param1/run", COUNTS, seed=0)
    proxy.passed.clear()
    assert same(read(store, {}), whole)
    # What the failed read had asked for may still arrive.
    assert [passed for passed in proxy.passed if "/param1/" not in passed.target] == []


def test_no_more_requests_are_under_way_than_the_bucket_is_to_bear(proxy: BucketProxy) -> None:
    most = 0
    store = ZarrChunkReader(location(proxy, bucket_requests=16))
    proxy.latency = 0.02

    def count(_: Passed) -> None:
        nonlocal most
        most = max(most, sum(passed.answered == float("inf") for passed in proxy.passed))

    proxy.fault = count
    read(store, COUNTS)
    assert 8 < most <= 16


@pytest.mark.parametrize("where", ["manifest.json", "zarr.json", "/c/0"])
@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_what_passes_is_tried_again(proxy: BucketProxy, store_root: Path, fault: Fault, where: str) -> None:
    proxy.fail_first(2, fault, where)
    store = ZarrChunkReader(location(proxy, stall_seconds=1.0))
    assert same(read(store, COUNTS), read(ZarrChunkReader(store_root), COUNTS))
    assert sum(where in passed.target for passed in proxy.passed) > 2 or where == "/c/0"


OUTAGES = [
    (Fault("reset"), "the connection breaks off"),
    (Fault("truncate"), "the connection breaks off"),
    (status(403, "AccessDenied"), r"answers 403 Forbidden \(AccessDenied\)"),
    (status(500, "InternalError"), r"answers 500 Internal Server Error \(InternalError\)"),
    (status(503, "SlowDown"), r"answers 503 Service Unavailable \(SlowDown\)"),
    (status(404, "NoSuchBucket"), r"answers 404 Not Found \(NoSuchBucket\)"),
]


@pytest.mark.parametrize(
    ("fault", "reason", "where"),
    [
        *((fault, reason, where) for fault, reason in OUTAGES for where in ("zarr.json", "pressure/c/0")),
        (Fault("blackhole"), "does not answer", "zarr.json"),
        (Fault("drip"), "does not answer", "pressure/c/0"),
    ],
)
def test_an_outage_while_a_sample_is_read_is_no_damage(
    proxy: BucketProxy, fault: Fault, reason: str, where: str
) -> None:
    store = ZarrChunkReader(location(proxy, retries=1, **SOON))
    proxy.fault = lambda passed: fault if where in passed.target else None
    with pytest.raises(StoreUnreadable, match=reason):
        read(store, COUNTS)
    proxy.fault = lambda _: None
    assert read(store, COUNTS)


@pytest.mark.parametrize(
    "fault", [Fault("blackhole"), Fault("reset"), status(403, "AccessDenied"), status(404, "NoSuchBucket")]
)
def test_an_outage_while_the_manifest_is_read_is_no_missing_store(proxy: BucketProxy, fault: Fault) -> None:
    proxy.fault = lambda _: fault
    with pytest.raises(StoreUnreadable, match=r"made/manifest\.json cannot be read"):
        StoreManifest.load(location(proxy, retries=1, **SOON))
    proxy.fault = lambda _: status(404, "NoSuchKey")
    with pytest.raises(StoreNotFound):
        StoreManifest.load(location(proxy))


def test_an_object_that_is_gone_is_missing(proxy: BucketProxy) -> None:
    def lose(where: str) -> None:
        proxy.fault = lambda passed: status(404, "NoSuchKey") if where in passed.target else None

    store = ZarrChunkReader(location(proxy))
    for _ in range(2):  # the second time with the index known
        lose("volume/velocity/c")
        with pytest.raises(ChunkMissing, match="of volume_velocity in sample 'param0/run' is missing"):
            read(store, COUNTS)
        proxy.fault = lambda _: None
        read(store, COUNTS)
    lose("zarr.json")
    with pytest.raises(MetadataDamaged, match=r"zarr\.json is missing"):
        read(ZarrChunkReader(location(proxy)), COUNTS)


def test_what_the_storage_says_and_secrets_are_not_quoted(proxy: BucketProxy, store_root: Path) -> None:
    store = ZarrChunkReader(location(proxy))
    again = pickle.loads(pickle.dumps(store))
    assert same(read(again, COUNTS), read(ZarrChunkReader(store_root), COUNTS))
    assert f"'{SECRET_KEY}'" not in f"{again.storage!r} {again.storage} {again.storage.access!r} {again.store_root}"
    assert SECRET_KEY in pickle.dumps(location(proxy)).decode("latin-1")  # the workers of a service need it
    said = "<AWSAccessKeyId>AKIAQUOTED</AWSAccessKeyId><SignatureProvided>5ca1ab1e</SignatureProvided>"
    proxy.fault = lambda _: status(403, "SignatureDoesNotMatch", said)
    actions: list[Callable[[], object]] = [
        lambda: StoreManifest.load(location(proxy)),
        lambda: store.read_sample("param1/run"),
    ]
    for action in actions:
        with pytest.raises(DrawpointError) as caught:
            action()
        shown = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
        for secret in ("AKIAQUOTED", "5ca1ab1e", "Signature=", "127.0.0.1", SECRET_KEY):
            assert secret not in shown.replace("SignatureDoesNotMatch", "")


def _read_in_child(store: ZarrChunkReader, answers: Any) -> None:
    try:
        read(store, COUNTS)
    except StoreUnreadable as error:
        answers.put(str(error))


@pytest.mark.parametrize("opened", ["before", "after"])
def test_a_process_that_was_forked_after_a_read_says_so_instead_of_waiting(proxy: BucketProxy, opened: str) -> None:
    store = ZarrChunkReader(location(proxy))
    read(store, COUNTS)
    if opened == "after":
        store = pickle.loads(pickle.dumps(store))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_read_in_child, args=(store, answers))
    child.start()
    child.join(30)
    child.kill()
    assert child.exitcode == 0
    assert "was forked after a bucket had been read" in answers.get()


def test_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, reason in (
        ("AWS_SECRET_ACCESS_KEY", "another's", r"403 Forbidden \(SignatureDoesNotMatch\); check the credentials"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "cannot be reached; check the endpoint"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(StoreUnreadable, match=reason) as caught:
            StoreManifest.load(open_storage("s3://cars/made", BucketAccess(retries=0)))
        assert value not in str(caught.value)


def test_keys_that_are_named_are_used_without_those_of_the_environment(
    proxy: BucketProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "another's")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert StoreManifest.load(location(proxy)).dataset_name == "made"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(InvalidSettings, match="AWS_ENDPOINT_URL_S3 would win"):
        ZarrChunkReader(location(proxy))
