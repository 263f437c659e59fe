"""Copies of the store, stores in a bucket of a real S3 server, and a proxy that makes faults of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import BucketProxy
from s3 import Bucket, upload


@pytest.fixture(scope="module")
def made_root(bucket: Bucket, store_root: Path) -> str:
    """The store of the fixtures in the bucket; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        return upload(store_root, f"s3://{bucket.name}/made")


@pytest.fixture
def bucket_root(bucket: Bucket, bucket_environment: None, store_root: Path, tmp_path: Path) -> str:
    """A copy of the store of the fixtures in the bucket, for the test to change."""
    return upload(store_root, f"s3://{bucket.name}/{tmp_path.name}")


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[BucketProxy]:
    with BucketProxy(int(bucket.endpoint.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def copied_root(store_root: Path, tmp_path: Path) -> Path:
    """A copy of the store of the fixtures, for the test to change."""
    return Path(shutil.copytree(store_root, tmp_path / "store"))
