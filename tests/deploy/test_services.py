"""The services of the compose stack, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from api.routes.plant import router
from tests.deploy.stack import (
    DOCKERFILE,
    OURS,
    PROGRAMS,
    ROOT,
    SECRETS,
    SERVICES,
    STACK,
    STATE,
    TEXT,
    dockerfile,
    each,
    mounts,
    parsed,
    penstock_commands,
)


def test_the_stack_is_complete() -> None:
    """The parts of the product, the store, Redis, and a plant to try them on."""
    assert set(SERVICES) == {"simulator", "bridge", "features", "api", "influxdb", "redis"}


@each(list(SERVICES))
def test_a_service_can_do_little_harm(name: str) -> None:
    """A numbered user that is not root, a read-only file system, no capability, and no way to get one."""
    service = SERVICES[name]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 (the container's own)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode"}


@each(list(SERVICES))
def test_a_service_is_an_image_with_a_version_that_is_watched(name: str) -> None:
    """An image with a version, a health check, at least one network, and a new start when it ends."""
    service = SERVICES[name]

    assert re.fullmatch(r"[a-z]+:\d\S*", service["image"])
    assert {"test", "interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert service["networks"]
    assert service["restart"] == "unless-stopped"


@each(list(SERVICES))
def test_a_health_check_uses_programs_of_its_image(name: str) -> None:
    """The slim images lack curl and more; the programs used are there."""
    kind, *command = SERVICES[name]["healthcheck"]["test"]
    image = SERVICES[name]["image"].partition(":")[0]
    parts = command[0].split("|") if kind == "CMD-SHELL" else [shlex.join(command)]

    assert kind in ("CMD", "CMD-SHELL")
    assert {shlex.split(part)[0] for part in parts} <= PROGRAMS[image]
    if command[0] == "python":
        compile(command[2], name, "exec")


def test_the_health_check_of_the_api_uses_a_route_it_has() -> None:
    """It requests an existing route on the API's own port."""
    check = SERVICES["api"]["healthcheck"]["test"][-1]
    url = re.search(r"http://127\.0\.0\.1:8000(/\w+)", check)

    assert url
    assert url[1] in {getattr(route, "path", "") for route in router.routes}
    [served] = [parsed(command) for command in penstock_commands("api")]
    assert served["port"] == 8000
    assert not served["host"].startswith(("127.", "localhost")), "nothing outside the container could reach it"


@pytest.mark.parametrize(
    ("name", "place", "file", "limit_s"),
    [("bridge", STATE, "edge.db-wal", 120), ("features", "/tmp", "round", 600)],  # noqa: S108 (the container's own)
)
def test_a_service_that_has_stopped_working_is_unhealthy(
    name: str, place: str, file: str, limit_s: int, tmp_path: Path
) -> None:
    """Unhealthy without its file, healthy with a new one, unhealthy again with an old one."""
    check = SERVICES[name]["healthcheck"]["test"][1].replace(place, str(tmp_path))

    def healthy() -> bool:
        return subprocess.run(["sh", "-c", check], timeout=10, check=False).returncode == 0

    at_first = healthy()
    (tmp_path / file).touch()
    working = healthy()
    old = time.time() - limit_s - 120
    os.utime(tmp_path / file, (old, old))

    assert (at_first, working, healthy()) == (False, True, False)


def test_networks_keep_plant_and_data_apart() -> None:
    """Only the bridge shares a network with the simulator; only the API can be reached from outside."""
    members = {
        network: {name for name, service in SERVICES.items() if network in service["networks"]}
        for network in STACK["networks"]
    }

    assert members == {
        "plant": {"simulator", "bridge"},
        "data": {"bridge", "features", "api", "influxdb", "redis"},
        "front": {"api"},
    }
    assert {name for name, network in STACK["networks"].items() if network == {"internal": True}} == {"plant", "data"}
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "api": ["127.0.0.1:8000:8000"]
    }


def test_volumes_are_named_and_the_plant_is_read_only() -> None:
    """Each volume is declared and used; nothing of the host is mounted but the plant, read-only."""
    used = [mount for name in SERVICES for mount in mounts(name).values()]

    assert {source for source, *_ in used if not source.startswith(".")} == set(STACK["volumes"])
    assert [mount for mount in used if mount[0].startswith(".")] == [["./deploy/plant", "ro"]] * 3


def test_the_bridge_shares_its_state_with_nobody() -> None:
    """Features write what the API reads; only the bridge uses the bridge's database."""
    assert {name: mounts(name)[STATE] for name in SERVICES if STATE in mounts(name)} == {
        "bridge": ["bridge-state"],
        "features": ["features-state"],
        "api": ["features-state", "ro"],
    }


def test_no_secret_has_a_default() -> None:
    """Every variable is refused while it is empty, and .env.example names just these, without values."""
    variables = re.findall(r"\$\{([^}]*)\}", TEXT.replace("$$", ""))
    required = [re.fullmatch(r"([A-Z_]+):\?.+", variable) for variable in variables]

    assert all(required), variables
    assert {match[1] for match in required if match} == set(SECRETS)
    assert set(SECRETS.values()) == {""}


@each(list(SERVICES))
def test_a_secret_comes_from_the_environment_only(name: str) -> None:
    """Each token and password is a variable, and no other part of a service contains one."""
    service = dict(SERVICES[name])
    environment = service.pop("environment", {})
    secret = {key: value for key, value in environment.items() if re.search("TOKEN|PASSWORD|AUTH", key)}

    assert all(re.fullmatch(r"\$\{[^}]+\}", value) for value in secret.values())
    assert "${" not in json.dumps(service)


def test_the_image_is_ours_alone_and_not_root() -> None:
    """Python 3.11, pinned versions, our packages, and a user that owns the state directory."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {name for line in dockerfile("COPY") for name in line.split()[:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert dockerfile("FROM") == ["python:3.11-slim"]
    assert copied == let_in == packages | {"LICENSE", "README.md", "constraints.txt", "pyproject.toml"}
    assert any("--constraint constraints.txt" in line for line in dockerfile("RUN"))
    assert any(STATE in line.split() and "--owner penstock" in line for line in dockerfile("RUN"))
    assert [dockerfile("USER")] * len(OURS) == [[SERVICES[name]["user"]] for name in OURS]
    assert DOCKERFILE[-1][0] == "CMD"
    assert {SERVICES[name]["image"] for name in OURS} == {f"penstock:{project['project']['version']}"}
