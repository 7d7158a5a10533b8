"""What is looked after while a source streams: refused nodes, certificates, the server's clock, its service level."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from bridge.drivers.certificates import expiry_notice, read_certificates
from bridge.drivers.opcua.client import FAILURES
from bridge.drivers.opcua.link import HEALTHY, Link, Setup
from bridge.drivers.opcua.security import identity_files
from bridge.drivers.opcua.values import RowMaker
from historian.errors import HistorianError, NotConnected
from historian.logs import get_logger
from historian.times import utc_now

NAMED: Final = 10
"""Number of tags that a message names."""
CLOCK_OFF: Final = timedelta(seconds=30)
"""Difference between the server's clock and ours from which it is reported."""
DRAIN_S: Final = 2.0
"""Seconds for which an old link is still read, in addition to two publishing intervals."""

log = get_logger(__name__)


class Linked(Protocol):
    """A source whose link can be exchanged."""

    @property
    def link(self) -> Link:
        """The link in use."""
        ...

    async def switch(self, url: str) -> Link:
        """Use a new link from now on; return the old one, which is still read."""
        ...


class Upkeep:
    """Looks after one source, now and then."""

    def __init__(self, name: str, setup: Setup, source: Linked, maker: RowMaker, *, every_s: float) -> None:
        self.clock_ahead: timedelta | None = None
        """By how much the server's clock is ahead of ours; None while that is not known."""
        self.interrupted = ""
        """Why the connection is interrupted, while its session is being resumed."""
        self._name = name
        self._setup = setup
        self._source = source
        self._maker = maker
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._old: Link | None = None
        self._files = list[tuple[Path, int]]()
        self._rotation = ""
        """Why the connection still has our old certificate, although there is a new one."""
        self._said: set[str] = set()

    def links(self) -> list[Link]:
        """Return the link in use, and the one before while it is still read."""
        return [self._source.link, *([self._old] if self._old is not None else [])]

    def start(self) -> None:
        """Begin, once the source is connected."""
        self.interrupted, self._rotation, self._files = "", "", self._stamps()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; an old link is closed."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._close_old()

    def troubles(self, now: datetime) -> list[str]:
        """Return what a person should look into, a sentence each."""
        found = [f"interrupted, the session is being resumed: {self.interrupted}"] if self.interrupted else []
        found += [self._rotation] if self._rotation else []
        found += self._notices(now)
        with suppress(ConnectionError):
            found += [f"{_some(tags)}: {reason}" for reason, tags in self._source.link.items.reasons().items()]
        clocks, channels = self._maker.clocks, self._setup.channels
        for numbers, what in ((clocks.frozen(), "its clock stands still"), (clocks.absurd(), "its clock is absurd")):
            if len(numbers):
                found.append(f"{_some([channels[n].tag for n in numbers])}: {what}; another clock stamps its values")
        if self.clock_ahead is not None and abs(self.clock_ahead) > CLOCK_OFF:
            found.append(f"the server's clock is {self.clock_ahead.total_seconds():+.1f} s ahead of ours")
        return found

    async def _run(self) -> None:
        due: tuple[Callable[[], Awaitable[None]], ...] = (self._clock,)
        while True:
            for work in due:
                try:
                    await work()
                except (HistorianError, *FAILURES) as error:  # a lost connection is the reader's to notice
                    log.debug("upkeep failed", source=self._name, reason=str(error))
            self._say(self.troubles(utc_now()))
            await asyncio.sleep(self._every_s)
            due = (self._clock, self._refused, self._renewed, self._better)

    async def _clock(self) -> None:
        before = utc_now()
        said = await self._source.link.server_time()
        if isinstance(said, datetime):
            middle = before + (utc_now() - before) / 2
            self.clock_ahead = (said if said.tzinfo else said.replace(tzinfo=UTC)) - middle
            self._maker.heartbeats.clock_lag_us = -(self.clock_ahead // timedelta(microseconds=1))

    async def _refused(self) -> None:
        if there := await self._source.link.retry_refused():
            log.info("nodes are there now", source=self._name, tags=sorted(there)[:NAMED], number=len(there))

    async def _renewed(self) -> None:
        """Connect with certificates that were replaced, before the connection with the old ones is closed."""
        stamps = self._stamps()
        if stamps == self._files:
            return
        self._files = stamps
        try:
            await self._switch(self._source.link.url)
        except NotConnected as error:
            self._rotation = f"our new certificate cannot be used yet, and the old one still is: {error}"
            self._files = []  # to be tried again
        else:
            self._rotation = ""
            log.info("connected with our new certificate", source=self._name)

    async def _better(self) -> None:
        """Use another server, if this one cannot do its work as well."""
        link = self._source.link
        if not self._setup.options.standby or (level := await link.service_level()) >= HEALTHY:
            return
        for url in self._setup.options.urls:
            if url != link.url and await self._level(url) > level:
                log.warning("another server is better", source=self._name, server=url, service_level=level)
                await self._switch(url)
                return

    async def _level(self, url: str) -> int:
        other = Link(self._setup, url, 0)
        try:
            await other.connect()
            return await other.service_level()
        except (NotConnected, *FAILURES):
            return -1
        finally:
            await other.close()

    async def _switch(self, url: str) -> None:
        await self._close_old()
        self._old = await self._source.switch(url)
        await asyncio.sleep(DRAIN_S + self._old.items.publishing_ms / 500)
        await self._close_old()

    async def _close_old(self) -> None:
        old, self._old = self._old, None
        if old is not None:
            await old.close()

    def _stamps(self) -> list[tuple[Path, int]]:
        """Return when each file of our own certificates was replaced last."""
        files = identity_files(self._setup.options, self._setup.root)
        return [(file, file.stat().st_mtime_ns) for file in files if file.exists()]

    def _notices(self, now: datetime) -> list[str]:
        """Return which certificates expire soon."""
        held = []
        for file, _ in self._stamps():
            with suppress(OSError, ValueError):  # connecting reports a file that cannot be read
                held.append((read_certificates(file.read_bytes())[0], f"our certificate {file.name}"))
        with suppress(ConnectionError):
            server = self._source.link.opened.certificate
            held += [(server, "the server's certificate")] if server is not None else []
        return [text for each, owner in held if (text := expiry_notice(each, owner, now))]

    def _say(self, troubles: Sequence[str]) -> None:
        for text in troubles:
            if text not in self._said:
                log.warning(text, source=self._name)
        self._said = set(troubles)


def _some(tags: Sequence[str]) -> str:
    more = f" and {len(tags) - NAMED} more" if len(tags) > NAMED else ""
    return ", ".join(tags[:NAMED]) + more
