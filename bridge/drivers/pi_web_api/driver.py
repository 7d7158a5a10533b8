"""The `pi-web-api` driver: an archive in the PI System, read through PI Web API.

    [archives.pi]
    driver = "pi-web-api"
    url = "https://pi.plant.example/piwebapi"
    server = "PISRV1"
    username = "bridge"                    # Basic; or token, for a proxy that takes a Bearer token
    password = "${PI_PASSWORD}"
    tags = "tags/pi.csv"

    [archives.pi.tls]
    ca = "certificates/plant-ca.pem"       # if the server's certificate is of the plant's own authority

In the tag list, `address` is the name of a point on `server`, such as SINUSOID, or a path: `\\\\PISRV1\\SINUSOID`.

Only GET is sent. The user needs Basic authentication at PI Web API, and the right to read data and points in PI. Values
are compressed ones as the archive has them: nothing is interpolated.

    what PI has                                       sample
    number                                            value
    text                                              text
    digital state                                     text, its name, for a point of kind state; else value, its number
    system state such as I/O Timeout                  Bad, without value
    Good false                                        Bad, without value
    Questionable                                      Uncertain
    an error instead of a value                       none; the row goes to quarantine with the message

Timestamps are cut to microseconds. If the server is busy (429, 503), it is waited for, as long as it requests. A login
that it refuses is not tried again. Tested against a simulator of PI Web API's published reference, not against a PI
System.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field, SecretStr, model_validator

from bridge.drivers.protocols import Driver, opened_by
from bridge.drivers.tls import Tls
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.keys import Model
from historian.times import Duration


class Options(Model):
    """Keys of `[archives.NAME]` with `driver = "pi-web-api"`."""

    url: str = Field(pattern=r"^https?://[^/\s]+", examples=["https://pi.plant.example/piwebapi"])
    server: str | None = Field(None, description="Name of the PI Data Archive, for addresses without one.")
    username: str | None = None
    password: SecretStr | None = Field(None, description="Use ${NAME}, or password_file.")
    password_file: str | None = Field(None, description="File that holds the password.")
    token: SecretStr | None = Field(None, description="Bearer token, instead of a user. Use ${NAME}, or token_file.")
    token_file: str | None = Field(None, description="File that holds the token.")
    tls: Tls | None = Field(None, description="Whom to trust; the authorities of the operating system if absent.")
    page: int = Field(10_000, ge=1, le=150_000, description="Most samples of a point in one answer.")
    points_per_request: int = Field(10, ge=1, le=100, description="Most points in one request.")
    slice: Duration = Field(timedelta(days=1), description="The history is read in slices of this length.")

    @model_validator(mode="after")
    def _agree(self) -> Options:
        has_password = self.password is not None or self.password_file is not None
        has_token = self.token is not None or self.token_file is not None
        if (self.username is not None) != has_password:
            raise ValueError("username belongs to password or password_file")
        if has_password and has_token:
            raise ValueError("give a user or a token, not both")
        if (has_password or has_token) and not self.url.startswith("https:"):
            raise ValueError("passwords and tokens are sent over https only; correct url")
        return self


class Address(Model):
    """The driver adds no columns to the tag list."""


def path_of(tag: Tag, server: str | None) -> str:
    """Return the path of a tag's point. Raises `ValueError` if the address cannot be one."""
    if tag.address.startswith("\\\\"):
        host, _, name = tag.address[2:].partition("\\")
        if not host or not name:
            raise ValueError(f"the address {tag.address!r} is not a path; write it as \\\\SERVER\\POINT")
        return tag.address
    if server is None:
        raise ValueError(f"the address {tag.address!r} names no server; write \\\\SERVER\\POINT, or give server")
    return f"\\\\{server}\\{tag.address}"


def check_tags(connection: ConnectionConfig) -> None:
    """Check the tags' addresses. Raises `ConfigError` for those that cannot be paths of points."""
    server = connection.options.server if isinstance(connection.options, Options) else ""
    problems = []
    for tag in connection.tags:
        try:
            path_of(tag, server)
        except ValueError as error:
            problems.append(Problem(*tag.listed, str(error)))
    if problems:
        raise ConfigError(problems)


driver: Final = Driver(
    options=Options,
    address=Address,
    archive=opened_by("bridge.drivers.pi_web_api.history:archive_of"),
    check_tags=check_tags,
)
