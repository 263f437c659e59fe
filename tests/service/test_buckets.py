"""A service whose stores lie in a bucket, and stores that are rewritten while they are served."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from conftest import FILEMAP, sample_arrays
from drawpoint.errors import InvalidSettings
from drawpoint_service.app import open_stores
from drawpoint_service.settings import Settings, load_settings
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.storage import bucket_storage, open_storage
from drawpoint_store.storage.bucket_access import open_client
from live import LiveService
from proxy import BucketProxy, Fault, Passed, status
from s3 import ACCESS_KEY, SECRET_KEY, Bucket
from waiting import wait_until

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION")
DRAW = "/stores/cars/samples/run?surface=300&volume=700&seed=1"


@pytest.fixture
def proxy(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketProxy]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with BucketProxy(int(bucket.endpoint.rpartition(":")[2])) as running:
        yield running


def write(root: str | Path, seed: int) -> str:
    """Write the store's next revision and return it, as `drawpoint convert --overwrite` does."""
    writer = ZarrStoreWriter(str(root), FILEMAP, "cars", chunk_points=256)
    writer.write_sample("run", sample_arrays(seed))
    writer.save_manifest()
    return writer.manifest.revision


@pytest.fixture(scope="module")
def written(bucket: Bucket) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        write("s3://cars/made", 0)
    return "s3://cars/made"


def settings_of(proxy: BucketProxy, root: str, **more: Any) -> dict[str, Any]:
    return {
        "root": root,
        "endpoint": proxy.url,
        "region": "us-east-1",
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        **more,
    }


def serving(store: dict[str, Any], **settings: Any) -> LiveService:
    made = Settings.model_validate({"stores": {"cars": store}})
    return LiveService(open_stores(made), **settings)


def test_a_bucket_named_in_the_configuration_can_be_one_of_several_with_keys_of_their_own(
    proxy: BucketProxy, written: str
) -> None:
    wrong = settings_of(proxy, written, secret_access_key="another")
    stores = Settings.model_validate({"stores": {"cars": settings_of(proxy, written), "others": wrong}}).stores
    assert ZarrChunkReader(stores["cars"].open_storage()).manifest.dataset_name == "cars"
    with pytest.raises(OSError, match=r"answers 403 Forbidden \(SignatureDoesNotMatch\)"):
        ZarrChunkReader(stores["others"].open_storage())


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"secret_access_key": None}, "go together"),
        ({"endpoint": "https://user:hunter2@host"}, "without credentials"),
        ({"root": "gs://cars/made"}, "is for roots that begin with s3://"),
        ({"root": "stores/made"}, "is for roots that begin with"),
    ],
)
def test_an_invalid_bucket_in_the_configuration_is_refused(
    proxy: BucketProxy, tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    values = {name: value for name, value in {**settings_of(proxy, "s3://a/b"), **more}.items() if value}
    config = tmp_path / "drawpoint.toml"
    config.write_text("[stores.cars]\n" + "".join(f'{name} = "{value}"\n' for name, value in values.items()))
    with pytest.raises(InvalidSettings, match=reason) as caught:
        load_settings(config, {}, {})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError):
        Settings.model_validate({"stores": {"cars": values}})


def test_keys_and_endpoints_are_shown_nowhere(
    proxy: BucketProxy, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = settings_of(proxy, written, retries=0)
    said = "<AWSAccessKeyId>AKIAQUOTED</AWSAccessKeyId><SignatureProvided>5ca1ab1e</SignatureProvided>"
    shown = [repr(Settings.model_validate({"stores": {"cars": secret}}))]
    with serving(secret, revalidate_seconds=0.05, ready_cache_seconds=0) as service:
        for fault in (None, status(403, "SignatureDoesNotMatch", said), status(500, "InternalError", said)):
            proxy.fault = partial(_always, fault)
            looks = len(proxy.passed)
            for path in (
                "/stores",
                "/stores/cars",
                DRAW,
                DRAW.replace("seed=1", "seed=2&fields=volume_sdf"),
                "/readyz",
            ):
                answer = httpx.get(f"{service.url}{path}")
                shown += [answer.text, str(answer.headers)]
            for path in ("/stores/cars/statistics", "/stores/cars/splits", "/stores/cars/samples/none"):
                shown.append(httpx.get(f"{service.url}{path}").text)
            wait_until(lambda: len(proxy.passed) > looks + 6)  # noqa: B023  called here and now
    # The reason is for those who run the service; clients are told that the store cannot be read.
    assert "answers 403 Forbidden (SignatureDoesNotMatch)" in caplog.text
    assert "SignatureDoesNotMatch" not in "".join(shown)
    assert "cannot be read; the service's log says why" in "".join(shown)
    assert "stays at revision" in caplog.text
    everything = "\n".join([*shown[1:], caplog.text])
    port = proxy.url.rpartition(":")[2]
    for secret_text in (
        f"'{SECRET_KEY}'",
        f'"{SECRET_KEY}"',
        "AKIAQUOTED",
        "5ca1ab1e",
        "Signature=",
        "X-Amz",
        port,
    ):
        assert secret_text not in everything
    assert f"'{SECRET_KEY}'" not in shown[0]


def _always(fault: Fault | None, _: Passed) -> Fault | None:
    return fault


def test_requests_that_wait_for_the_bucket_take_no_threads(proxy: BucketProxy, written: str) -> None:
    with serving(settings_of(proxy, written), read_threads=1, max_requests=64) as service:
        assert httpx.get(f"{service.url}{DRAW}").status_code == 200  # metadata and indexes are known from here on
        proxy.latency = 0.5
        proxy.passed.clear()
        paths = [DRAW.replace("seed=1", f"seed={seed}&fields=surface_area&domains=surface") for seed in range(12)]
        with ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda path: httpx.get(f"{service.url}{path}", timeout=60), paths))
        assert {answer.status_code for answer in answers} == {200}
        # One thread that waited would make 12 round trips of them, each after the one before.
        assert proxy.round_trips() <= 4


