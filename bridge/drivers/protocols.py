"""The protocols of drivers: live sources, archives, and how each is created.

A driver is a module, or a folder of modules, with one `Driver` registered under the entry-point group
`penstock.drivers`; it may be both source and archive.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel

from bridge.drivers.discovery import Browse, Events, Probe
from historian.errors import ConfigError
from historian.plant.connections import ConnectionConfig, Section

if TYPE_CHECKING:
    import polars as pl

    from bridge.drivers.raw_rows import RawRows


class Source(Protocol):
    """A live connection to a device or server; read-only towards the plant.

    The runner calls `connect` until it succeeds, then `read` until it raises `NotConnected` (connect again) or
    `EndOfInput` (stop), and always `close` in between.
    """

    async def connect(self) -> None:
        """Open the connection. Raises `NotConnected` if that cannot be done now."""

    async def read(self) -> RawRows:
        """Wait for the next raw rows, in any order; repeats are allowed.

        Calling it again confirms that all rows returned earlier are durable.
        """
        ...

    async def close(self) -> None:
        """Release the connection; may be called twice."""


@runtime_checkable
class Audible(Protocol):
    """A source that receives more than samples: keep-alives, responses without changes."""

    def heard_at(self) -> datetime | None:
        """Return when anything last arrived from the other side; None before the first time."""
        ...


@runtime_checkable
class AwaitsReturn(Protocol):
    """A source that notices when its other side is back, so that no back-off delays the next connection."""

    async def wait_reachable(self, within_s: float) -> None:
        """Wait after a failed connection; return early if the other side was away and can be reached again.

        Args:
            within_s: longest time to wait, in seconds.
        """


@runtime_checkable
class ReportsTroubles(Protocol):
    """A source that knows of more than whether it is connected: certificates, refused nodes, clocks."""

    def troubles(self) -> Sequence[str]:
        """Return what a person should look into, a sentence each; empty if there is nothing."""
        ...

    def clock_ahead(self) -> timedelta | None:
        """Return by how much the other side's clock is ahead of ours; None if it is not known."""
        ...


@runtime_checkable
class ReportsEveryChange(Protocol):
    """A source that reports every change of some tags, so that a session covers the time between their samples.

    Any other source is polled, sampled or lossy: what happened between two of its samples is unknown.
    """

    def complete_tags(self) -> Collection[str]:
        """Return the tags for which this connection reports every change, in order; known after `connect`."""
        ...


@dataclass(frozen=True)
class Page:
    """A bounded piece of an archive's answer."""

    rows: RawRows
    """Raw rows, as a source's `read` returns them."""
    origin: str
    """Where the rows came from, for messages: a file, a table, a request."""
    rejected: pl.DataFrame | None = None
    """Rows that cannot be samples or stretches, columns of `REJECTED` without those that do not apply; they go to
    quarantine."""


@runtime_checkable
class KeepsHistory(Protocol):
    """A source whose other side remembers values, so that those of an outage can be read after it."""

    @property
    def longest_outage(self) -> timedelta:
        """Longest outage that is to be filled; zero for none."""
        ...

    @property
    def history_lag(self) -> timedelta:
        """How long after its time a value is sure to be in the history."""
        ...

    async def read_missed(
        self, start: datetime, end: datetime, take: Callable[[Page], Awaitable[None]]
    ) -> Collection[str]:
        """Read the samples with start <= timestamp < end from the history, while live ones are read too.

        Args:
            start: the first instant.
            end: the first instant after the range.
            take: called with each page.

        Returns:
            The tags whose history has been read completely; those without one, or with a failure, are left out.

        Raises:
            NotConnected: the connection is lost.
        """
        ...


Extent = tuple[datetime, datetime]
"""A half-open range of time."""


class Archive(Protocol):
    """A legacy historian, or a folder of files, that can be read by time range.

    The runner calls `open` first and `close` last. Whenever a call raises `NotConnected`, the runner closes, waits, and
    opens again, as it does for live sources. Blocking work belongs in a thread.
    """

    async def open(self) -> None:
        """Connect. Raises `NotConnected` if that cannot be done now."""

    async def extents(self) -> Mapping[str, Extent]:
        """Return for each tag a range outside which it has no samples; tags without samples are absent.

        Raises:
            SourceError: the archive cannot be read at all. `read` reports problems with parts of it.
        """
        ...

    def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """Yield pages of the samples with start <= timestamp < end, in any order.

        Raises:
            TagsNotRead: some tags could not be read; everything of the others has been yielded, and is covered.
            SourceError: something could not be read; everything readable has been yielded before.
        """
        ...

    async def close(self) -> None:
        """Release the connection; may be called twice."""


