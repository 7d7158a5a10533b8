"""How a connection is protected and who logs in; a server that offers less than configured, or is unknown, is refused.

The server's certificate is checked before a secure channel is opened for it. Discovery itself is not protected, so what
it says can only make a connection fail: the channel proves that the server has the key of the certificate, and the
session's own list of endpoints must contain the one that was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509
from pydantic import SecretStr

from bridge.drivers.certificates import fingerprint, uri_of, why_untrusted
from bridge.drivers.opcua.driver import Options, PolicyName, Security
from bridge.drivers.pki import Pki, read_identity
from historian.errors import ConfigError, NotConnected

POLICIES: Final[dict[PolicyName, Any]] = {
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
}
"""The security policies that are not deprecated, the strongest first."""
_MODES: Final[dict[Security, ua.MessageSecurityMode]] = {
    "none": ua.MessageSecurityMode.None_,
    "sign": ua.MessageSecurityMode.Sign,
    "sign-and-encrypt": ua.MessageSecurityMode.SignAndEncrypt,
}


async def secure(client: Client, options: Options, root: Path, now: datetime) -> x509.Certificate | None:
    """Set the client's security as configured; it is not connected before and after.

    Returns:
        The server's certificate, which is trusted; None without security.

    Raises:
        NotConnected: the server offers less, or its certificate is not trusted.
        ConfigError: our own certificate cannot be used.
    """
    if options.security == "none":
        return None
    pki = Pki(root / options.pki)
    own = pki.identity(_secret(options.key_password))
    client.application_uri = uri_of(own.certificate)
    endpoint, policy = chosen_endpoint(await client.connect_and_get_server_endpoints(), options)
    certificate: x509.Certificate | None = uacrypto.x509_from_der(endpoint.ServerCertificate)
    if certificate is None:
        raise NotConnected(f"cannot connect to {options.endpoint}: the server's endpoint has no certificate")
    check_trust(certificate, endpoint.Server.ApplicationUri, client.server_url.hostname, pki, now)
    client.security_policy = policy(certificate, own.certificate, own.key, _MODES[options.security])
    client.uaclient.set_security(client.security_policy)
    return certificate


def chosen_endpoint(
    endpoints: Sequence[ua.EndpointDescription], options: Options
) -> tuple[ua.EndpointDescription, Any]:
    """Return the endpoint with the configured mode and policy, or the strongest policy, and asyncua's class of it.

    Raises:
        NotConnected: there is none; nothing less secure is ever chosen instead.
    """
    names: list[PolicyName] = [options.policy] if options.policy else list(POLICIES)
    for name in names:
        for endpoint in endpoints:
            if endpoint.SecurityMode == _MODES[options.security] and endpoint.SecurityPolicyUri == POLICIES[name].URI:
                return endpoint, POLICIES[name]
    raise _less(endpoints, options)


def _less(endpoints: Sequence[ua.EndpointDescription], options: Options) -> NotConnected:
    """Return the error that says what a server offers instead of what is configured."""
    offered = sorted({f"{_policy(each)}/{each.SecurityMode.name.rstrip('_')}" for each in endpoints})
    only = "only None, that is no security" if offered in (["None/None"], []) else ", ".join(offered)
    wanted = f"{options.security} with {options.policy or 'one of ' + ', '.join(POLICIES)}"
    return NotConnected(
        f"cannot connect to {options.endpoint}: the server offers {only}; {wanted} is configured. Enable it on the "
        "server, or change security and policy"
    )


def check_trust(certificate: x509.Certificate, uri: str | None, host: str, pki: Pki, now: datetime) -> None:
    """Check that a server's certificate may be accepted; one that may not is kept among the refused ones.

    Raises:
        NotConnected: it may not.
    """
    reason = why_untrusted(certificate, pki.trusted(), uri=uri or "", host=host, now=now)
    if not reason:
        return
    pki.reject(certificate)
    digits = fingerprint(certificate)
    raise NotConnected(
        f"the certificate of {host} is refused: {reason}; its SHA-256 is {digits}. If that is the server's, run "
        f"penstock certs trust {digits[:16]}"
    )


def set_login(client: Client, options: Options, root: Path) -> None:
    """Set the user that logs in. Raises `ConfigError` if a file cannot be read."""
    if options.username is not None:
        client.set_user(options.username)
        client.set_password(password_of(options, root) or "")
    if options.user_certificate is not None and options.user_key is not None:
        identity = read_identity(root / options.user_certificate, root / options.user_key)
        client.user_certificate, client.user_private_key = identity.certificate, identity.key


def password_of(options: Options, root: Path) -> str | None:
    """Return the user's password. Raises `ConfigError` if its file cannot be read."""
    if options.password_file is None:
        return _secret(options.password)
    try:
        return (root / options.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"password_file {root / options.password_file} cannot be read ({error.strerror})") from None


def identity_files(options: Options, root: Path) -> list[Path]:
    """Return the files of our own certificates, which may be replaced while a connection lasts."""
    files = [Pki(root / options.pki).certificate] if options.security != "none" else []
    return [*files, *(root / name for name in (options.user_certificate,) if name is not None)]


def is_exposed(options: Options, policies: Sequence[ua.UserTokenPolicy]) -> bool:
    """Return whether a password goes over the wire as plain text.

    Args:
        options: the source's options.
        policies: how the server's endpoint takes logins.
    """
    if options.username is None or options.security == "sign-and-encrypt":
        return False
    uris = [each.SecurityPolicyUri for each in policies if each.TokenType == ua.UserTokenType.UserName]
    encrypted = [uri for uri in uris if uri and not uri.endswith("#None")]
    return not encrypted and (options.security == "none" or any(uri and uri.endswith("#None") for uri in uris))


def host_and_port(url: str) -> tuple[str, int]:
    """Return the host and the port of an endpoint."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 4840


def _policy(endpoint: ua.EndpointDescription) -> str:
    return (endpoint.SecurityPolicyUri or "").rpartition("#")[2]


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
