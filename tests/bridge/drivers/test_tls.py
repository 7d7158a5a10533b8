"""The TLS settings that drivers share."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.drivers.tls import Tls, client_context
from historian.errors import ConfigError


def context_of(root: Path, **settings: object) -> ssl.SSLContext:
    """The context of these settings."""
    return client_context(Tls.model_validate(settings), root=root, table="sources.plc.tls")


def test_every_context_verifies_certificate_and_name(certificates: Path) -> None:
    """Whatever the settings are."""
    for context in (context_of(certificates), context_of(certificates, ca="ca.pem", server_name="plc.plant")):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_only_the_named_authority_is_trusted(certificates: Path) -> None:
    """Not those of the system as well."""
    assert [each["subject"] for each in context_of(certificates, ca="ca.pem").get_ca_certs()] == [
        ((("commonName", "Test ca"),),)
    ]


def test_an_encrypted_key_needs_its_password(certificates: Path) -> None:
    """Nobody is asked on the terminal."""
    locked = {"certificate": "locked.pem", "key": "locked.key"}
    context_of(certificates, **locked, key_password="s3cret")  # noqa: S106 (of a key that lives for one test run)
    with pytest.raises(ConfigError, match="an encrypted key needs key_password") as raised:
        context_of(certificates, **locked, key_password="guess")  # noqa: S106 (wrong on purpose)
    assert "guess" not in str(raised.value)
    with pytest.raises(ConfigError, match="an encrypted key needs key_password"):
        context_of(certificates, **locked)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ca": "no.pem"}, r"\[sources.plc.tls\] ca: there is no file .*no.pem"),
        ({"ca": "ca.key"}, r"ca: ca.key cannot be read as certificates in PEM"),
        ({"certificate": "client.pem", "key": "no.key"}, r"key: there is no file .*no.key"),
        ({"certificate": "client.pem", "key": "server.key"}, r"cannot be used: key values mismatch"),
        (
            {"certificate": "client.key", "key": "client.key"},
            r"certificate client.key and key client.key cannot be used",
        ),
    ],
)
def test_files_that_cannot_be_used_are_reported(certificates: Path, settings: dict[str, str], message: str) -> None:
    """Before anything connects, with the key that names them."""
    with pytest.raises(ConfigError, match=message):
        context_of(certificates, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"certificate": "client.pem"}, "certificate and key belong together"),
        ({"key_password": "x"}, "which is absent"),
        ({"verify": False}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_contradict_each_other_are_reported(settings: dict[str, object], message: str) -> None:
    """And there is none that turns verification off."""
    with pytest.raises(ValidationError, match=message):
        Tls.model_validate(settings)
