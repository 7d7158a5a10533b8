"""X.509 certificates of applications: created, read, described, and checked against a list of trusted ones.

A server is trusted if its certificate, or that of the authority which issued it, is in the list; there is no setting
that turns this off. All functions are given the current time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

WARN_DAYS: Final = (30, 14, 1)
"""Days before its end at which a certificate is warned of."""
KEY_BITS: Final = 2048
"""Length of the RSA key: what all three security policies of OPC UA accept, and small controllers too."""


class Identity(NamedTuple):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def new_identity(uri: str, hosts: Sequence[str], *, days: int, now: datetime) -> Identity:
    """Create a self-signed certificate of an OPC UA client, with a new key (OPC UA Part 6, 6.2.2).

    Args:
        uri: the application's URI, which servers compare with the certificate.
        hosts: names and addresses of this machine.
        days: how long it is valid.
        now: the current time.
    """
    key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Penstock")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    # A controller's clock may be behind ours.
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=days))
    names = [x509.UniformResourceIdentifier(uri), *map(_general_name, hosts)]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return Identity(builder.sign(key, hashes.SHA256()), key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # a self-signed certificate is its own issuer
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def read_certificates(content: bytes) -> list[x509.Certificate]:
    """Return the certificates in a file, PEM or DER. Raises `ValueError` if there is none."""
    if b"-----BEGIN" in content:
        return x509.load_pem_x509_certificates(content)
    return [x509.load_der_x509_certificate(content)]


def read_key(content: bytes, password: str | None) -> rsa.RSAPrivateKey:
    """Return the private key in a file, PEM or DER. Raises `ValueError` if it is not an RSA key, or is locked."""
    secret = password.encode() if password is not None else None
    load = serialization.load_pem_private_key if b"-----BEGIN" in content else serialization.load_der_private_key
    try:
        key = load(content, secret)
    except TypeError as error:  # a password for a key without one, or the other way round
        raise ValueError(str(error)) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the key is not an RSA key")
    return key


def der_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate as bytes in DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    """Return a key as bytes in PEM, not encrypted."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate in hexadecimal, by which people compare two of them."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def uri_of(certificate: x509.Certificate) -> str:
    """Return the application's URI in a certificate; an empty text if it has none."""
    found = _names(certificate, x509.UniformResourceIdentifier)
    return found[0] if found else ""


def _names(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in names if isinstance(each, kind)]


def days_left(certificate: x509.Certificate, now: datetime) -> float:
    """Return how many days a certificate remains valid; negative once it has expired."""
    return (certificate.not_valid_after_utc - now) / timedelta(days=1)


def expiry_notice(certificate: x509.Certificate, owner: str, now: datetime) -> str:
    """Return a warning that a certificate expires soon or has expired; an empty text if neither.

    The text changes only when another of `WARN_DAYS` is passed, so that each is logged once.

    Args:
        certificate: the certificate.
        owner: whose it is, such as `the server's certificate`.
        now: the current time.
    """
    left, end = days_left(certificate, now), f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if left < 0:
        return f"{owner} expired at {end}"
    passed = [days for days in WARN_DAYS if left <= days]
    return f"{owner} expires within {min(passed)} day(s), at {end}" if passed else ""


def why_untrusted(
    certificate: x509.Certificate, trusted: Iterable[x509.Certificate], *, uri: str, host: str, now: datetime
) -> str:
    """Return why a server's certificate must not be accepted; an empty text if it is trusted.

    Args:
        certificate: what the server presents.
        trusted: certificates of servers, and of authorities that issue them.
        uri: the URI that the server says is its own; it must be the certificate's.
        host: the name or address to connect to. It must be in the certificate if that is trusted for its issuer only.
        now: the current time.
    """
    listed = list(trusted)
    known = der_of(certificate) in set(map(der_of, listed))
    if not known and not any(_issued(certificate, each, now) for each in listed):
        return "it is not trusted"
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return f"it is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    if uri_of(certificate) != uri:
        return f"it is of the application {uri_of(certificate) or '(none)'}, and the server says that it is {uri}"
    hosts = _names(certificate, x509.DNSName) + _names(certificate, x509.IPAddress)
    if not known and host.lower() not in map(str.lower, hosts):
        return f"it is for {', '.join(hosts) or 'no host'}, and not for {host}"
    return ""


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Return whether a certificate was issued by a valid authority."""
    if not _is_authority(issuer) or not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
