"""OPC UA: live samples by subscription to nodes of a server, and the history that it keeps.

In `plant.toml`:

    [sources.line1]
    driver = "opcua"
    endpoint = "opc.tcp://10.0.4.12:4840"
    username = "bridge"                    # with password, where the server wants a user
    password = "${LINE1_PASSWORD}"
    tags = "tags/line1.csv"

In the tag list, `address` is a node id such as `ns=2;s=c101.de_h`. An array of a tag with a sample rate is a piece of a
waveform; its column `stamp` says whether the server's timestamp belongs to the `first` (default) or `last` element.

Read-only: no Write and no Call is ever sent. A node that does not exist becomes one Bad sample and does not affect the
others. A connection counts as lost when nothing, not even a keep-alive, has arrived for the time `silence`; the runner
then makes a new one, with a new client and a new subscription. If a server's queue overflowed, the next sample's
quality has the Overflow bit set. Messages are neither signed nor encrypted.

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

import re
from datetime import timedelta
from typing import Final, cast

from pydantic import Field, SecretStr, model_validator

from bridge.drivers.opcua.stamps import Stamp
from bridge.drivers.protocols import Driver, opened_by
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig
from historian.plant.keys import Model
from historian.times import Duration, DurationOrZero

_NODE_ID: Final = re.compile(
    r"(?:ns=(\d{1,5});)?(?:i=(\d{1,10})|s=.+|g=[0-9a-fA-F-]{36}|b=[A-Za-z0-9+/]+=*)", re.DOTALL
)
_UINT16, _UINT32 = 2**16, 2**32


class Options(Model):
    """The driver's keys in `[sources.NAME]` and `[archives.NAME]`."""

    endpoint: str = Field(pattern=r"^opc\.tcp://[^/\s]+", examples=["opc.tcp://10.0.4.12:4840"])
    username: str | None = None
    password: SecretStr | None = None
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
    silence: Duration = Field(timedelta(seconds=10), description="Reconnect after this long without any message.")
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

    @model_validator(mode="after")
    def _agree(self) -> Options:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.silence < 3 * self.publishing_interval:
            raise ValueError("silence must be at least three publishing intervals")
        return self


class Address(Model):
    """The driver's columns in the tag list."""

    stamp: Stamp = "first"


def check_node_ids(connection: ConnectionConfig) -> None:
    """Check the tags' addresses. Raises `ConfigError` for those that are not node ids."""
    problems = [
        Problem(*tag.listed, f"the address {tag.address!r} is not a node id; write it as ns=2;s=c101.de_h")
        for tag in connection.tags
        if not _is_node_id(tag.address)
    ]
    if problems:
        raise ConfigError(problems)


def _is_node_id(text: str) -> bool:
    found = _NODE_ID.fullmatch(text)
    return found is not None and int(found[1] or 0) < _UINT16 and int(found[2] or 0) < _UINT32


driver: Final = Driver(
    options=Options,
    address=Address,
    source=opened_by("bridge.drivers.opcua.source:OpcuaSource"),
    archive=opened_by("bridge.drivers.opcua.history_archive:OpcuaArchive"),
    probe=opened_by("bridge.drivers.opcua.probe:probe"),
    browse=opened_by("bridge.drivers.opcua.browse:browse"),
    interval=lambda connection: cast(Options, connection.options).sampling_interval or None,
    check_tags=check_node_ids,
)
