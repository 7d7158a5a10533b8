"""Fixtures of the drivers' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bridge.drivers.certificates import make_authority, make_certificate


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority `ca`, certificates of a server and a client, and another authority `other`.

    The server's is for 127.0.0.1, that of `named` for plc.plant, and the key of `locked` has the password "s3cret".
    """
    directory = tmp_path_factory.mktemp("certificates")
    authority = make_authority(directory)
    make_authority(directory, "other")
    make_certificate(authority, "server")
    make_certificate(authority, "named", subject="DNS:plc.plant")
    make_certificate(authority, "client")
    make_certificate(authority, "locked", password="s3cret")  # noqa: S106 (of a key that lives for one test run)
    return directory