@runtime_checkable
class ProposesSlices(Protocol):
    """An archive that knows in which slices of time it is best read.

    A backfill reads any other archive in up to 64 slices of equal length.
    """

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """Return where slices of start <= t < end should begin, in order; known after `open`.

        A slice ends where the next one begins, and the first one begins at `start` in any case. An interruption costs
        the slice that was being read. If empty, the slices are of equal length.

        Raises:
            SourceError: the archive cannot be read at all.
        """
        ...


@runtime_checkable
class ReportsProblems(Protocol):
    """An archive of which parts may be unreadable in every range: a damaged file, a tag that is nowhere."""

    async def problems(self) -> Sequence[str]:
        """Return what cannot be read and why, a line each; known after `extents`.

        `extents` and `read` leave these parts out, so that they hold up nothing else. They are reported by every
        backfill until they are mended; then `--again` reads what they had.

        Raises:
            SourceError: the archive cannot be read at all.
        """
        ...


@runtime_checkable
class ReadsConcurrently(Protocol):
    """An archive that may serve several reads at the same time, over one `open`."""

    def concurrent_reads(self) -> int:
        """Return the largest number of reads that may run at the same time; of any other archive it is one."""
        ...


@runtime_checkable
class LearnsByReading(Protocol):
    """An archive that is outlined by a glance at its parts, and known exactly once these have been read.

    A backfill of its whole time calls `outlook` in place of `extents`, so that nothing is read twice. Rows outside what
    `outlook` returned are yielded by the read that finds them, whatever its range.
    """

    async def outlook(self) -> Mapping[str, Extent]:
        """Return what `extents` returns, as far as a glance shows it."""
        ...

    def unseen(self, tags: Collection[str]) -> Collection[str]:
        """Return those of `tags` that no part which has been looked at or read so far has.

        Time does not count as covered for them: they may be nowhere, because an address is wrong.
        """
        ...


@dataclass(frozen=True)
class Driver:
    """What a driver module registers; a `DriverSpec`.

    At least one of `source` and `archive` is set. Both raise `ConfigError` for tags they cannot provide, and connect to
    nothing. Use `opened_by` for one that is expensive to import.
    """

    options: type[BaseModel]
    """The keys the driver takes in its table of `plant.toml`."""
    address: type[BaseModel]
    """The columns the driver adds to the tag list."""
    source: Callable[[ConnectionConfig], Source] | None = None
    archive: Callable[[ConnectionConfig], Archive] | None = None
    probe: Probe | None = None
    """Asks the other side about itself; None if the driver cannot."""
    browse: Browse | None = None
    """Lists the variables of the other side, or the tags of a historian; None if it has no list of them."""
    events: Events | None = None
    """Returns event frames, alarms and annotations of a historian; None if it has none, or they cannot be read."""
    interval: Callable[[ConnectionConfig], timedelta | None] | None = None
    """Returns the time between samples of a process tag as configured, or None if it is up to the other side."""
    check_tags: Callable[[ConnectionConfig], None] | None = None
    """Raises `ConfigError` with every problem of the tags; if None, a source or archive is created to check them."""

    def offers(self, section: Section) -> bool:
        """See `DriverSpec.offers`."""
        return (self.source if section == "sources" else self.archive) is not None

    def check(self, connection: ConnectionConfig, section: Section) -> None:
        """See `DriverSpec.check`."""
        if self.check_tags is not None:
            self.check_tags(connection)
        else:
            (open_source if section == "sources" else open_archive)(connection)


def opened_by(reference: str) -> Callable[..., Any]:
    """Return a function that calls the class or function `module:attribute`, which is imported only then.

    A plant file is checked by every command, and most need no protocol library (docs/decisions/0005).
    """

    def make(*arguments: Any) -> Any:
        module, _, attribute = reference.partition(":")
        return getattr(import_module(module), attribute)(*arguments)

    return make


def open_source(connection: ConnectionConfig) -> Source:
    """Create the live source of a connection, not connected yet.

    Raises:
        ConfigError: the driver has no live source, its tags or options cannot work, or a variable is not set.
    """
    connection.check_variables()
    driver = connection.driver
    if not isinstance(driver, Driver) or driver.source is None:
        raise ConfigError(f"the driver of {connection.name} reads archives; it cannot stream")
    return driver.source(connection)


def open_archive(connection: ConnectionConfig) -> Archive:
    """Create the archive of a connection, not opened yet.

    Raises:
        ConfigError: the driver has no archive, its tags or options cannot work, or a variable is not set.
    """
    connection.check_variables()
    driver = connection.driver
    if not isinstance(driver, Driver) or driver.archive is None:
        raise ConfigError(f"the driver of {connection.name} reads live sources; it cannot backfill")
    return driver.archive(connection)
