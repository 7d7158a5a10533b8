"""The live source over one OPC UA session; `bridge.drivers.opcua.driver` is its manual."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.client.ua_session import UaSession

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.client import ABANDONED_S, CONNECT_S, disconnect, new_client, not_connected, per_call
from bridge.drivers.opcua.driver import Address, Options, check_node_ids
from bridge.drivers.opcua.stamps import ArrayClock
from bridge.drivers.opcua.values import Channel, bad_rows, raw_rows
from bridge.drivers.raw_rows import RawRows
from historian.plant.connections import ConnectionConfig, Tag
from historian.quality import BAD
from historian.times import utc_now

RESPONSES: Final = 64
"""Largest number of publish responses in memory. At this number, none is requested until the runner has read."""

_Response = tuple[list[ua.MonitoredItemNotification], datetime]


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
        self._clock = ArrayClock()

    async def connect(self) -> None:
        """See `Source.connect`."""
        options = self._options
        self._mailbox: Mailbox[_Response] = Mailbox(
            RESPONSES, peer=options.endpoint, silence_s=options.silence.total_seconds()
        )
        self._sequence = 0
        client = self._client = new_client(options)
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect()
            self._absent = await self._subscribe(client.uaclient.session)
        except (OSError, TimeoutError, ua.UaError) as error:
            raise not_connected(options, error) from None

    async def read(self) -> RawRows:
        """See `Source.read`."""
        if not self._absent.is_empty:
            absent, self._absent = self._absent, RawRows()
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
        if client is not None:
            await disconnect(client)

    async def _subscribe(self, session: UaSession) -> RawRows:
        """Subscribe to every node; return a Bad row for each that the server refuses."""
        created = await session.create_subscription(_subscription(self._options), self._published)
        period_s = created.RevisedPublishingInterval / 1000 * created.RevisedMaxKeepAliveCount
        self._mailbox.silence_s = max(self._options.silence.total_seconds(), 1.5 * period_s)
        self._mailbox.heard()
        items = [
            _monitored_item(handle, node, channel, self._options)
            for handle, (node, channel) in enumerate(zip(self._nodes, self._channels, strict=True))
        ]
        limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
        size = await per_call(session, limit)
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

    def _decoded(self, responses: Sequence[_Response]) -> RawRows:
        channels = self._channels
        found = ((channels[item.ClientHandle], item.Value, at) for values, at in responses for item in values)
        return raw_rows(found, self._clock)


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


def _channel(tag: Tag) -> Channel:
    return Channel(tag.name, tag.sample_rate, Address.model_validate(tag.options).stamp)
