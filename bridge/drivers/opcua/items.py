"""Monitored items: what is asked of the server for each tag, and what it has made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final

from asyncua import ua

from bridge.drivers.opcua.client import ABANDONED_S
from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.values import Channel
from historian.quality import BAD

ARRAYS: Final = 100
"""Queue size for arrays, which take much memory in the server."""
CHANGES: Final = 1_000
"""Queue size for a tag whose server decides how often it samples: a minute, after which the server may drop the
subscription anyway, at 16 changes a second. A queue takes memory only for what waits in it."""

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Items:
    """The monitored items of a subscription as the server has created them."""

    channels: Sequence[Channel]
    results: Sequence[ua.MonitoredItemCreateResult]
    publishing_ms: float
    """The revised publishing interval."""

    def refused(self) -> list[tuple[str, int]]:
        """Return tag and status code of each item that the server refused."""
        codes = ((channel.tag, result.StatusCode.value) for channel, result in self._pairs())
        return [(tag, code) for tag, code in codes if code >= BAD]

    def unsampled(self) -> list[str]:
        """Return the tags for which the server reports every change."""
        return [channel.tag for channel, result in self._created() if result.RevisedSamplingInterval == 0]

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

    def _pairs(self) -> list[tuple[Channel, ua.MonitoredItemCreateResult]]:
        return list(zip(self.channels, self.results, strict=True))

    def _created(self) -> list[tuple[Channel, ua.MonitoredItemCreateResult]]:
        return [pair for pair in self._pairs() if pair[1].StatusCode.value < BAD]


def queue_size(options: Options, channel: Channel) -> int:
    """Return how many values of a tag the server is to keep: the configured number, or those of a minute."""
    if options.queue_size is not None:
        return options.queue_size
    if channel.sample_rate is not None:
        return ARRAYS
    interval_s = options.sampling_interval.total_seconds()
    return min(CHANGES, ceil(ABANDONED_S / interval_s)) if interval_s else CHANGES


def item_request(handle: int, node: ua.NodeId, channel: Channel, options: Options) -> ua.MonitoredItemCreateRequest:
    """Return the request for a tag's item; values then have `handle`."""
    wanted = ua.MonitoringParameters(
        ClientHandle=handle,
        SamplingInterval=options.sampling_interval / _MILLISECOND,
        QueueSize=queue_size(options, channel),
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
