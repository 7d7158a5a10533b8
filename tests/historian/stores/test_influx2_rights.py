"""Commands with the wrong token, bucket or organisation against a real InfluxDB 2.8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.servers import Server

pytestmark = pytest.mark.influxdb2
TESTS = Path(__file__).parents[2]
PENSTOCK = Path(sys.executable).with_name("penstock")
ADMIN = {"Authorization": "Token secret"}


@pytest.fixture(scope="module")
def tokens(influx2_server: Server) -> dict[str, str]:
    """Tokens of one bucket, `rights`, by what they may do; and the administrator's, with the line end of a file."""
    with httpx.Client(base_url=influx2_server.base, headers=ADMIN) as admin:
        org = admin.get("/api/v2/orgs").json()["orgs"][0]["id"]
        bucket = admin.post("/api/v2/buckets", json={"name": "rights", "orgID": org}).json()["id"]

        def token(*actions: str) -> str:
            resource = {"type": "buckets", "id": bucket, "orgID": org}
            permissions = [{"action": action, "resource": resource} for action in actions]
            made = admin.post("/api/v2/authorizations", json={"orgID": org, "permissions": permissions})
            return str(made.raise_for_status().json()["token"])

        made = {"write": token("write"), "read": token("read"), "both": token("read", "write")}
    return {**made, "wrong": "opensesame", "none": "", "admin": "secret\n"}


def run(server: Server, token: str, *command: str, org: str = "north", bucket: str = "rights") -> tuple[int, str]:
    """The exit code and the output of a command, in which the token must not occur."""
    url = f"influxdb://127.0.0.1:{server.port}/{org}?bucket={bucket}"
    settings = {"PENSTOCK_HISTORIAN": url, "PENSTOCK_HISTORIAN_TOKEN": token, "PYTHONPATH": str(TESTS / "plugins")}
    line: list[str | Path] = [PENSTOCK, *command, "--plant", TESTS / "cases" / "plant" / "valid"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **settings})
    printed = done.stdout + done.stderr
    assert not token or token.strip() not in printed.replace(url, "")
    assert "Traceback" not in printed
    return done.returncode, printed


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("none", "does not know the token"),
        ("wrong", "does not know the token"),
        ("write", "does not let us read bucket rights: the token lacks that right"),
    ],
)
@pytest.mark.parametrize("command", [("store", "status"), ("store", "gaps"), ("values",)])
def test_reading_without_the_right_says_so(
    influx2_server: Server, tokens: dict[str, str], token: str, words: str, command: tuple[str, ...]
) -> None:
    """The error does not say that the bucket is missing, nor that writing is not allowed."""
    code, printed = run(influx2_server, tokens[token], *command)
    assert code == 2
    assert words in printed
    assert "store init" not in printed


@pytest.mark.parametrize("token", ["read", "both", "admin"])
def test_a_token_that_may_read_reads(influx2_server: Server, tokens: dict[str, str], token: str) -> None:
    """It may have other rights, too, and a line end after it."""
    for command in (("store", "status"), ("values",)):
        assert run(influx2_server, tokens[token], *command)[0] == 0


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("write", "lacks that right"),
        ("read", "this takes a token with all access"),
        ("wrong", "does not know the token"),
    ],
)
def test_init_without_the_rights_says_which_token_it_needs(
    influx2_server: Server, tokens: dict[str, str], token: str, words: str
) -> None:
    """There is no traceback."""
    code, printed = run(influx2_server, tokens[token], "store", "init")
    assert code == 2
    assert words in printed


def test_init_of_a_missing_bucket_needs_an_administrator(influx2_server: Server, tokens: dict[str, str]) -> None:
    """A token of another bucket cannot create one."""
    for token in ("write", "both"):
        code, printed = run(influx2_server, tokens[token], "store", "init", bucket="made")
        assert (code, "this takes a token with all access to the organisation" in printed) == (2, True)
    assert run(influx2_server, tokens["both"], "store", "status", bucket="made")[1].count("penstock store init") == 1
    assert run(influx2_server, tokens["admin"], "store", "init", bucket="made")[0] == 0


@pytest.mark.parametrize("command", [("store", "status"), ("store", "init"), ("store", "gaps")])
def test_a_wrong_organisation_is_named(
    influx2_server: Server, tokens: dict[str, str], command: tuple[str, ...]
) -> None:
    """The error does not say to run `store init`."""
    code, printed = run(influx2_server, tokens["admin"], *command, org="south", bucket="elsewhere")
    assert code == 2
    assert "has no organisation 'south'; correct ORG in [historian] url" in printed
    assert "store init" not in printed
