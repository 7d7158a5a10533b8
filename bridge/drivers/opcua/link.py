"""One session with one server and its subscription: made, resumed over a new connection, and closed.

A link outlives its connection: as long as the server keeps the session, `resume` continues it where it was interrupted,
and what the server has queued meanwhile arrives late instead of never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from asyncua import ua

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.addresses import NodeAddress
from bridge.drivers.opcua.client import (
    ABANDONED_S,
    FAILURES,
    Opened,
    abandon,
    attributes,
    disconnect,
    in_parts,
    keep_channel,
    not_connected,
    opened,
    per_call,
)
from bridge.drivers.opcua.columns import Columns, columns_of_values
from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.enumerations import Texts, enumeration_texts
from bridge.drivers.opcua.items import Creation, Items, read_value
from bridge.drivers.opcua.messages import Message
from bridge.drivers.opcua.nodes import Place, resolved
from bridge.drivers.opcua.profiles import GENERIC, Profile, profile_of
from bridge.drivers.opcua.publishing import Publishing
from bridge.drivers.opcua.saved import Saved, granted, wanted_hash
from bridge.drivers.opcua.values import Channel
from historian.quality import BAD

HEALTHY: Final = 200
"""Lowest service level of a server that does all it should (OPC UA Part 4, 6.6.2)."""
_ITEMS_LIMIT: Final = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
_READ_LIMIT: Final = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
_BUILD: Final = (
    ua.ObjectIds.Server_ServerStatus_BuildInfo_ManufacturerName,
    ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName,
    ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductUri,
)


@dataclass(frozen=True)
class Setup:
    """What all links of a source have in common."""

    options: Options
    root: Path
    channels: Sequence[Channel]
    addresses: Sequence[NodeAddress]

    @property
    def wanted(self) -> str:
        """Hash of what is subscribed to."""
        return wanted_hash(self.options, [*self.channels, *self.addresses])

    @property
    def has_heartbeats(self) -> bool:
        """Whether keep-alives are of interest."""
        return any(channel.heartbeat_us for channel in self.channels)


class Link:
    """A session and a subscription, whose messages go to a mailbox."""

    def __init__(self, setup: Setup, url: str, number: int) -> None:
        """Name the server; nothing is sent.

        Args:
            setup: what to subscribe to.
            url: the server.
            number: which its messages have.
        """
        self.url = url
        self.profile: Profile = GENERIC
        self.items = Items(setup.channels, [], [], 0.0)
        self.texts: dict[int, Texts] = {}
        self.unfiltered: list[str] = []
        """Tags whose filter the server refuses."""
        self.silence_s = setup.options.silence.total_seconds()
        self._setup = setup
        self._number = number
        self._subscription = 0
        self._opened: Opened | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._publishing: Publishing | None = None

    @property
    def opened(self) -> Opened:
        """The open session."""
        if self._opened is None:
            raise ConnectionError("the connection is not open")
        return self._opened

    @property
    def publishing(self) -> Publishing:
        """The requests for messages."""
        if self._publishing is None:
            raise ConnectionError("there is no subscription")
        return self._publishing

    @property
    def is_up(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._opened is not None and self._opened.is_up

    async def connect(self) -> None:
        """Open a session. Raises `NotConnected` if that cannot be done now."""
        self._opened = await opened(self._setup.options, self.url, self._setup.root)

    async def service_level(self) -> int:
        """Return how well the server can do its work, from 0 to 255; 255 if it does not say."""
        level = (await self._values([ua.ObjectIds.Server_ServiceLevel]))[0]
        return level if isinstance(level, int) else 255

    async def server_time(self) -> object:
        """Return the server's clock, a datetime if it has one."""
        return (await self._values([ua.ObjectIds.Server_ServerStatus_CurrentTime]))[0]

    async def subscribe(self, mailbox: Mailbox[Message]) -> None:
        """Subscribe to every node. Raises `NotConnected` if the server does not let us."""
        try:
            await self._prepare()
            publishing = self._publishing = self._new_publishing(mailbox)
            created = await publishing.subscribe(_subscription(self._setup.options, self.profile))
            self._subscription = created.SubscriptionId
            period_s = created.RevisedPublishingInterval / 1000 * created.RevisedMaxKeepAliveCount
            self.silence_s = max(self._setup.options.silence.total_seconds(), 1.5 * period_s)
            self._start(mailbox)
            numbers = range(len(self._setup.channels))
            creation, places = await self._creation(), self.items.places
            results, self.unfiltered = await creation.create(numbers, places, self._setup.channels)
        except FAILURES as error:
            raise not_connected(self.url, error) from None
        self.items = Items(self._setup.channels, places, results, created.RevisedPublishingInterval)

    async def resume(self, mailbox: Mailbox[Message], saved: Saved | None = None) -> None:
        """Continue the session over a new connection, where it was interrupted.

        Args:
            mailbox: where messages go from now on.
            saved: the session of an earlier run; None for this link's own.

        Raises:
            SessionLost: the server does not resume it.
            NotConnected: the server cannot be reached, or must not be trusted any more.
        """
        former = saved.former if saved is not None else self.opened.former()
        self._opened = await opened(self._setup.options, self.url, self._setup.root, former)
        send = self.send()
        if saved is None:
            self.publishing.rebind(send, mailbox)
        else:
            await self._take_over(saved)
            self._publishing = self._new_publishing(mailbox, taken_over=True)
        self._start(mailbox)

    def saved(self) -> Saved:
        """Return what another run needs to resume the session."""
        return Saved(
            url=self.url,
            former=self.opened.former(),
            subscription=self._subscription,
            publishing_ms=self.items.publishing_ms,
            silence_s=self.silence_s,
            results=granted(self.items.results),
            wanted=self._setup.wanted,
        )

    async def retry_refused(self) -> list[str]:
        """Request the refused nodes once more; return the tags whose node is there now."""
        numbers = self.items.refused()
        if not numbers:
            return []
        await self._resolve()
        results, _ = await (await self._creation()).create(numbers, self.items.places, self._setup.channels)
        for number, result in zip(numbers, results, strict=True):
            self.items.results[number] = result
        return [self._setup.channels[number].tag for number in set(numbers) - set(self.items.refused())]

    async def present_values(self) -> Columns:
        """Read the value of every node that is not refused; arrays of waveforms are all reported anyway."""
        single = [n for n, channel in enumerate(self._setup.channels) if channel.sample_rate is None]
        numbers = [n for n in single if self.items.results[n].StatusCode.value < BAD]
        session, size = self.opened.session, await self._size(_READ_LIMIT)

        async def request(part: range) -> list[ua.DataValue]:
            wanted = [read_value(self.items.places[n], self._setup.channels[n]) for n in (numbers[p] for p in part)]
            parameters = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=wanted)
            answers: list[ua.DataValue] = await session.read(parameters)
            return answers

        return columns_of_values(numbers, await in_parts(len(numbers), size, request))

    def retire(self) -> None:
        """Let another link take over: the end of this one is no failure then."""
        if self._publishing is not None:
            self._publishing.is_retired = True

    async def close(self) -> None:
        """Close session and connection."""
        await self._stop()
        if self._opened is not None:
            await disconnect(self._opened.client)

    async def drop(self) -> None:
        """Close the connection, and leave the session with the server, to be resumed."""
        await self._stop()
        if self._opened is not None:
            abandon(self._opened.client)

    async def _prepare(self) -> None:
        """Find out what the server is, where the nodes are, and what their numbers mean."""
        self.profile = profile_of(*map(str, await self._values(_BUILD)))
        await self._resolve()
        await self._load_texts()
        if any(channel.field for channel in self._setup.channels):
            with suppress(
                *FAILURES, NotImplementedError
            ):  # without the types, only structures of the standard are read
                await self.opened.client.load_data_type_definitions()

    async def _take_over(self, saved: Saved) -> None:
        self._subscription, self.silence_s = saved.subscription, saved.silence_s
        try:
            await self._prepare()
        except FAILURES as error:
            raise not_connected(self.url, error) from None
        self.items = Items(self._setup.channels, self.items.places, saved.items(), saved.publishing_ms)

    async def _resolve(self) -> None:
        places: list[Place] = await resolved(
            self.opened.session, self._setup.addresses, size=self.profile.items_per_call
        )
        self.items = Items(self._setup.channels, places, self.items.results, self.items.publishing_ms)

    async def _load_texts(self) -> None:
        wanted = [number for number, channel in enumerate(self._setup.channels) if channel.wants_texts]
        nodes = {n: place for n in wanted if not isinstance(place := self.items.places[n], str)}
        if nodes:
            self.texts = await enumeration_texts(self.opened.session, nodes, size=await self._size(_READ_LIMIT))

    async def _creation(self) -> Creation:
        size, filtered = await self._size(_ITEMS_LIMIT), self.profile.has_filters
        return Creation(self.opened.session, self._subscription, self._setup.options, size, filtered)

    async def _size(self, limit: int) -> int:
        return await per_call(self.opened.session, limit, self.profile.items_per_call)

    async def _values(self, numbers: Sequence[int]) -> list[object]:
        nodes = [ua.NodeId(number) for number in numbers]
        return await attributes(self.opened.session, nodes, ua.AttributeIds.Value, size=len(nodes))

    def send(self) -> Any:
        """Return what sends a request through the connection."""
        protocol = self.opened.client.uaclient.protocol
        if protocol is None:
            raise ConnectionError("the server closed the connection")
        return protocol.send_request

    def _new_publishing(self, mailbox: Mailbox[Message], *, taken_over: bool = False) -> Publishing:
        keep_alives = self._setup.has_heartbeats
        return Publishing(self.send(), mailbox, link=self._number, keep_alives=keep_alives, taken_over=taken_over)

    def _start(self, mailbox: Mailbox[Message]) -> None:
        mailbox.silence_s = self.silence_s
        mailbox.heard()
        work = (self.publishing.run(), keep_channel(self.opened.client))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _subscription(options: Options, profile: Profile) -> ua.CreateSubscriptionParameters:
    fastest = timedelta(milliseconds=profile.fastest_publishing_ms)
    interval = max(options.publishing_interval, fastest)
    keep_alive = max(1, options.silence // 3 // interval)
    return ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=interval / timedelta(milliseconds=1),
        RequestedMaxKeepAliveCount=keep_alive,
        RequestedLifetimeCount=max(3 * keep_alive, int(ABANDONED_S / interval.total_seconds())),
        MaxNotificationsPerPublish=0,
        PublishingEnabled=True,
    )
