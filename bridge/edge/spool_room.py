"""How much the spool may hold of a source, what happens when it is full, and how long the room lasts.

`refuse-new` stops reading until a sink has made room: nothing is lost here, and a source that keeps history or has a
queue can still give what it has. `discard-oldest` keeps reading and gives up the oldest batches, which are counted by
sink. Both bounds are of one source, so that none takes the room of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bridge.edge.database import Edge
from bridge.edge.spool_rows import delete_rows
from historian.errors import SpoolFull
from historian.logs import get_logger
from historian.plant.model import SpoolBounds
from historian.times import from_micros, micros

_PAUSE: Final = 60_000_000
"""Microseconds after which nothing came because nobody read: such pauses do not count towards a rate."""
_DAY: Final = 86_400_000_000
_MICROSECOND: Final = timedelta(microseconds=1)

log = get_logger(__name__)


class Rate(NamedTuple):
    """Bytes that a source brought while it was read, within a day at most; times in microseconds since the epoch."""

    size: int
    since: int
    until: int

    @property
    def per_s(self) -> float | None:
        """Bytes per second; None until a minute is known."""
        passed = self.until - self.since
        return self.size / passed * 1e6 if passed >= _PAUSE else None

    def plus(self, size: int, at: int) -> Rate:
        """Return the rate with so many more bytes that came at an instant."""
        passed = at - self.until
        since = self.since + (passed if not 0 <= passed <= _PAUSE else 0)
        if at - since > _DAY:  # the older half of a day counts half
            return Rate(self.size // 2 + size, at - (at - since) // 2, at)
        return Rate(self.size + size, since, at)


class Room:
    """The room for the batches of each source."""

    def __init__(self, edge: Edge, bounds: SpoolBounds) -> None:
        self._edge = edge
        self._bounds = bounds
        self._discarding: set[str] = set()

    def check(self, source: str, size: int, now: datetime) -> None:
        """Check that so many bytes of a source may be added.

        Raises:
            SpoolFull: they may not, because of their number or of the age of the oldest batch; the message says which.
        """
        if self._bounds.when_full == "refuse-new" and (reason := self._excess(source, size, now)):
            raise SpoolFull(f"{reason}; it drains as soon as the store can be written")

    def make(self, source: str, size: int, now: datetime) -> None:
        """Check as `check` does or, with `discard-oldest`, discard until there is room; in the caller's transaction."""
        self.check(source, size, now)
        if not (reason := self._excess(source, size, now)):
            self._discarding.discard(source)
            return
        count = self._discard(source, self._last_to_discard(source, size, now))
        if source not in self._discarding:
            log.warning("the oldest samples are discarded", source=source, reason=reason, first_batches_with=count)
        self._discarding.add(source)

    def lasts(self, estimated: Mapping[str, float], *, now: datetime) -> dict[str, Lasting]:
        """Return how long the room of each source lasts.

        Args:
            estimated: source -> bytes per second, used while none are measured.
            now: the time.
        """
        known = {
            source: (taken, Rate(size, since, until))
            for source, taken, size, since, until in self._edge.rows(
                "SELECT source, bytes, rate_bytes, rate_since, last_accepted_at FROM spool_totals "
                "WHERE rate_since IS NOT NULL"
            )
        }
        nothing = 0, Rate(0, 0, 0)
        return {
            source: self._lasting(source, *known.get(source, nothing), each, now) for source, each in estimated.items()
        }

    def _lasting(self, source: str, taken: int, rate: Rate, estimated: float, now: datetime) -> Lasting:
        per_s, most = rate.per_s or estimated, timedelta(days=36_500)
        left = max(self._bounds.max_size - taken, 0)
        lasts = min(timedelta(seconds=min(left / per_s, most.total_seconds())), most) if per_s else most
        if self._bounds.max_age is not None:
            oldest = self._oldest(source)
            waited = max(now - from_micros(oldest), timedelta(0)) if oldest is not None else timedelta(0)
            lasts = min(lasts, max(self._bounds.max_age - waited, timedelta(0)))
        return Lasting(lasts, per_s, is_measured=rate.per_s is not None)

    def _excess(self, source: str, size: int, now: datetime) -> str:
        """Return why so many bytes of a source exceed a bound; an empty string if they do not."""
        found = self._edge.rows("SELECT bytes FROM spool_totals WHERE source = ?", [source])
        taken = int(found[0][0]) if found else 0
        # An empty spool accepts a batch larger than the bound: refusing it for ever would stop the source.
        if taken and taken + size > self._bounds.max_size:
            return f"the spool holds {taken:,} bytes of {source} and may hold {self._bounds.max_size:,}"
        oldest = self._oldest(source) if self._bounds.max_age is not None else None
        if oldest is not None and oldest < self._earliest(now):
            return f"the spool holds batches of {source} since {from_micros(oldest):%Y-%m-%d %H:%M:%S} UTC, max_age ago"
        return ""

    def _earliest(self, now: datetime) -> int:
        """Return the earliest time of acceptance that `max_age` allows, in microseconds since the epoch."""
        return micros(now - self._bounds.max_age) if self._bounds.max_age is not None else 0

    def _oldest(self, source: str) -> int | None:
        found = self._edge.rows("SELECT accepted_at FROM spool WHERE source = ? ORDER BY id LIMIT 1", [source])
        return int(found[0][0]) if found else None

    def _last_to_discard(self, source: str, size: int, now: datetime) -> int:
        """Return the id up to which rows must go."""
        [(taken,)] = self._edge.rows("SELECT bytes FROM spool_totals WHERE source = ?", [source])
        excess, earliest, last = taken + size - self._bounds.max_size, self._earliest(now), 0
        with self._edge.transaction() as database:
            rows = database.execute("SELECT id, size, accepted_at FROM spool WHERE source = ? ORDER BY id", [source])
            for number, freed, accepted_at in rows:
                if excess <= 0 and accepted_at >= earliest:
                    break
                last, excess = number, excess - freed
            rows.close()
        return last

    def _discard(self, source: str, last: int) -> int:
        """Delete rows up to an id, and count them for each sink that has not had them; return how many there were."""
        with self._edge.transaction() as database:
            [(count,)] = self._edge.rows("SELECT count(*) FROM spool WHERE source = ? AND id <= ?", (source, last))
            database.execute(
                "INSERT OR IGNORE INTO cursors SELECT name, source, 0, accepted - rows, 0, 0 FROM sinks, spool_totals "
                "WHERE source = ?",
                [source],
            )
            database.execute(
                "UPDATE cursors SET (delivered, discarded, discarded_to) = ("
                "SELECT delivered + coalesce(sum(rows), 0), discarded + coalesce(sum(rows), 0), "
                "max(discarded_to, coalesce(max(id), 0)) "
                "FROM spool s WHERE s.source = cursors.source AND id <= ? AND id > cursors.position) WHERE source = ?",
                (last, source),
            )
            delete_rows(self._edge, source, last)
        return int(count)


class Lasting(NamedTuple):
    """How long the room of a source lasts while no sink takes anything."""

    time: timedelta
    bytes_per_s: float
    is_measured: bool
    """Whether the rate is that of the last day of reading; otherwise it is the estimate."""
