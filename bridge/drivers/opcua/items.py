"""Monitored items: what is requested of the server for each tag, and what it has made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.opcua.client import ABANDONED_S, in_parts
from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.nodes import Place, unknown_node
from bridge.drivers.opcua.values import Channel
from historian.quality import BAD

ARRAYS: Final = 100
"""Queue size for arrays, which take much memory in the server."""
CHANGES: Final = 1_000
"""Queue size for a tag whose server decides how often it samples: a minute, after which the server may drop the
subscription anyway, at 16 changes a second. A queue takes memory only for what waits in it."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_NO_FILTER: Final = {
    ua.StatusCodes.BadMonitoredItemFilterUnsupported,
    ua.StatusCodes.BadMonitoredItemFilterInvalid,
    ua.StatusCodes.BadFilterNotAllowed,
    ua.StatusCodes.BadDeadbandFilterInvalid,
}
"""How servers refuse a filter; without it, they report every change."""


@dataclass(frozen=True)
class Items:
    """The monitored items of a subscription as the server has created them."""

    channels: Sequence[Channel]
    places: Sequence[Place]
    results: list[ua.MonitoredItemCreateResult]
    publishing_ms: float
    """The revised publishing interval."""

    def refused(self) -> list[int]:
        """Return the numbers of the items that the server refused."""
        return [number for number, result in enumerate(self.results) if result.StatusCode.value >= BAD]

    def reasons(self) -> dict[str, list[str]]:
        """Return the tags whose nodes are refused, by the reason."""
        found: dict[str, list[str]] = defaultdict(list)
        for number in self.refused():
            place = self.places[number]
            reason = place if isinstance(place, str) else self.results[number].StatusCode.name
            found[reason].append(self.channels[number].tag)
        return dict(found)

    def unsampled(self) -> list[str]:
        """Return the tags for which the server reports every change."""
        created = [(channel, result) for channel, result in self._created() if not channel.deadband]
        return [channel.tag for channel, result in created if result.RevisedSamplingInterval == 0]

    def too_short(self) -> list[str]:
        """Return the tags whose queue is full before the server publishes, so that it drops values."""
        return [
            channel.tag
            for channel, result in self._created()
            if 0 < result.RevisedSamplingInterval * result.RevisedQueueSize < self.publishing_ms
        ]

    def revised(self) -> dict[str, float]:
        """Return the range of the intervals, in milliseconds, and of the queues that the server has granted."""
        sampling = [result.RevisedSamplingInterval for _, result in self._created()] or [0.0]
        queues = [result.RevisedQueueSize for _, result in self._created()] or [0]
        return {
            "publishing_ms": self.publishing_ms,
            "sampling_ms": min(sampling),
            "slowest_sampling_ms": max(sampling),
            "queue": min(queues),
        }

    def _created(self) -> list[tuple[Channel, ua.MonitoredItemCreateResult]]:
        pairs = zip(self.channels, self.results, strict=True)
        return [pair for pair in pairs if pair[1].StatusCode.value < BAD]


def queue_size(options: Options, channel: Channel) -> int:
    """Return how many values of a tag the server is to keep: the configured number, or those of a minute."""
    if options.queue_size is not None:
        return options.queue_size
    if channel.sample_rate is not None:
        return ARRAYS
    interval_s = options.sampling_interval.total_seconds()
    return min(CHANGES, ceil(ABANDONED_S / interval_s)) if interval_s else CHANGES


def item_request(
    handle: int, node: ua.NodeId, channel: Channel, options: Options, *, filtered: bool = True
) -> ua.MonitoredItemCreateRequest:
    """Return the request for a tag's item.

    Args:
        handle: what its values then have.
        node: the node.
        channel: how the tag's values are decoded.
        options: the source's options.
        filtered: whether the server takes filters.
    """
    wanted = ua.MonitoringParameters(
        ClientHandle=handle,
        SamplingInterval=options.sampling_interval / _MILLISECOND,
        QueueSize=queue_size(options, channel),
        DiscardOldest=True,
    )
    if filtered and (chosen := _filter(channel)) is not None:
        wanted.Filter = chosen
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=read_value(node, channel), MonitoringMode=ua.MonitoringMode.Reporting, RequestedParameters=wanted
    )


def read_value(node: ua.NodeId, channel: Channel) -> ua.ReadValueId:
    """Return which value of a node belongs to a tag."""
    return ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value, IndexRange=channel.index_range or None)


def _filter(channel: Channel) -> ua.DataChangeFilter | None:
    if channel.sample_rate is not None:
        # Two equal arrays in a row, as from a dead sensor, must both be reported.
        return ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
    if not channel.deadband:
        return None
    kind = ua.DeadbandType.Percent if channel.is_percent else ua.DeadbandType.Absolute
    return ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue, DeadbandType=int(kind), DeadbandValue=channel.deadband
    )


@dataclass(frozen=True)
class Creation:
    """Creates the items of one subscription, however small the requests must be."""

    session: UaSession
    subscription: int
    options: Options
    size: int
    """Most items in one request."""
    filtered: bool = True
    """Whether the server takes filters."""

    async def create(
        self, numbers: Sequence[int], places: Sequence[Place], channels: Sequence[Channel]
    ) -> tuple[list[ua.MonitoredItemCreateResult], list[str]]:
        """Create items.

        Args:
            numbers: of which channels.
            places: the node of each channel, or why there is none.
            channels: all channels.

        Returns:
            A result for each number, and the tags whose filter the server refuses: it reports all their changes.
        """
        results = dict.fromkeys(numbers, unknown_node())
        known = [number for number in numbers if not isinstance(places[number], str)]
        results |= await self._created(known, places, channels, filtered=self.filtered)
        without = [number for number in known if results[number].StatusCode.value in _NO_FILTER]
        results |= await self._created(without, places, channels, filtered=False)
        if not self.filtered:
            without = [number for number in known if channels[number].deadband]
        return [results[number] for number in numbers], [channels[number].tag for number in without]

    async def _created(
        self, numbers: Sequence[int], places: Sequence[Place], channels: Sequence[Channel], *, filtered: bool
    ) -> dict[int, ua.MonitoredItemCreateResult]:
        async def request(part: range) -> list[ua.MonitoredItemCreateResult]:
            wanted = [
                item_request(number, places[number], channels[number], self.options, filtered=filtered)
                for number in (numbers[place] for place in part)
            ]
            parameters = ua.CreateMonitoredItemsParameters(
                SubscriptionId=self.subscription, TimestampsToReturn=ua.TimestampsToReturn.Both, ItemsToCreate=wanted
            )
            answers: list[ua.MonitoredItemCreateResult] = await self.session.create_monitored_items(parameters)
            return answers

        return dict(zip(numbers, await in_parts(len(numbers), self.size, request), strict=True))
