"""`penstock certs`: our certificate, the servers that are trusted, and when any of them expires."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from bridge.drivers.certificates import days_left, expiry_notice, fingerprint, read_certificates, uri_of
from bridge.drivers.pki import Pki
from historian.cli.console import JsonOption, PlantOption, answer
from historian.times import utc_now

app = typer.Typer(no_args_is_help=True, help="Certificates: create, show, trust and rotate them.")

PkiOption = Annotated[str, typer.Option("--pki", help="Directory of the certificates, relative to plant.toml.")]
DaysOption = Annotated[int, typer.Option(min=1, help="How long the certificate is valid.")]
HostOption = Annotated[
    list[str] | None, typer.Option("--host", help="Name or address of this machine, if not its own.")
]


@app.command()
def create(
    plant: PlantOption = Path("plant.toml"),
    *,
    pki: PkiOption = "pki",
    days: DaysOption = 1825,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create the certificate by which servers know this bridge, and its private key."""
    one = _pki(plant, pki)
    identity = one.create(_uri(), _hosts(host), days=days, now=utc_now())
    record = _record(identity.certificate, one.certificate)
    answer(record, f"created {one.certificate}\n{_line(record)}\ntrust this file on each server", as_json=as_json)


@app.command()
def show(plant: PlantOption = Path("plant.toml"), *, pki: PkiOption = "pki", as_json: JsonOption = False) -> None:
    """Show our certificates, the trusted and the refused ones. The exit code is 1 if one in use expires soon."""
    one, lines, notices = _pki(plant, pki), list[str](), list[str]()
    record: dict[str, Any] = {}
    for folder in ("own", "trusted", "rejected"):
        found = [(each, file) for file in one.files(folder) for each in read_certificates(file.read_bytes())]
        record[folder] = [_record(each, file) for each, file in found]
        lines += [f"{folder}:", *map(_line, record[folder])] if found else [f"{folder}: none"]
        if folder != "rejected":
            used = [each for each in found if each[1].stem != "previous"]
            notices += filter(None, (expiry_notice(each, str(file), utc_now()) for each, file in used))
    record["notices"] = notices
    answer(record, "\n".join([*lines, *notices]), as_json=as_json)
    if notices:
        raise typer.Exit(1)


@app.command()
def trust(
    certificate: Annotated[str, typer.Argument(help="A file, or the fingerprint of a refused certificate.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    pki: PkiOption = "pki",
    as_json: JsonOption = False,
) -> None:
    """Trust the certificate of a server, or of an authority. Compare its fingerprint with the server's before.

    A running bridge takes it into account when it connects next.
    """
    record = _record(_pki(plant, pki).trust(certificate), None)
    answer(record, f"trusted from now on:\n{_line(record)}", as_json=as_json)


@app.command()
def rotate(
    plant: PlantOption = Path("plant.toml"),
    *,
    pki: PkiOption = "pki",
    days: DaysOption = 1825,
    host: HostOption = None,
    use: Annotated[bool, typer.Option("--use", help="Use the prepared certificate from now on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace our certificate in two steps: prepare a new one, then, when every server trusts it, use it.

    A running bridge opens a second session with the new certificate before it closes the one with the old.
    """
    one = _pki(plant, pki)
    if use:
        record = _record(one.use_next().certificate, one.certificate)
        answer(record, f"in use from now on:\n{_line(record)}", as_json=as_json)
        return
    record = _record(one.prepare(_uri(), _hosts(host), days=days, now=utc_now()).certificate, None)
    file = one.directory / "own" / "next.der"
    what = f"prepared {file}\n{_line(record)}\ntrust this file on each server, then run penstock certs rotate --use"
    answer(record, what, as_json=as_json)


def _pki(plant: Path, directory: str) -> Pki:
    return Pki((plant if plant.is_dir() else plant.parent) / directory)


def _uri() -> str:
    return f"urn:{socket.gethostname()}:penstock"


def _hosts(given: list[str] | None) -> list[str]:
    return given or [socket.gethostname()]


def _record(certificate: x509.Certificate, file: Path | None) -> dict[str, Any]:
    return {
        "file": None if file is None else str(file),
        "subject": certificate.subject.rfc4514_string(),
        "uri": uri_of(certificate),
        "fingerprint": fingerprint(certificate),
        "expires": certificate.not_valid_after_utc.isoformat(),
        "days_left": round(days_left(certificate, utc_now()), 1),
    }


def _line(record: dict[str, Any]) -> str:
    file = f"  {record['file']}" if record["file"] else ""
    return (
        f"  {record['subject']}  {record['uri']}  SHA-256 {record['fingerprint']}  "
        f"expires {record['expires'][:10]}, in {record['days_left']:.0f} days{file}"
    )