@pytest.fixture(params=["disk", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "disk" else f"s3://cars/{tmp_path.name}"


@pytest.mark.usefixtures("bucket_environment")
def test_a_rewritten_store_is_served_at_its_new_revision_and_never_mixed(root: str) -> None:
    revisions = [write(root, 0)]
    expected: dict[str, str] = {}
    seen: Counter[tuple[str, str]] = Counter()
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def note(revision: str) -> None:
        with LiveService({"cars": root}) as fresh:  # what a service that has just been started answers
            expected[revision] = digest(httpx.get(f"{fresh.url}{DRAW}"))

    def hammer(url: str) -> None:
        with httpx.Client(base_url=url) as client:
            while not done.is_set():
                answer = client.get(DRAW)
                statuses[answer.status_code] += 1
                seen[answer.headers["X-Drawpoint-Revision"], digest(answer)] += 1
                pinned = client.get(DRAW, params={**dict(httpx.URL(DRAW).params), "revision": revisions[0]})
                statuses[pinned.status_code] += 1
                if pinned.status_code == 200:
                    seen[revisions[0], digest(pinned)] += 1

    note(revisions[0])
    with LiveService({"cars": root}, revalidate_seconds=0.1) as service, ThreadPoolExecutor(3) as clients:
        for _ in range(3):
            clients.submit(hammer, service.url)
        try:
            wait_until(lambda: sum(seen.values()) > 20)
            for seed in (1, 2):
                revisions.append(write(root, seed))
                wait_until(lambda: revision_of(service.url) == revisions[-1])
                answered = sum(seen.values())
                wait_until(lambda: sum(seen.values()) > answered + 20)  # noqa: B023  called here and now
        finally:
            done.set()
        assert httpx.get(f"{service.url}/stores").json()[0]["revision"] == revisions[-1]
        manifest = httpx.get(f"{service.url}/stores/cars/manifest").content
        assert hashlib.sha256(manifest).hexdigest() == revisions[-1]
        assert httpx.get(f"{service.url}{DRAW}&revision={revisions[0]}").status_code == 409
    for revision in revisions[1:]:
        assert {answer for at, answer in seen if at == revision}
    note(revisions[2])
    assert len(set(expected.values())) == 2
    assert {revision for revision, _ in seen} == set(revisions)
    assert len({answer for _, answer in seen}) == len(seen) == 3  # one answer a revision, and each its own
    assert all(seen[revision, expected[revision]] for revision in expected)
    assert set(statuses) == {200, 409}


@pytest.mark.usefixtures("bucket_environment")
def test_a_rewritten_store_is_looked_for_when_a_request_pins_a_revision_that_is_not_known(root: str) -> None:
    write(root, 0)
    with LiveService({"cars": root}, revalidate_seconds=0) as service:
        new = write(root, 1)
        assert revision_of(service.url) != new
        answer = httpx.get(f"{service.url}{DRAW}&revision={new}")
        assert (answer.status_code, answer.headers["X-Drawpoint-Revision"]) == (200, new)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_store_whose_manifest_is_harmed_is_served_as_it_was(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "store"
    revision = write(root, 0)
    manifest = root / "manifest.json"
    kept = Path(shutil.copy(manifest, tmp_path))
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(b"{}")
    with LiveService({"cars": root}, revalidate_seconds=0.02) as service:
        # Each change is one rename: half a copy would be damage of another kind, and be told of, too.
        manifest.unlink() if harm == "gone" else damaged.replace(manifest)
        wait_until(lambda: "stays at revision" in caplog.text)
        assert httpx.get(f"{service.url}{DRAW}").headers["X-Drawpoint-Revision"] == revision
        kept.replace(manifest)
        wait_until(lambda: "can be read again" in caplog.text)
        new = write(root, 1)
        wait_until(lambda: revision_of(service.url) == new)
    assert caplog.text.count("stays at revision") == 2


def revision_of(url: str) -> str:
    return str(httpx.get(f"{url}/stores/cars").json()["revision"])


def digest(answer: httpx.Response) -> str:
    """Return what tells an answer's tensors apart; the revision is in its metadata, so the body would by itself."""
    length = int.from_bytes(answer.content[:8], "little")
    return hashlib.sha256(answer.content[8 + length :]).hexdigest()


def test_all_requests_to_a_bucket_share_one_client(
    bucket: Bucket, bucket_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("s3://cars/shared", 1)
    for name in ("train", "val", "test", "a", "b"):
        open_storage("s3://cars/shared").write(f"splits/{name}.txt", b"run\n")
    opened = []

    def count(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return open_client(*arguments, **options)

    monkeypatch.setattr(bucket_storage, "open_client", count)
    settings = Settings.model_validate({"stores": {"cars": {"root": "s3://cars/shared"}}})
    with LiveService(open_stores(settings)) as service:
        for path in ("/splits", "/splits/train", "/samples/run?surface=5&volume=5", "/splits"):
            assert httpx.get(f"{service.url}/stores/cars{path}").status_code == 200
    assert len(opened) == 1
