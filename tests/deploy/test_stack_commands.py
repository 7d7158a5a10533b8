"""The commands of the compose stack's services, and what their loops do when one fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

import pytest

from tests.deploy.stack import OURS, SERVICES, each, parsed, penstock_commands


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
