"""What the service shows of its stores is what they hold, byte for byte where that matters."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from drawpoint.errors import InvalidManifest, RevisionChanged
from drawpoint.format.manifest import ArrayLayout, DomainLayout, DomainSample, SampleEntry
from drawpoint_service.app import create_app
from drawpoint_service.requests.responses import accepts_gzip, matches
from drawpoint_service.settings import Settings
from drawpoint_store import StoreManifest, ZarrChunkReader
from drawpoint_store.statistics.moments_table import MomentsTable, write_moments
from live import LiveService


@pytest.fixture(scope="module")
def service(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root, "same": store_root}) as running:
        yield running


@pytest.fixture(scope="module")
def manifest(store_root: Path) -> StoreManifest:
    return StoreManifest.load(store_root)


@pytest.fixture
def own_root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def test_stores_tell_domains_fields_counts_and_dtypes(http: httpx.Client, manifest: StoreManifest) -> None:
    listed = http.get("/stores").json()
    assert [store["id"] for store in listed] == ["made", "same"]
    answer = http.get("/stores/made")
    assert answer.headers["X-Drawpoint-Revision"] == manifest.revision
    store = answer.json()
    assert listed[0] == store
    assert {key: store[key] for key in ("id", "dataset_name", "revision", "n_samples")} == {
        "id": "made",
        "dataset_name": "made",
        "revision": manifest.revision,
        "n_samples": 2,
    }
    assert store["domains"]["volume"] == {
        "position": "volume_position",
        "fields": ["volume_position", "volume_pressure", "volume_velocity", "volume_vorticity", "volume_sdf"],
        "n_samples": 2,
        "n_points_min": 10_000,
        "n_points_max": 10_000,
        "n_points_total": 20_000,
    }
    assert store["fields"].keys() == manifest.fields.keys()
    assert store["fields"]["surface_position"] == {"domain": "surface", "dim": 3, "dtype": "float32"}
    assert store["fields"]["volume_sdf"] == {"domain": "volume", "dim": 1, "dtype": "float16"}


def test_stores_link_to_what_is_there(http: httpx.Client) -> None:
    links = http.get("/stores/made").json()["links"]
    for name in ("self", "manifest", "samples"):
        assert http.get(links[name]).status_code == 200
    for name in ("sample", "coords"):
        assert http.get(links[name].replace("{sample}", "param1/run"), params={"surface": 1}).status_code == 200
    for name in ("statistics", "splits"):  # which this store ships none of
        assert http.get(links[name]).json()["type"] != "urn:drawpoint:not-found"


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_manifest_is_sent_as_it_is_stored(own_root: Path, encoding: str) -> None:
    # As another writer may have laid it out.
    stored = json.dumps(json.loads((own_root / "manifest.json").read_bytes())).encode()
    (own_root / "manifest.json").write_bytes(stored)
    with LiveService({"made": own_root}) as service:
        answer = httpx.get(f"{service.url}/stores/made/manifest", headers={"Accept-Encoding": encoding})
    assert answer.content == stored
    assert answer.headers["content-type"] == "application/json"
    assert hashlib.sha256(answer.content).hexdigest() == answer.headers["X-Drawpoint-Revision"]
    assert answer.headers.get("Content-Encoding", "identity") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_the_manifest_is_not_sent_again(http: httpx.Client) -> None:
    etags = set()
    for encoding in ("identity", "gzip"):
        etag = http.get("/stores/made/manifest", headers={"Accept-Encoding": encoding}).headers["ETag"]
        etags.add(etag)
        for again in ("identity", "gzip"):
            answer = http.get("/stores/made/manifest", headers={"Accept-Encoding": again, "If-None-Match": etag})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(etags) == 2
    assert http.get("/stores/made/manifest", headers={"If-None-Match": '"x"'}).status_code == 200


def test_the_manifest_that_changed_while_it_was_opened_is_not_served(own_root: Path) -> None:
    stored = (own_root / "manifest.json").read_bytes()
    # Not laid out as this version would: only the file itself has the bytes that the revision is the hash of.
    (own_root / "manifest.json").write_bytes(json.dumps(json.loads(stored)).encode())
    opened = ZarrChunkReader(own_root)
    (own_root / "manifest.json").write_bytes(stored)
    with pytest.raises(RevisionChanged, match="rewritten while it was opened"):
        create_app({"made": opened}, Settings())


def test_the_manifest_with_a_domain_that_is_a_parameter_is_not_served(tmp_path: Path) -> None:
    array = ArrayLayout(array_name="seed/position", field="seed_position", dtype="float32", dim=3)
    domain = DomainLayout(position="seed_position", arrays={"seed_position": array})
    StoreManifest(dataset_name="odd", shuffle_seed=0, domains={"seed": domain}).save(tmp_path)
    with pytest.raises(InvalidManifest, match="domain named 'seed'"):
        create_app({"odd": ZarrChunkReader(tmp_path)}, Settings())


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, manifest: StoreManifest) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("many")
    grid = DomainSample(n_points=10, chunk_points=4, shard_points=12, n_chunks=3)
    samples = {
        f"run_{number * 7919 % 250:03}/é": SampleEntry(relpath=f"{number}.zarr", domains={"surface": grid})
        for number in range(250)
    }
    made = StoreManifest(dataset_name="many", shuffle_seed=0, domains=manifest.domains)
    made.samples.update(samples)
    made.save(root)
    with LiveService({"many": root}) as service, httpx.Client(base_url=service.url) as client:
        yield client


@pytest.mark.parametrize("limit", [7, 125, 1000, None])
def test_pages_of_samples_are_all_samples_once_in_order(many: httpx.Client, limit: int | None) -> None:
    ids: list[str] = []
    pages = 0
    parameters: dict[str, str | int] = {} if limit is None else {"limit": limit}
    while True:
        page = many.get("/stores/many/samples", params=parameters).json()
        ids += [sample["id"] for sample in page["samples"]]
        pages += 1
        if page["next"] is None:
            break
        parameters["after"] = page["next"]
    assert ids == sorted(f"run_{number:03}/é" for number in range(250))
    assert pages == -(-250 // (limit or 100))


def test_a_page_of_samples_holds_their_grids_and_begins_behind_any_id(many: httpx.Client) -> None:
    page = many.get("/stores/many/samples", params={"limit": 1, "after": "run_100"}).json()
    grid = {"n_points": 10, "chunk_points": 4, "shard_points": 12, "n_chunks": 3}
    assert page["samples"] == [{"id": "run_100/é", "domains": {"surface": grid}, "scalars": {}}]
    assert many.get("/stores/many/samples?after=z").json() == {"samples": [], "next": None}


def test_statistics_are_sent_while_they_are_of_the_present_revision(own_root: Path, manifest: StoreManifest) -> None:
    document = {"revision": manifest.revision, "fields": {"surface_area": {"mean": [0.5]}}}
    with LiveService({"made": own_root}) as service:
        (own_root / "statistics.json").write_text(json.dumps(document))
        assert httpx.get(f"{service.url}/stores/made/statistics").json() == document
        write_moments(own_root, MomentsTable.of(manifest))
        assert httpx.get(f"{service.url}/stores/made/statistics/samples.npz").status_code == 404
        (own_root / "statistics.json").write_text(json.dumps({**document, "revision": "older"}))
        stale = httpx.get(f"{service.url}/stores/made/statistics")
    assert stale.status_code == 404
    assert "are stale: they are of revision older" in stale.json()["detail"]
    assert "`drawpoint stats` renews them" in stale.json()["detail"]


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 100_000 + "]" * 100_000])
def test_statistics_that_are_no_json_to_others_are_damaged(own_root: Path, manifest: StoreManifest, value: str) -> None:
    document = f'{{"revision": "{manifest.revision}", "fields": {{"surface_area": {{"mean": [{value}]}}}}}}'
    (own_root / "statistics.json").write_text(document)
    with LiveService({"made": own_root}) as service:
        answer = httpx.get(f"{service.url}/stores/made/statistics")
    assert (answer.status_code, answer.json()["type"]) == (502, "urn:drawpoint:metadata-damaged")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, store_root: Path) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("split") / "store"
    shutil.copytree(store_root, root)
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("param1/run\nparam0/run\n")
    (root / "splits/äußere 1.txt").write_text("param0/run\n")
    with LiveService({"made": root}) as service, httpx.Client(base_url=service.url) as client:
        yield client


def test_splits_are_listed_and_keep_their_order(split: httpx.Client) -> None:
    answer = split.get("/stores/made/splits/train").json()
    assert answer == {"name": "train", "samples": ["param1/run", "param0/run"]}
    assert split.get("/stores/made/splits/äußere 1").json()["samples"] == ["param0/run"]
    assert split.get("/stores/made/splits").json() == {
        "splits": [{"name": "train", "n_samples": 2}, {"name": "äußere 1", "n_samples": 1}]
    }


@pytest.mark.parametrize("name", ["trian", "..%2Ftrain", "%2Fetc%2Fpasswd", "train.txt", "%00", "x" * 10_000])
def test_splits_are_looked_up_and_never_followed(split: httpx.Client, name: str) -> None:
    answer = split.get(f"/stores/made/splits/{name}")
    assert answer.status_code == 404
    if name == "trian":
        assert answer.json()["near"] == ["train"]


def test_splits_that_are_damaged_or_lead_elsewhere_are_listed_without_a_size(own_root: Path) -> None:
    (own_root / "splits").mkdir()
    (own_root / "splits/good.txt").write_text("param0/run\n")
    (own_root / "splits/latin.txt").write_bytes(b"\xff")
    (own_root / "splits/passwd.txt").symlink_to("/etc/passwd")
    with LiveService({"made": own_root}) as service:
        listed = httpx.get(f"{service.url}/stores/made/splits").json()["splits"]
        answers = {split["name"]: httpx.get(f"{service.url}/stores/made/splits/{split['name']}") for split in listed}
    assert {split["name"]: split["n_samples"] for split in listed} == {"good": 1, "latin": None, "passwd": None}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "good": 200,
        "latin": 502,
        "passwd": 502,
    }
    assert not any("root:" in answer.text or str(own_root) in answer.text for answer in answers.values())


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        (None, False),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*", True),
        ("identity", False),
    ],
)
def test_accept_encoding_is_obeyed(field: str | None, accepted: bool) -> None:
    assert accepts_gzip(field) is accepted


@pytest.mark.parametrize(
    ("field", "matched"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False), ("*", True), ("a", False)],
)
def test_if_none_match_is_compared_weakly(field: str | None, matched: bool) -> None:
    assert matches(field, ['"a"']) is matched
