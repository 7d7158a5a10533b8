"""The compose stack, as far as it can be checked without a Docker engine: its structure, its commands, its plant."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from socket import create_connection
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # comes with Feast, without types

from api.routes.plant import router
from features.feast.online.served import served_path
from historian.cli.main import load_command
from historian.plant.load import load_plant

ROOT: Final = Path(__file__).parents[2]
PLANT: Final = ROOT / "deploy" / "plant"
TEXT: Final = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
STACK: Final[dict[str, Any]] = yaml.safe_load(TEXT)
SERVICES: Final[dict[str, dict[str, Any]]] = STACK["services"]
OURS: Final = [name for name, service in SERVICES.items() if "build" in service]
STATE: Final = "/var/lib/penstock"
DOCKERFILE: Final = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n", "", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")).splitlines()
    if line and not line.startswith("#")
]
SECRETS: Final = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
PROGRAMS: Final = {
    "penstock": {"python", "find", "grep"},
    "influxdb": {"influx"},
    "redis": {"redis-cli", "grep"},
}
"""By image, the programs in it that a health check may use."""


def each(names: list[str]) -> pytest.MarkDecorator:
    """Runs a test once a service."""
    return pytest.mark.parametrize("name", names)


def words(command: str | list[str]) -> list[str]:
    """A command as Docker splits it."""
    return shlex.split(command) if isinstance(command, str) else command


def penstock_commands(name: str) -> Iterator[list[str]]:
    """Every `penstock …` a service runs, in a shell or not, without what the shell does when it fails."""
    command = words(SERVICES[name]["command"])
    script = command[-1] if command[0] == "sh" else shlex.join(command)
    lines = [line.partition("||")[0].strip() for line in script.splitlines()]
    yield from (shlex.split(line)[1:] for line in lines if line.startswith("penstock "))


def parsed(command: list[str]) -> dict[str, Any]:
    """The parameters of a command of ours; fails for one that it would refuse."""
    name, *options = command
    params: dict[str, Any] = load_command(name).make_context(name, options).params
    return params


def dockerfile(instruction: str) -> list[str]:
    """The arguments of each instruction of this name."""
    return [rest for word, rest in DOCKERFILE if word == instruction]


def mounts(name: str) -> dict[str, list[str]]:
    """A service's mounts, from target to [source, *mode]."""
    parts = [mount.split(":") for mount in SERVICES[name].get("volumes", [])]
    return {target: [source, *mode] for source, target, *mode in parts}


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


def test_the_api_can_log_what_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has a volume of its own, which features read for `penstock consistency`; the image's user owns it."""
    monkeypatch.setenv("INFLUX_TOKEN", "secret")
    plant = load_plant(PLANT)
    place = str(served_path(plant))

    assert plant.served_for
    assert {name: mounts(name)[place] for name in SERVICES if place in mounts(name)} == {
        "features": ["served-log", "ro"],
        "api": ["served-log"],
    }
    assert any(place in line.split() and "--owner penstock" in line for line in dockerfile("RUN"))


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


@each(OURS)
def test_every_penstock_command_is_valid(name: str) -> None:
    """Every command exists, with options it has and values it accepts."""
    assert [parsed(command) for command in penstock_commands(name)]


def test_features_start_again_when_a_command_fails(tmp_path: Path) -> None:
    """The loop ends with the failed command's exit code, so that the failure shows and Docker starts it again."""
    calls = tmp_path / "calls"
    (tmp_path / "penstock").write_text(f'#!/bin/sh\necho $1 >> {calls}\n[ "$1" != materialize ] || exit 2\n')
    (tmp_path / "penstock").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    ended = subprocess.run(SERVICES["features"]["command"], env=environment, timeout=20, check=False)

    assert ended.returncode == 2
    assert calls.read_text().split() == ["apply", "compute", "materialize"]


