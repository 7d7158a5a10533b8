"""The live source over one OPC UA session; `bridge.drivers.opcua.driver` is its manual."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import polars as pl
from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.client.ua_session import UaSession

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.driver import Address, Options, check_node_ids
from bridge.drivers.opcua.values import Channel, bad_rows, sample_rows
from historian.errors import NotConnected
from historian.plant.connections import ConnectionConfig, Tag
from historian.quality import BAD
from historian.times import utc_now

CONNECT_S: Final = 10.0
REQUEST_S: Final = 4.0
CLOSE_S: Final = 2.0
WATCHDOG_S: Final = 30.0
"""Seconds between asyncua's probes of the connection, and the longest a probe may take; a busy server needs seconds."""
ABANDONED_S: Final = 60.0
"""Seconds without contact after which the server may drop our session and subscription."""
ITEMS_PER_CALL: Final = 1_000
RESPONSES: Final = 64
"""Largest number of publish responses in memory. At this number, none is requested until the runner has read."""

_Response = tuple[list[ua.MonitoredItemNotification], datetime]

# At INFO and below asyncua formats every publish response as text, and logs errors with tracebacks; `NotConnected`
# reports what matters of them.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcuaSource:
    """A `Source` over one session and one subscription, both new for every connection."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the addresses. Raises `ConfigError` for those that are not node ids."""
        check_node_ids(connection)
        self._options = Options.model_validate(connection.options)
        self._nodes = [ua.NodeId.from_string(tag.address) for tag in connection.tags]
        self._channels = [_channel(tag) for tag in connection.tags]
        self._client: Client | None = None
        self._unsampled: list[str] = []

    async def connect(self) -> None:
        """See `Source.connect`."""
        options = self._options
        self._mailbox: Mailbox[_Response] = Mailbox(
            RESPONSES, peer=options.endpoint, silence_s=options.silence.total_seconds()
        )
        self._sequence = 0
        client = self._client = Client(options.endpoint, timeout=REQUEST_S, watchdog_intervall=WATCHDOG_S)
        client.name = client.description = "Penstock"
        client.session_timeout = int(ABANDONED_S * 1000)
        if options.username is not None and options.password is not None:
            client.set_user(options.username)
            client.set_password(options.password.get_secret_value())
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect()
            self._absent = await self._subscribe(client.uaclient.session)
        except (OSError, TimeoutError, ua.UaError) as error:
            raise NotConnected(f"cannot connect to {options.endpoint}: {str(error) or 'no answer'}") from None

    async def read(self) -> pl.DataFrame:
        """See `Source.read`."""
        if not self._absent.is_empty():
            absent, self._absent = self._absent, self._absent.clear()
            return absent
        responses = await self._mailbox.take(check=self._why_closed)
        return await asyncio.to_thread(self._decoded, responses)

    def heard_at(self) -> datetime | None:
        """See `Audible.heard_at`."""
        return self._mailbox.heard_at if self._client is not None else None

    def complete_tags(self) -> Collection[str]:
        """See `ReportsEveryChange.complete_tags`: the tags that the server does not sample."""
        return self._unsampled

    async def close(self) -> None:
        """See `Source.close`."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(Exception):  # a lost connection cannot be closed properly
            async with asyncio.timeout(CLOSE_S):
                await client.disconnect()
        client.disconnect_socket()

    async def _subscribe(self, session: UaSession) -> pl.DataFrame:
        """Subscribe to every node; return a Bad row for each that the server refuses."""
        created = await session.create_subscription(_subscription(self._options), self._published)
        period_s = created.RevisedPublishingInterval / 1000 * created.RevisedMaxKeepAliveCount
        self._mailbox.silence_s = max(self._options.silence.total_seconds(), 1.5 * period_s)
        self._mailbox.heard()
        items = [
            _monitored_item(handle, node, channel, self._options)
            for handle, (node, channel) in enumerate(zip(self._nodes, self._channels, strict=True))
        ]
        size = await _items_per_call(session)
        results: list[ua.MonitoredItemCreateResult] = []
        for first in range(0, len(items), size):
            request = ua.CreateMonitoredItemsParameters(
                SubscriptionId=created.SubscriptionId,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=items[first : first + size],
            )
            results += await session.create_monitored_items(request)
        created_items = list(zip(self._channels, results, strict=True))
        self._unsampled = [
            channel.tag
            for channel, result in created_items
            if result.StatusCode.value < BAD and result.RevisedSamplingInterval == 0
        ]
        refused = [(channel.tag, item.StatusCode.value) for channel, item in created_items]
        return bad_rows([(tag, code) for tag, code in refused if code >= BAD], at=utc_now())

    async def _published(self, result: ua.PublishResult) -> None:
        """Receive one publish response. asyncua requests no other until this returns: that is the back-pressure."""
        self._mailbox.heard()
        message = result.NotificationMessage
        values: list[ua.MonitoredItemNotification] = []
        for part in message.NotificationData or ():
            if isinstance(part, ua.DataChangeNotification):
                values += part.MonitoredItems
            elif isinstance(part, ua.StatusChangeNotification):
                self._mailbox.fail(f"the server ended the subscription ({part.Status.name})")
        if not values:
            return
        if self._sequence and message.SequenceNumber != self._sequence % 0xFFFFFFFF + 1:
            self._mailbox.fail(f"a publish response was lost between {self._sequence} and {message.SequenceNumber}")
        self._sequence = message.SequenceNumber
        await self._mailbox.put((values, utc_now()))

    def _why_closed(self) -> str:
        connected = self._client is not None and self._client.state is UaClientState.CONNECTED
        return "" if connected else "the server closed the connection"

    def _decoded(self, responses: Sequence[_Response]) -> pl.DataFrame:
        return pl.concat(
            sample_rows([(self._channels[item.ClientHandle], item.Value) for item in values], received=received)
            for values, received in responses
        )


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


def _monitored_item(handle: int, node: ua.NodeId, channel: Channel, options: Options) -> ua.MonitoredItemCreateRequest:
    wanted = ua.MonitoringParameters(
        ClientHandle=handle,
        SamplingInterval=options.sampling_interval / timedelta(milliseconds=1),
        QueueSize=options.queue_size,
        DiscardOldest=True,
    )
    if channel.sample_rate is not None:
        # Two equal arrays in a row, as from a dead sensor, must both be reported.
        wanted.Filter = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=wanted,
    )


async def _items_per_call(session: UaSession) -> int:
    """Return the most nodes to put into one request: the server's limit, if it has one, and never more than ours."""
    limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
    [answer] = await session.read_attributes([ua.NodeId(limit)], ua.AttributeIds.Value)
    own = answer.Value.Value if answer.StatusCode.is_good() and answer.Value else None
    return min(own, ITEMS_PER_CALL) if own else ITEMS_PER_CALL


def _channel(tag: Tag) -> Channel:
    return Channel(tag.name, tag.sample_rate, Address.model_validate(tag.options).stamp)
