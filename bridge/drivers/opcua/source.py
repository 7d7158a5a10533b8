"""The live source over one OPC UA subscription; `bridge.drivers.opcua.driver` is its manual."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.addresses import parse
from bridge.drivers.opcua.channels import channel_of
from bridge.drivers.opcua.client import (
    FAILURES,
    LoginRefused,
    SessionLost,
    Unreachable,
    disconnect,
    not_connected,
    opened,
)
from bridge.drivers.opcua.columns import columns_of, joined
from bridge.drivers.opcua.driver import Options, check_addresses
from bridge.drivers.opcua.history_missed import read_missed
from bridge.drivers.opcua.link import HEALTHY, Link, Setup
from bridge.drivers.opcua.login import LoginGuard
from bridge.drivers.opcua.messages import Message
from bridge.drivers.opcua.reach import wait_for_port
from bridge.drivers.opcua.saved import Saved, SavedFile
from bridge.drivers.opcua.subscriptions import Subscriptions
from bridge.drivers.opcua.upkeep import Upkeep
from bridge.drivers.opcua.values import RowMaker, bad_rows
from bridge.drivers.protocols import Page
from bridge.drivers.raw_rows import RawRows
from bridge.drivers.raw_rows import joined as joined_rows
from historian.errors import NotConnected
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.times import micros, utc_now

RESPONSES: Final = 64
"""Largest number of publish responses in memory. At this number, none is requested until the runner has read."""
EVERY_S: Final = 0.5
"""Shortest time between two reads: what arrives in it is decoded, checked and made durable together."""
RETRY_S: Final = 0.25
"""Seconds between two attempts to resume."""
FAILOVER_S: Final = 5.0
"""Seconds for which a session is resumed before another server is used, where there is one."""

log = get_logger(__name__)


class OpcuaSource:
    """A `Source` over one session and one subscription, which outlive their connection."""

    def __init__(self, connection: ConnectionConfig, *, upkeep_s: float = 60.0) -> None:
        """Check the addresses. Raises `ConfigError` for those that are neither node ids nor paths.

        Args:
            connection: the source.
            upkeep_s: how often refused nodes, certificates, clock and service level are looked at.
        """
        check_addresses(connection)
        options = self._options = Options.model_validate(connection.options)
        self._name = connection.name
        self._channels = [channel_of(tag, options) for tag in connection.tags]
        addresses = [parse(tag.address) for tag in connection.tags]
        self._setup = Setup(options, connection.root, self._channels, addresses)
        self._file = SavedFile(connection.state, connection.name)
        self._maker = RowMaker(self._channels)
        self._login = LoginGuard(options, connection.root)
        self._link: Link | None = None
        self._links = 0
        self._upkeep = Upkeep(self._name, self._setup, self, self._maker, every_s=upkeep_s)
        self._first = RawRows()
        self._taken: Sequence[Message] = ()
        self._unreachable = False
        self._attempt: tuple[int, float] = (-1, 0.0)
        """Number of responses when resuming began, and when that was."""
        self._subscriptions = Subscriptions(self._name, options)
        self._changing = asyncio.Lock()
        """Held while the link is resumed or exchanged."""

    async def connect(self) -> None:
        """See `Source.connect`."""
        self._login.check(utc_now())
        self._unreachable, self._taken, self._first = False, (), RawRows()
        self._mailbox = self._new_mailbox()
        try:
            self._link = await self._resumed_run() or await self._new_link()
        except LoginRefused as error:
            raise self._login.refused(error, utc_now()) from None
        except Unreachable:
            self._unreachable = True
            raise
        self._maker.name_states(self._link.texts)
        self._maker.heartbeats.margin_us = int(2_000 * self._link.items.publishing_ms)
        self._file.write(self._link.saved())
        self._subscriptions.report(self._link)
        self._upkeep.start()

    async def read(self) -> RawRows:
        """See `Source.read`."""
        if not self._first.is_empty:
            first, self._first = self._first, RawRows()
            return first
        for link in self._upkeep.links():
            link.publishing.acknowledge(self._taken)
        self._taken = ()  # or an interruption would acknowledge them twice
        while True:
            try:
                taken = await self._mailbox.take(check=self._why_closed, every_s=EVERY_S)
            except NotConnected as lost:
                async with self._changing:
                    await self._resume(lost)
                continue
            rows = await asyncio.to_thread(self._decoded, taken)
            self._taken = (*self._taken, *taken)
            if not rows.is_empty:
                return rows

    def heard_at(self) -> datetime | None:
        """See `Audible.heard_at`."""
        return self._mailbox.heard_at if self._link is not None else None

    def complete_tags(self) -> Collection[str]:
        """See `ReportsEveryChange.complete_tags`: the tags that the server does not sample."""
        return self._link.items.unsampled() if self._link is not None else ()

    async def wait_reachable(self, within_s: float) -> None:
        """See `AwaitsReturn.wait_reachable`."""
        waiting = self._wait_for_any() if self._unreachable else asyncio.sleep(within_s)
        try:
            async with asyncio.timeout(within_s):
                await waiting
        except TimeoutError:
            pass

    def troubles(self) -> Sequence[str]:
        """See `ReportsTroubles.troubles`."""
        return self._upkeep.troubles(utc_now())

    def clock_ahead(self) -> timedelta | None:
        """See `ReportsTroubles.clock_ahead`."""
        return self._upkeep.clock_ahead

    @property
    def longest_outage(self) -> timedelta:
        """See `KeepsHistory.longest_outage`."""
        return self._options.fill_outages

    @property
    def history_lag(self) -> timedelta:
        """See `KeepsHistory.history_lag`."""
        return self._options.history_lag

    async def read_missed(
        self, start: datetime, end: datetime, take: Callable[[Page], Awaitable[None]]
    ) -> Collection[str]:
        """See `KeepsHistory.read_missed`."""
        link = self.link
        try:
            return await read_missed(link, self._channels, (start, end), take, page=self._options.history_page)
        except FAILURES as error:
            raise not_connected(link.url, error) from None

    async def close(self) -> None:
        """See `Source.close`."""
        await self._upkeep.stop()
        link, self._link = self._link, None
        if link is None:
            return
        if link.is_up:
            await link.close()
            self._file.forget()
        else:
            await link.drop()

    @property
    def link(self) -> Link:
        """The link in use. Raises `ConnectionError` while there is none."""
        if self._link is None:
            raise ConnectionError("there is no connection")
        return self._link

    async def switch(self, url: str) -> Link:
        """Subscribe over a second session, and use it from now on; return the one in use before.

        Nothing is lost: the old one is read until the new one reports.
        """
        async with self._changing:
            new = self._numbered(url)
            try:
                await new.connect()
                await new.subscribe(self._mailbox)
            except BaseException:
                new.retire()
                await new.close()
                raise
            old, self._link = self.link, new
            old.retire()
            self._file.write(new.saved())
            return old

    async def _resumed_run(self) -> Link | None:
        """Resume the session that an earlier run or connection has left at the server, if it is still there."""
        saved = self._file.read()
        if saved is None or saved.url not in self._options.urls:
            return None
        link = self._numbered(saved.url)
        self._file.forget()
        try:
            if saved.wanted != self._setup.wanted:
                await self._release(saved)
                return None
            await link.resume(self._mailbox, saved)
            present = await link.present_values()
        except (SessionLost, *FAILURES) as error:
            await link.close()
            log.info("the session of the last connection is gone", source=self._name, reason=str(error))
            return None
        except NotConnected:
            self._file.write(saved)
            raise
        received = np.full(len(present.handle), micros(utc_now()))
        self._first = self._maker.rows(present, received)
        log.info("resumed the session of the last connection", source=self._name)
        return link

    async def _release(self, saved: Saved) -> None:
        """Close a session whose subscription is of no use, so that the server has room for a new one."""
        one = await opened(self._options, saved.url, self._setup.root, saved.former)
        await disconnect(one.client)

    async def _new_link(self) -> Link:
        """Return a new link with the server that can do its work best."""
        best, level, failures = None, -1, list[NotConnected]()
        for url in self._options.urls:
            link = self._numbered(url)
            try:
                await link.connect()
                its = await link.service_level() if self._options.standby else HEALTHY
            except LoginRefused:
                raise
            except (NotConnected, *FAILURES) as error:
                failures.append(error if isinstance(error, NotConnected) else NotConnected(str(error)))
                await link.close()
                continue
            worse, best, level = (best, link, its) if its > level else (link, best, level)
            if worse is not None:
                await worse.close()
            if level >= HEALTHY:
                break
        if best is None:
            raise failures[0] if len(failures) == 1 else NotConnected("; ".join(map(str, failures)))
        return await self._subscribed(best)

    async def _subscribed(self, link: Link) -> Link:
        try:
            await link.subscribe(self._mailbox)
        except BaseException:
            await link.close()
            raise
        refused = [(self._channels[n].tag, link.items.results[n].StatusCode.value) for n in link.items.refused()]
        self._first = bad_rows(refused, at=utc_now())
        return link

    async def _resume(self, lost: NotConnected) -> None:
        """Continue the interrupted session. Raises `NotConnected` if that is not possible, or not in time."""
        link, began = self.link, self._resuming_since()
        if link.publishing.ended or not self._options.resume:
            raise lost
        log.warning("interrupted; resuming the session", source=self._name, reason=str(lost))
        self._upkeep.interrupted = str(lost)
        await link.drop()
        self._mailbox, limit_s, reason = self._new_mailbox(), self._resume_limit_s(), str(lost)
        while (silent_s := time.monotonic() - began) < limit_s:
            try:
                await link.resume(self._mailbox)
            except LoginRefused as error:
                raise self._login.refused(error, utc_now()) from None
            except SessionLost as error:
                self._file.forget()
                raise NotConnected(f"{lost}; {error}, so what changed meanwhile is lost") from None
            except (NotConnected, *FAILURES) as error:
                reason = str(error)
                await link.drop()
                await asyncio.sleep(RETRY_S)
                continue
            self._file.write(link.saved())
            self._upkeep.interrupted = ""
            log.info(
                "resumed the session; what the server has kept arrives late",
                source=self._name,
                after_s=round(silent_s, 1),
            )
            return
        raise NotConnected(f"{lost}; its session could not be resumed within {limit_s:g} s ({reason})")

    def _resuming_since(self) -> float:
        """Return when resuming began: before the last attempt, if nothing has been received since."""
        received = self.link.publishing.received
        if received != self._attempt[0]:
            self._attempt = received, time.monotonic()
        return self._attempt[1]

    def _resume_limit_s(self) -> float:
        limit_s = self._options.resume.total_seconds()
        return min(limit_s, FAILOVER_S) if self._options.standby else limit_s

    def _numbered(self, url: str) -> Link:
        self._links += 1
        return Link(self._setup, url, self._links)

    def _new_mailbox(self) -> Mailbox[Message]:
        peer = self._link.url if self._link is not None else self._options.endpoint
        return Mailbox(RESPONSES, peer=peer, silence_s=self._options.silence.total_seconds())

    def _why_closed(self) -> str:
        return "" if self._link is not None and self._link.is_up else "the server closed the connection"

    async def _wait_for_any(self) -> None:
        waiting = [asyncio.ensure_future(wait_for_port(url)) for url in self._options.urls]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    def _decoded(self, messages: Sequence[Message]) -> RawRows:
        try:
            found = [columns_of(message) for message in messages]
        except Exception as error:  # noqa: BLE001 - whatever asyncua raises for bytes that it cannot decode
            lost = f"lost {self._options.endpoint}: a publish response cannot be decoded"
            raise NotConnected(f"{lost} ({type(error).__name__}: {error})") from None
        for _, ended in found:
            if ended:
                self.link.publishing.ended = True
                self._mailbox.fail(f"the server ended the subscription ({ended})")
        counts = [len(columns.handle) for columns, _ in found]
        received = np.repeat([micros(message.received) for message in messages], counts)
        rows = self._maker.rows(joined([columns for columns, _ in found]), received)
        repeats = self._maker.heartbeats.due(micros(messages[-1].received))
        return joined_rows(rows, RawRows(repeats)) if repeats.height else rows
