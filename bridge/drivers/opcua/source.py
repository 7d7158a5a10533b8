"""The live source over one OPC UA session; `bridge.drivers.opcua.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.client.ua_session import UaSession

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.client import ABANDONED_S, CONNECT_S, disconnect, new_client, not_connected, per_call
from bridge.drivers.opcua.columns import columns_of, joined
from bridge.drivers.opcua.driver import Options, check_node_ids
from bridge.drivers.opcua.history_missed import read_missed
from bridge.drivers.opcua.items import Items, item_request
from bridge.drivers.opcua.messages import Message
from bridge.drivers.opcua.publishing import Publishing
from bridge.drivers.opcua.values import RowMaker, bad_rows, channel_of
from bridge.drivers.protocols import Page
from bridge.drivers.raw_rows import RawRows
from historian.errors import NotConnected
from historian.logs import get_logger
from historian.plant.connections import ConnectionConfig
from historian.times import micros, utc_now

RESPONSES: Final = 64
"""Largest number of publish responses in memory. At this number, none is requested until the runner has read."""
EVERY_S: Final = 0.5
"""Shortest time between two reads: what arrives in it is decoded, checked and made durable together."""
NAMED: Final = 10
"""Number of tags that a message names."""

log = get_logger(__name__)


class OpcuaSource:
    """A `Source` over one session and one subscription, both new for every connection."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the addresses. Raises `ConfigError` for those that are not node ids."""
        check_node_ids(connection)
        self._name = connection.name
        self._options = Options.model_validate(connection.options)
        self._nodes = [ua.NodeId.from_string(tag.address) for tag in connection.tags]
        self._channels = [channel_of(tag) for tag in connection.tags]
        self._client: Client | None = None
        self._requests: asyncio.Task[None] | None = None
        self._unsampled: list[str] = []
        self._maker = RowMaker(self._channels)

    async def connect(self) -> None:
        """See `Source.connect`."""
        options = self._options
        self._mailbox: Mailbox[Message] = Mailbox(
            RESPONSES, peer=options.endpoint, silence_s=options.silence.total_seconds()
        )
        self._taken: Sequence[Message] = ()
        client = self._client = new_client(options)
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect()
                if client.uaclient.protocol is None:
                    raise OSError("the server closed the connection")
                self._publishing = Publishing(client.uaclient.protocol.send_request, self._mailbox)
            self._absent = await self._subscribe(client.uaclient.session)
        except (OSError, TimeoutError, ua.UaError) as error:
            raise not_connected(options, error) from None

    async def read(self) -> RawRows:
        """See `Source.read`."""
        if not self._absent.is_empty:
            absent, self._absent = self._absent, RawRows()
            return absent
        self._publishing.acknowledge(self._taken)
        self._taken = await self._mailbox.take(check=self._why_closed, every_s=EVERY_S)
        return await asyncio.to_thread(self._decoded, self._taken)

    def heard_at(self) -> datetime | None:
        """See `Audible.heard_at`."""
        return self._mailbox.heard_at if self._client is not None else None

    def complete_tags(self) -> Collection[str]:
        """See `ReportsEveryChange.complete_tags`: the tags that the server does not sample."""
        return self._unsampled

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
        client = self._client
        if client is None or client.uaclient.protocol is None:
            raise NotConnected(f"lost {self._options.endpoint}")
        nodes = list(zip(self._nodes, self._channels, strict=True))
        try:
            return await read_missed(
                client.uaclient.session,
                client.uaclient.protocol.send_request,
                nodes,
                (start, end),
                take,
                page=self._options.history_page,
            )
        except (OSError, TimeoutError, ua.UaError) as error:
            raise not_connected(self._options, error) from None

    async def close(self) -> None:
        """See `Source.close`."""
        client, self._client = self._client, None
        if self._requests is not None:
            self._requests.cancel()
        if client is not None:
            await disconnect(client)

    async def _subscribe(self, session: UaSession) -> RawRows:
        """Subscribe to every node; return a Bad row for each that the server refuses."""
        created = await self._publishing.subscribe(_subscription(self._options))
        self._requests = asyncio.create_task(self._publishing.run())
        period_s = created.RevisedPublishingInterval / 1000 * created.RevisedMaxKeepAliveCount
        self._mailbox.silence_s = max(self._options.silence.total_seconds(), 1.5 * period_s)
        self._mailbox.heard()
        results = await self._create_items(session, created.SubscriptionId)
        items = Items(self._channels, results, created.RevisedPublishingInterval)
        self._unsampled = items.unsampled()
        self._log(items)
        return bad_rows(items.refused(), at=utc_now())

    async def _create_items(self, session: UaSession, subscription: int) -> list[ua.MonitoredItemCreateResult]:
        limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
        size = await per_call(session, limit)
        results: list[ua.MonitoredItemCreateResult] = []
        for first in range(0, len(self._nodes), size):
            handles = range(first, min(first + size, len(self._nodes)))
            request = ua.CreateMonitoredItemsParameters(
                SubscriptionId=subscription,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=[item_request(n, self._nodes[n], self._channels[n], self._options) for n in handles],
            )
            results += await session.create_monitored_items(request)
        return results

    def _log(self, items: Items) -> None:
        log.info("subscribed", source=self._name, tags=len(self._channels), **items.revised())
        if short := items.too_short():
            log.warning(
                "the server's queues are shorter than its publishing interval, so values will be dropped; "
                "shorten publishing_interval",
                source=self._name,
                tags=short[:NAMED],
                number=len(short),
            )

    def _why_closed(self) -> str:
        connected = self._client is not None and self._client.state is UaClientState.CONNECTED
        return "" if connected else "the server closed the connection"

    def _decoded(self, messages: Sequence[Message]) -> RawRows:
        try:
            found = [columns_of(message) for message in messages]
        except Exception as error:  # noqa: BLE001 - whatever asyncua raises for bytes that it cannot decode
            lost = f"lost {self._options.endpoint}: a publish response cannot be decoded"
            raise NotConnected(f"{lost} ({type(error).__name__}: {error})") from None
        for _, ended in found:
            if ended:
                self._mailbox.fail(f"the server ended the subscription ({ended})")
        counts = [len(columns.handle) for columns, _ in found]
        received = np.repeat([micros(message.received) for message in messages], counts)
        return self._maker.rows(joined([columns for columns, _ in found]), received)


def _subscription(options: Options) -> ua.CreateSubscriptionParameters:
    interval = options.publishing_interval
    keep_alive = max(1, options.silence // 3 // interval)
    return ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=interval / timedelta(milliseconds=1),
        RequestedMaxKeepAliveCount=keep_alive,
        RequestedLifetimeCount=max(3 * keep_alive, int(ABANDONED_S / interval.total_seconds())),
        MaxNotificationsPerPublish=0,
        PublishingEnabled=True,
    )
