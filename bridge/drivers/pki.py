"""The directory of certificates of a plant: our own, those we trust, and those we have refused.

    pki/own/certificate.der, key.pem     by which servers know us
    pki/own/next.der, next-key.pem       what `penstock certs rotate` has prepared, until it is used
    pki/own/previous.der                 what was used before
    pki/trusted/                         servers, and authorities that issue their certificates; PEM or DER
    pki/rejected/                        certificates of servers that were refused, to be compared and trusted

Everything is read when it is needed, so that a change takes effect without a restart.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from bridge.drivers.certificates import (
    Identity,
    der_of,
    fingerprint,
    new_identity,
    pem_of,
    read_certificates,
    read_key,
)
from historian.errors import ConfigError, InvalidInput

SUFFIXES: Final = {".der", ".pem", ".crt", ".cer"}
_KEYS: Final = {"key.pem", "next-key.pem"}
LEAST_DIGITS: Final = 8
"""Fewest digits by which a fingerprint may be abbreviated."""


class Pki:
    """Certificates below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "own" / "certificate.der"
        self.key = directory / "own" / "key.pem"

    def identity(self, password: str | None = None) -> Identity:
        """Return our certificate and its key.

        Raises:
            ConfigError: a file is missing or unusable, or the key is not that of the certificate.
        """
        return read_identity(self.certificate, self.key, password)

    def create(self, uri: str, hosts: Sequence[str], *, days: int, now: datetime) -> Identity:
        """Create our certificate and its key. Raises `InvalidInput` if there is one already."""
        if self.certificate.exists() or self.key.exists():
            raise InvalidInput(f"there is a certificate already, {self.certificate}; penstock certs rotate replaces it")
        return self._write(new_identity(uri, hosts, days=days, now=now), self.certificate, self.key)

    def prepare(self, uri: str, hosts: Sequence[str], *, days: int, now: datetime) -> Identity:
        """Create the certificate that is to replace ours, which stays in use until `use_next`."""
        self.identity()
        return self._write(new_identity(uri, hosts, days=days, now=now), *self._next())

    def use_next(self) -> Identity:
        """Replace our certificate and key by those that were prepared; a running bridge then connects with them.

        Raises:
            InvalidInput: none was prepared.
        """
        certificate, key = self._next()
        if not certificate.exists():
            raise InvalidInput("no new certificate was prepared; run penstock certs rotate without --use first")
        identity = read_identity(certificate, key)
        _write(self.directory / "own" / "previous.der", self.certificate.read_bytes())
        key.replace(self.key)
        certificate.replace(self.certificate)
        return identity

    def trusted(self) -> list[x509.Certificate]:
        """Return the certificates that are trusted. Raises `ConfigError` for a file that is none."""
        return [each for file in self.files("trusted") for each in _read(file)]

    def reject(self, certificate: x509.Certificate) -> Path:
        """Keep a refused certificate for a person to look at; return its file."""
        file = self._file("rejected", certificate)
        return file if file.exists() else _write(file, der_of(certificate))

    def trust(self, given: str) -> x509.Certificate:
        """Trust a certificate from now on.

        Args:
            given: a file, or the beginning of the fingerprint of a refused certificate.

        Raises:
            InvalidInput: there is no such certificate, or there are several.
        """
        certificate = self._chosen(given)
        _write(self._file("trusted", certificate), der_of(certificate))
        self._file("rejected", certificate).unlink(missing_ok=True)
        return certificate

    def files(self, folder: str) -> list[Path]:
        """Return the files of certificates in `own`, `trusted` or `rejected`, in order of their names."""
        found = (self.directory / folder).glob("*")
        return sorted(file for file in found if file.suffix.lower() in SUFFIXES and file.name not in _KEYS)

    def _chosen(self, given: str) -> x509.Certificate:
        if Path(given).is_file():
            return _read(Path(given))[0]
        digits = given.lower().replace(":", "").replace(" ", "")
        refused = [each for file in self.files("rejected") for each in _read(file)]
        found = [each for each in refused if len(digits) >= LEAST_DIGITS and fingerprint(each).startswith(digits)]
        if len(found) != 1:
            known = ", ".join(fingerprint(each)[:16] for each in refused) or "there is none"
            raise InvalidInput(
                f"{given!r} is neither a file nor the fingerprint, or its first {LEAST_DIGITS} digits or more, of one "
                f"refused certificate; refused: {known}"
            )
        return found[0]

    def _next(self) -> tuple[Path, Path]:
        return self.directory / "own" / "next.der", self.directory / "own" / "next-key.pem"

    def _file(self, folder: str, certificate: x509.Certificate) -> Path:
        return self.directory / folder / f"{fingerprint(certificate)}.der"

    def _write(self, identity: Identity, certificate: Path, key: Path) -> Identity:
        _write(key, pem_of(identity.key), mode=0o600)
        _write(certificate, der_of(identity.certificate))
        return identity


def read_identity(certificate: Path, key: Path, password: str | None = None) -> Identity:
    """Return a certificate and its key.

    Raises:
        ConfigError: a file is missing or unusable, or the key is not that of the certificate.
    """
    first = _read(certificate)[0]
    try:
        private = read_key(key.read_bytes(), password)
    except OSError as error:
        raise ConfigError(f"the key {key} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"the key {key} cannot be used: {error}; an encrypted key needs its password") from None
    if private.public_key() != first.public_key():
        raise ConfigError(f"the key {key} is not that of the certificate {certificate}")
    return Identity(first, private)


def _read(file: Path) -> list[x509.Certificate]:
    try:
        return read_certificates(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"there is no certificate {file}; run penstock certs create, or name another file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as a certificate in PEM or DER: {error}") from None


def _write(file: Path, content: bytes, *, mode: int = 0o644) -> Path:
    """Write a file so that it is there completely or not at all, and a key is readable by its owner only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    return file
