"""The compose stack and its image, read from their files: services, commands, mounts, instructions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with Feast, without types

from historian.cli.main import load_command

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