@pytest.mark.parametrize("wrong", [True, False])
def test_features_are_verified_and_the_rounds_go_on(tmp_path: Path, *, wrong: bool) -> None:
    """Verification runs in the first round, then at most hourly; differences go to standard error and stop nothing."""
    calls = tmp_path / "calls"
    programs = {
        "penstock": f'echo $1 >> {calls}\n[ "$1" != verify-features ] || exit {int(wrong)}',
        "sleep": f"[ $(grep -c compute {calls}) -lt 3 ]",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [word.replace("/tmp", str(tmp_path)) for word in SERVICES["features"]["command"]]  # noqa: S108 (as above)

    ended = subprocess.run(command, env=environment, timeout=20, check=False, stderr=subprocess.PIPE, text=True)

    a_round = ["compute", "materialize"]
    assert calls.read_text().split() == ["apply", *a_round, "verify-features", *a_round, *a_round]
    assert ended.stderr.startswith("WARNING: penstock verify-features") is wrong
    assert (tmp_path / "round").exists()


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


def test_the_plant_of_the_stack_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where the image looks for it, with its state in the volume and its samples in the stack's own InfluxDB."""
    monkeypatch.setenv("INFLUX_TOKEN", "secret")
    init = SERVICES["influxdb"]["environment"]

    plant = load_plant(PLANT)
    url = urlsplit(plant.store_url)

    assert all(mounts(name)["/etc/penstock"] == ["./deploy/plant", "ro"] for name in ("bridge", "features", "api"))
    assert any("PENSTOCK_PLANT=/etc/penstock" in line for line in dockerfile("ENV"))
    assert str(plant.state) == STATE
    assert (url.scheme, url.hostname, url.port) == ("influxdb", "influxdb", 8086)
    assert url.path.strip("/") == init["DOCKER_INFLUXDB_INIT_ORG"]
    assert parse_qs(url.query)["bucket"] == [init["DOCKER_INFLUXDB_INIT_BUCKET"]]


def test_what_serves_features_can_open_the_stacks_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The online store is the Redis of the stack; who needs its password has it, and the bridge does not."""
    monkeypatch.setenv("INFLUX_TOKEN", "secret")
    monkeypatch.setenv("PENSTOCK_ONLINE_PASSWORD", "another")

    plant = load_plant(PLANT)
    given = {name: SERVICES[name].get("environment", {}).get("PENSTOCK_ONLINE_PASSWORD") for name in OURS}

    assert (plant.online_url, plant.online_password) == ("redis://redis:6379/0", "another")
    assert {name for name, secret in given.items() if secret} == {"features", "api"}
    assert {given["features"], given["api"]} == {SERVICES["redis"]["environment"]["REDISCLI_AUTH"]}


def test_the_plant_of_the_stack_is_the_simulators() -> None:
    """Its classes, assets and live tags are those of the simulator's own plant file, at the addresses it is given."""
    template = files("bridge.simulator.template")
    options = parsed(next(penstock_commands("simulator")))
    text = template.joinpath("plant.toml").read_text(encoding="utf-8")
    for name in ("host", "opcua_port", "modbus_port"):
        text = text.replace(f"@{name.upper()}@", str(options[name]))
    simulated = tomllib.loads(text)
    ours = tomllib.loads((PLANT / "plant.toml").read_text(encoding="utf-8"))

    assert options["host"] == "simulator"
    assert {key: ours[key] for key in ("classes", "assets", "sources")} == {
        key: simulated[key] for key in ("classes", "assets", "sources")
    }
    for name in ("line1.csv", "plc.csv"):
        assert (PLANT / "tags" / name).read_text() == template.joinpath(name).read_text()


def test_the_simulator_listens_on_the_given_address(tmp_path: Path) -> None:
    """It does not listen on 127.0.0.1, and the plant it writes has the same address."""
    options = ["--host", "127.0.0.2", "--plant-dir", str(tmp_path), "--json"]
    command = [str(Path(sys.executable).with_name("penstock")), "simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            ready = json.loads(running.stdout.readline())
            places = [urlsplit(ready["opcua"]), urlsplit(f"//{ready['modbus']}")]
            for place in places:
                create_connection(("127.0.0.2", place.port or 0), 5).close()
                with pytest.raises(ConnectionRefusedError):
                    create_connection(("127.0.0.1", place.port or 0), 5)
        finally:
            running.terminate()
            running.communicate(timeout=20)

    assert {place.hostname for place in places} == {"127.0.0.2"}
    assert f'endpoint = "{ready["opcua"]}"' in (tmp_path / "plant.toml").read_text()
    assert 'host = "127.0.0.2"' in (tmp_path / "plant.toml").read_text()
