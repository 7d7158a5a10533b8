"""OPC UA: live samples by subscription, and the history that a server keeps. The manual is docs/opcua.md.

In `plant.toml`:

    [sources.line1]
    driver = "opcua"
    endpoint = "opc.tcp://10.0.4.12:4840"
    security = "sign-and-encrypt"          # with the certificate that penstock certs create has made
    username = "bridge"                    # with password, where the server wants a user
    password = "${LINE1_PASSWORD}"
    tags = "tags/line1.csv"

In the tag list, `address` is a node id such as `ns=2;s=c101.de_h` or `nsu=urn:plant;s=c101.de_h`, or a path below the
Objects folder such as `nsu=urn:plant;/Line 1/M1/Temperature`. Further columns choose an element of an array, a field of
a structure, the timestamp, a deadband and a heartbeat. An array of a tag with a sample rate is a piece of a waveform;
its column `stamp` says whether the server's timestamp belongs to the `first` (default) or `last` element.

Read-only: no Write and no Call is ever sent. A server whose certificate is not trusted is refused, and a connection is
never less secure than configured. A node that does not exist becomes one Bad sample, is requested again every minute,
and does not affect the others. A connection counts as interrupted when nothing, not even a keep-alive, has arrived for
the time `silence`. Its session is then resumed, with everything that the server has kept; if that fails for the time
`resume`, or the server has forgotten the session, the runner makes a new one. If a server's queue overflowed, the next
sample's quality has the Overflow bit set.

After a lost connection, what was missed is read from the history of the nodes that have one, up to `fill_outages`; only
what that proves counts as covered. In a table `[archives.NAME]` with the same keys, the history is an archive for
backfills. docs/archives-historians.md has the rights that this needs, and what it does where servers page badly.

`penstock probe line1` shows endpoints, product, clock and limits of the server; `penstock browse line1 --csv FILE`
lists its variables with the addresses that a tag list takes.

By default a server reports every change as it happens, or samples as fast as it can; what it has granted is logged. If
`sampling_interval` is longer than the time between two changes, the server does not see all of them. A session counts
as complete for backfills only where the server does not sample.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal, cast

from pydantic import Field, SecretStr, model_validator

from bridge.drivers.opcua.addresses import parse
from bridge.drivers.opcua.stamps import Stamp
from bridge.drivers.protocols import Driver, opened_by
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig
from historian.plant.keys import Model
from historian.times import Duration, DurationOrZero

Security = Literal["none", "sign", "sign-and-encrypt"]
PolicyName = Literal["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
Timestamp = Literal["source", "server", "received"]
Url = Annotated[str, Field(pattern=r"^opc\.tcp://[^/\s]+")]


class Options(Model):
    """The driver's keys in `[sources.NAME]` and `[archives.NAME]`."""

    endpoint: Url = Field(examples=["opc.tcp://10.0.4.12:4840"])
    standby: tuple[Url, ...] = Field(
        (), description="Further servers with the same nodes; the one with the highest service level is used."
    )
    security: Security = Field("none", description="What protects messages; a server that offers less is refused.")
    policy: PolicyName | None = Field(
        None, description="Security policy; if absent, the strongest of the three that the server offers."
    )
    pki: str = Field("pki", description="Directory of our certificate and of the trusted ones; see penstock certs.")
    key_password: SecretStr | None = Field(None, description="Password of our private key. Use ${NAME}.")
    username: str | None = None
    password: SecretStr | None = Field(None, description="Password of the user. Use ${NAME}, or password_file.")
    password_file: str | None = Field(None, description="File that holds the password; read at each connection.")
    user_certificate: str | None = Field(None, description="File of the certificate to log in with, PEM or DER.")
    user_key: str | None = Field(None, description="File of that certificate's private key, PEM or DER.")
    publishing_interval: Duration = Field(
        timedelta(milliseconds=250), description="How often the server sends changes."
    )
    sampling_interval: DurationOrZero = Field(
        timedelta(0),
        description="How often the server samples each node; 0s for every change, or as often as the server can.",
    )
    queue_size: int | None = Field(
        None,
        ge=1,
        description="Changes of a node that the server keeps for us; if absent, those of a minute (1,000 at most), "
        "or 100 arrays.",
    )
    silence: Duration = Field(timedelta(seconds=10), description="Interrupted after this long without any message.")
    resume: DurationOrZero = Field(
        timedelta(seconds=60), description="How long to try to resume an interrupted session; 0s to make a new one."
    )
    fill_outages: DurationOrZero = Field(
        timedelta(days=1),
        description="Longest outage of a live source whose values are read from the server's history; 0s for none.",
    )
    history_lag: Duration = Field(
        timedelta(seconds=5), description="How long after its time a value is sure to be in the server's history."
    )
    history_page: int = Field(10_000, ge=1, description="Most values of a node in one page of history.")
    history_slice: Duration = Field(
        timedelta(days=1), description="An archive's history is read in slices of this length."
    )
    heartbeat: DurationOrZero | None = Field(
        None,
        description="How often an unchanged value is repeated while the server answers; 0s for never; if absent, half "
        "of the point's max_staleness.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Options:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file exclude each other")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("username and password belong together")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key belong together")
        if self.username is not None and self.user_certificate is not None:
            raise ValueError("log in with username or with user_certificate, not with both")
        if self.policy is not None and self.security == "none":
            raise ValueError('policy is the policy of a security other than "none"; set security')
        if self.silence < 3 * self.publishing_interval:
            raise ValueError("silence must be at least three publishing intervals")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers, in order of preference."""
        return (self.endpoint, *self.standby)


class Address(Model):
    """The driver's columns in the tag list."""

    stamp: Stamp = "first"
    element: str = Field("", pattern=r"^(\d+(,\d+)*)?$", description="Element of an array: 3, or 1,2 of a matrix.")
    index_range: str = Field(
        "", pattern=r"^(\d+(:\d+)?(,\d+(:\d+)?)*)?$", description="Part of an array: 0:9, or 0:3,2 of a matrix."
    )
    field: str = Field("", description="Field of a structure: Low, or Position.X.")
    timestamp: Timestamp = Field(
        "source", description="Whose clock stamps the samples; received is ours, when they arrive."
    )
    deadband: float | None = Field(None, ge=0, description="Smallest change to report, in the server's own unit.")
    deadband_percent: float | None = Field(
        None, ge=0, le=100, description="Smallest change to report, in percent of the node's EURange."
    )
    heartbeat: DurationOrZero | None = Field(None, description="As the source's key, for this tag.")

    @model_validator(mode="after")
    def _agree(self) -> Address:
        if bool(self.element) + bool(self.index_range) + bool(self.field) > 1:
            raise ValueError("element, index_range and field exclude each other")
        if self.deadband is not None and self.deadband_percent is not None:
            raise ValueError("deadband and deadband_percent exclude each other")
        return self


def check_addresses(connection: ConnectionConfig) -> None:
    """Check the tags' addresses. Raises `ConfigError` for those that are neither node ids nor paths."""
    problems = list[Problem]()
    for tag in connection.tags:
        try:
            parse(tag.address)
        except ValueError as error:
            problems.append(Problem(*tag.listed, f"the address {tag.address!r} is not a node id or a path: {error}"))
    if problems:
        raise ConfigError(problems)


driver: Final = Driver(
    options=Options,
    address=Address,
    source=opened_by("bridge.drivers.opcua.source:OpcuaSource"),
    archive=opened_by("bridge.drivers.opcua.history_archive:OpcuaArchive"),
    probe=opened_by("bridge.drivers.opcua.probe:probe"),
    browse=opened_by("bridge.drivers.opcua.browse:browse"),
    interval=lambda connection: cast(Options, connection.options).sampling_interval or None,
    check_tags=check_addresses,
)
