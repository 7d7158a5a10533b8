"""Certificates: which of them are trusted, when they are warned of, and the directory that holds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bridge.drivers.certificates import (
    Identity,
    der_of,
    expiry_notice,
    fingerprint,
    new_identity,
    pem_of,
    read_key,
    uri_of,
    why_untrusted,
)
from bridge.drivers.pki import Pki
from historian.errors import ConfigError, InvalidInput

NOW = datetime(2026, 3, 1, tzinfo=UTC)
URI, HOST = "urn:plc:server", "10.0.4.12"


@pytest.fixture(scope="module")
def server() -> Identity:
    """A server's certificate."""
    return new_identity(URI, [HOST], days=365, now=NOW)


@pytest.fixture(scope="module")
def other() -> Identity:
    """That of somebody else, who claims to be the same."""
    return new_identity(URI, [HOST], days=365, now=NOW)


def issued(
    issuer: Identity, server: Identity, *, is_authority: bool = True
) -> tuple[x509.Certificate, x509.Certificate]:
    """An authority, and a certificate that it has issued for the server's key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
    days = NOW - timedelta(days=1), NOW + timedelta(days=365)
    root = x509.CertificateBuilder(name, name, issuer.key.public_key(), 1, *days)
    root = root.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    leaf = x509.CertificateBuilder(name, server.certificate.subject, server.key.public_key(), 2, *days)
    names = server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    leaf = leaf.add_extension(names.value, critical=False)
    return root.sign(issuer.key, hashes.SHA256()), leaf.sign(issuer.key, hashes.SHA256())


def test_only_a_listed_certificate_is_trusted(server: Identity, other: Identity) -> None:
    """A name or URI that somebody claims is worth nothing."""

    def why(*trusted: x509.Certificate) -> str:
        return why_untrusted(server.certificate, trusted, uri=URI, host="plc.plant", now=NOW)

    assert why() == why(other.certificate) == "it is not trusted"
    assert why(other.certificate, server.certificate) == ""


def test_a_listed_certificate_must_be_valid_and_of_this_application(server: Identity) -> None:
    """An expired one is refused, however long it was trusted."""
    one = server.certificate
    assert "valid from" in why_untrusted(one, [one], uri=URI, host=HOST, now=NOW + timedelta(days=366))
    assert "valid from" in why_untrusted(one, [one], uri=URI, host=HOST, now=NOW - timedelta(days=2))
    assert "it is of the application" in why_untrusted(one, [one], uri="urn:other", host=HOST, now=NOW)


def test_what_a_trusted_authority_issues_is_trusted_for_its_hosts(server: Identity, other: Identity) -> None:
    """An authority issues certificates for many hosts, and one of them may not stand for another."""
    root, leaf = issued(other, server)
    assert why_untrusted(leaf, [root], uri=URI, host=HOST, now=NOW) == ""
    assert why_untrusted(leaf, [root], uri=URI, host="10.0.4.13", now=NOW) == f"it is for {HOST}, and not for 10.0.4.13"
    not_authority, leaf = issued(other, server, is_authority=False)
    assert why_untrusted(leaf, [not_authority], uri=URI, host=HOST, now=NOW) == "it is not trusted"
    assert why_untrusted(leaf, [root], uri=URI, host=HOST, now=NOW + timedelta(days=366)) == "it is not trusted"


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(days=31), ""),
        (timedelta(days=30), "expires within 30 day(s)"),
        (timedelta(days=14, seconds=1), "expires within 30 day(s)"),
        (timedelta(days=14), "expires within 14 day(s)"),
        (timedelta(hours=23), "expires within 1 day(s)"),
        (timedelta(seconds=-1), "expired at"),
    ],
)
def test_expiry_is_warned_of_three_times(server: Identity, left: timedelta, expected: str) -> None:
    """The text is the same between two thresholds, so that it is logged once."""
    text = expiry_notice(server.certificate, "it", server.certificate.not_valid_after_utc - left)
    assert text.startswith(f"it {expected}") if expected else text == ""


def test_our_certificate_is_created_once_and_its_key_is_ours_alone(tmp_path: Path) -> None:
    """Creating it again would lock us out of every server that trusts the first one."""
    pki = Pki(tmp_path / "pki")
    with pytest.raises(ConfigError, match="run penstock certs create"):
        pki.identity()
    created = pki.create("urn:host:penstock", ["host"], days=10, now=NOW)
    assert pki.identity().certificate == created.certificate
    assert uri_of(created.certificate) == "urn:host:penstock"
    assert pki.key.stat().st_mode & 0o077 == 0
    with pytest.raises(InvalidInput, match="certs rotate"):
        pki.create("urn:host:penstock", ["host"], days=10, now=NOW)


def test_a_new_certificate_is_used_only_on_demand(tmp_path: Path) -> None:
    """The servers must trust it first."""
    pki = Pki(tmp_path / "pki")
    first = pki.create("urn:host:penstock", ["host"], days=10, now=NOW)
    with pytest.raises(InvalidInput, match="no new certificate"):
        pki.use_next()
    second = pki.prepare("urn:host:penstock", ["host"], days=10, now=NOW)
    assert pki.identity().certificate == first.certificate
    pki.use_next()
    assert pki.identity().certificate == second.certificate
    assert (tmp_path / "pki/own/previous.der").read_bytes() == der_of(first.certificate)


def test_a_key_of_another_certificate_is_reported(tmp_path: Path, server: Identity, other: Identity) -> None:
    """So is a file that holds no key."""
    pki = Pki(tmp_path)
    (tmp_path / "own").mkdir()
    pki.certificate.write_bytes(der_of(server.certificate))
    pki.key.write_bytes(pem_of(other.key))
    with pytest.raises(ConfigError, match="is not that of the certificate"):
        pki.identity()
    pki.key.write_text("no key")
    with pytest.raises(ConfigError, match="cannot be used"):
        pki.identity()
    assert read_key(pem_of(server.key), None).public_key() == server.certificate.public_key()


def test_a_refused_certificate_is_trusted_by_its_fingerprint(tmp_path: Path, server: Identity, other: Identity) -> None:
    """Enough of it must be given that it means one certificate; a file will do too."""
    pki, digits = Pki(tmp_path), fingerprint(server.certificate)
    pki.reject(server.certificate)
    for given in ("", digits[:7], "0" * 16):
        with pytest.raises(InvalidInput, match=f"refused: {digits[:16]}"):
            pki.trust(given)
    assert pki.trusted() == []
    colons = ":".join(digits[n : n + 2] for n in range(0, 32, 2)).upper()
    assert pki.trust(colons) == server.certificate
    (tmp_path / "plc.pem").write_bytes(other.certificate.public_bytes(Encoding.PEM))
    pki.trust(str(tmp_path / "plc.pem"))
    assert {fingerprint(each) for each in pki.trusted()} == {digits, fingerprint(other.certificate)}
    assert pki.files("rejected") == []
