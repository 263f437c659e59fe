"""What is said of routes beside them, by their paths, holds of each of them."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import iter_route_contexts

from drawpoint_service.admission.admission import READS
from drawpoint_service.app import create_app
from drawpoint_service.middleware.access import OPEN_PATHS
from drawpoint_service.settings import Settings

FROM_MEMORY = {"/stores", "/stores/{store_id}", "/stores/{store_id}/manifest", "/stores/{store_id}/samples"}


@pytest.fixture(scope="module")
def paths() -> set[str]:
    found = {context.path for context in iter_route_contexts(create_app({}, Settings()).routes)}
    return {path.replace(":path}", "}") for path in found if path is not None}


def test_a_route_below_stores_reads_from_the_storage_or_is_known_not_to(paths: set[str]) -> None:
    reading = {path for path in paths if READS.match(re.sub(r"\{\w+\}", "x", path))}
    assert paths - reading - OPEN_PATHS == FROM_MEMORY, "a route that reads from the storage belongs into READS"


def test_the_routes_beside_stores_are_those_without_a_token(paths: set[str]) -> None:
    assert {path for path in paths if not path.startswith("/stores")} == OPEN_PATHS
