"""Certificates of an authority of our own, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Final

_EC: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2")


def make_authority(directory: Path, name: str = "ca") -> Path:
    """Make an authority in the directory; returns the file of its certificate."""
    _openssl(directory, name, "-nodes", "-subj", f"/CN=Test {name}")
    return directory / f"{name}.pem"


def make_certificate(authority: Path, name: str, *, subject: str = "IP:127.0.0.1", password: str = "") -> Path:
    """Make a certificate and its key next to those of the authority; returns the file of the certificate."""
    encrypted = ("-passout", f"pass:{password}") if password else ("-nodes",)
    signed = ("-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")))
    usage = ("-addext", f"subjectAltName={subject}", "-addext", "basicConstraints=critical,CA:FALSE")
    _openssl(authority.parent, name, *encrypted, *signed, *usage, "-subj", f"/CN={name}")
    return authority.parent / f"{name}.pem"


def server_context(authority: Path, certificate: Path) -> ssl.SSLContext:
    """A server's context that wants a certificate of its clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _openssl(directory: Path, name: str, *arguments: str) -> None:
    files = ("-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem"))
    subprocess.run(["openssl", "req", "-x509", *_EC, *files, *arguments], check=True, capture_output=True)
