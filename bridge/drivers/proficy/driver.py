"""The `proficy` driver: an archive in GE Proficy Historian, read through its REST interface.

    [archives.proficy]
    driver = "proficy"
    url = "https://historian.plant.example"
    client_id = "penstock"
    client_secret = "${PROFICY_SECRET}"    # or client_secret_file
    tags = "tags/proficy.csv"

    [archives.proficy.tls]
    ca = "certificates/plant-ca.pem"       # if the server's certificate is of the plant's own authority

In the tag list, `address` is the name of a tag in Proficy. With `username` and `password` the token is requested for
that user, else for the client itself.

Only GET is sent, and the POST that OAuth 2 wants for a token. The client or user needs the right to read data. Samples
are raw ones: nothing is interpolated.

    quality in Proficy         sample
    3, good                    Good; a number for numeric types, else a text
    1, uncertain               Uncertain
    0, bad                     Bad, without value
    2, not available           BadNoData, without value
    any other                  none; the row goes to quarantine, as do texts in a numeric tag

If the server is busy (429, 503), it is waited for, as long as it requests. A login that it refuses is not tried again.
Tested against a simulator of the published REST reference, not against a Proficy Historian.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field, SecretStr, model_validator

from bridge.drivers.protocols import Driver, opened_by
from bridge.drivers.tls import Tls
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig
from historian.plant.keys import Model
from historian.times import Duration

SEPARATOR: Final = ";"
"""Separates the names of tags in a request."""


class Options(Model):
    """Keys of `[archives.NAME]` with `driver = "proficy"`."""

    url: str = Field(pattern=r"^https?://[^/\s]+", examples=["https://historian.plant.example"])
    client_id: str | None = Field(None, description="Of the OAuth client; no login if absent.")
    client_secret: SecretStr | None = Field(None, description="Use ${NAME}, or client_secret_file.")
    client_secret_file: str | None = Field(None, description="File that holds the client's secret.")
    username: str | None = Field(None, description="For a token of a user instead of one of the client itself.")
    password: SecretStr | None = Field(None, description="Use ${NAME}, or password_file.")
    password_file: str | None = Field(None, description="File that holds the password.")
    tls: Tls | None = Field(None, description="Whom to trust; the authorities of the operating system if absent.")
    page: int = Field(10_000, ge=1, le=150_000, description="Most samples of a tag in one answer.")
    tags_per_request: int = Field(10, ge=1, le=100, description="Most tags in one request.")
    slice: Duration = Field(timedelta(days=1), description="The history is read in slices of this length.")

    @model_validator(mode="after")
    def _agree(self) -> Options:
        has_secret = self.client_secret is not None or self.client_secret_file is not None
        has_password = self.password is not None or self.password_file is not None
        if (self.client_id is not None) != has_secret:
            raise ValueError("client_id belongs to client_secret or client_secret_file")
        if (self.username is not None) != has_password:
            raise ValueError("username belongs to password or password_file")
        if has_password and not has_secret:
            raise ValueError("a token of a user needs client_id and client_secret, too")
        if has_secret and not self.url.startswith("https:"):
            raise ValueError("secrets are sent over https only; correct url")
        return self


class Address(Model):
    """The driver adds no columns to the tag list."""


def check_tags(connection: ConnectionConfig) -> None:
    """Check the tags' addresses. Raises `ConfigError` for those that cannot be names of tags."""
    problems = [
        Problem(
            *tag.listed, f"the address {tag.address!r} has a {SEPARATOR}, which separates tags in Proficy's requests"
        )
        for tag in connection.tags
        if SEPARATOR in tag.address
    ]
    if problems:
        raise ConfigError(problems)


driver: Final = Driver(
    options=Options,
    address=Address,
    archive=opened_by("bridge.drivers.proficy.history:archive_of"),
    check_tags=check_tags,
)
