"""`penstock certs`: from a new certificate to a rotated one."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from bridge.drivers.certificates import fingerprint, new_identity
from bridge.drivers.pki import Pki
from historian.cli.main import app
from historian.times import utc_now
from tests.commands import as_in_a_process, record_of


def output_of(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of a command."""
    with as_in_a_process():
        done = CliRunner().invoke(app, list(map(str, arguments)))
    return done.exit_code, f"{done.output}{done.exception}"


def test_a_certificate_is_created_shown_and_rotated(tmp_path: Path) -> None:
    """Nothing but the plant's directory is needed; the new one is used only on demand."""
    first = record_of("certs", "create", "-p", tmp_path, "--host", "edge7")
    assert Path(first["file"]) == tmp_path / "pki/own/certificate.der"
    shown = record_of("certs", "show", "-p", tmp_path)
    assert [each["fingerprint"] for each in shown["own"]] == [first["fingerprint"]]
    assert (shown["trusted"], shown["rejected"], shown["notices"]) == ([], [], [])
    second = record_of("certs", "rotate", "-p", tmp_path, "--days", "40")
    own = record_of("certs", "show", "-p", tmp_path)["own"]
    assert {each["fingerprint"] for each in own} == {first["fingerprint"], second["fingerprint"]}
    assert record_of("certs", "rotate", "-p", tmp_path, "--use")["fingerprint"] == second["fingerprint"]
    assert fingerprint(Pki(tmp_path / "pki").identity().certificate) == second["fingerprint"]
    code, text = output_of("certs", "create", "-p", tmp_path)
    assert (code, "penstock certs rotate replaces it" in text) == (1, True)


def test_a_refused_server_is_trusted_and_its_end_is_warned_of(tmp_path: Path) -> None:
    """The exit code of `show` is for a monitoring system."""
    pki, now = Pki(tmp_path / "pki"), utc_now()
    server = new_identity("urn:plc", ["plc"], days=12, now=now).certificate
    pki.reject(server)
    shown = record_of("certs", "show", "-p", tmp_path)
    assert [each["uri"] for each in shown["rejected"]] == ["urn:plc"]
    assert record_of("certs", "trust", fingerprint(server)[:16], "-p", tmp_path)["uri"] == "urn:plc"
    code, text = output_of("certs", "show", "-p", tmp_path)
    assert (code, "expires within 14 day(s)" in text) == (1, True)
    assert "rejected: none" in text
