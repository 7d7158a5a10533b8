"""TLS settings shared by drivers: which servers to trust, and the certificate by which a server knows us.

A server's certificate and name are always verified; there is no setting that turns this off.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from historian.errors import ConfigError
from historian.plant.keys import Model


class Tls(Model):
    """An encrypted connection: the table `tls` of a source. Paths are relative to plant.toml; all keys are optional.

    The certificate of the server is always verified.
    """

    ca: str | None = Field(
        None, description="File of the authorities to trust, PEM; those of the operating system if absent."
    )
    certificate: str | None = Field(
        None, description="File of our certificate and those that it depends on, PEM, for a server that wants one."
    )
    key: str | None = Field(None, description="File of the certificate's private key, PEM.")
    key_password: SecretStr | None = Field(None, description="Password of an encrypted key. Use ${NAME}.")
    server_name: str | None = Field(None, description="Name or IP address in the server's certificate, if not host.")

    @model_validator(mode="after")
    def _agree(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if self.key_password is not None and self.key is None:
            raise ValueError("key_password is the password of key, which is absent")
        return self


def client_context(tls: Tls, *, root: Path, table: str) -> ssl.SSLContext:
    """Create the context of a client's connections from its settings.

    Args:
        tls: the settings.
        root: directory to which the files are relative.
        table: name of the settings' table in plant.toml, for messages.

    Raises:
        ConfigError: a file is missing, is not what it should be, or the key does not fit the certificate.
    """
    for name, file in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if file is not None and not (root / file).is_file():
            raise ConfigError(f"[{table}] {name}: there is no file {root / file}")
    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else root / tls.ca)
    except OSError as error:
        raise ConfigError(f"[{table}] ca: {tls.ca} cannot be read as certificates in PEM: {_reason(error)}") from None
    if tls.certificate is not None and tls.key is not None:
        _identify(context, tls, root=root, table=table)
    return context


def _identify(context: ssl.SSLContext, tls: Tls, *, root: Path, table: str) -> None:
    password = tls.key_password.get_secret_value() if tls.key_password is not None else ""
    try:
        # Without a password OpenSSL would ask for one on the terminal, and a service would wait for ever.
        context.load_cert_chain(root / str(tls.certificate), root / str(tls.key), lambda: password)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"[{table}] certificate {tls.certificate} and key {tls.key} cannot be used: {_reason(error)}; "
            "both are PEM, the key is that of the first certificate, and an encrypted key needs key_password"
        ) from None


def handshake_problem(error: ssl.SSLError) -> str:
    """Return why a connection could not be encrypted, and what to do about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"the TLS handshake failed ({_reason(error)}); check that the port is one for TLS"
    if "mismatch" in error.verify_message:
        return f"the server's certificate is not its own: {error.verify_message}; check host, or set tls.server_name"
    return f"the server's certificate is not trusted: {error.verify_message}; check tls.ca and the certificate's dates"


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or str(error)).replace("_", " ").lower()
