"""The status of a bridge as OpenMetrics, which Prometheus and its relatives read.

Names and units follow the conventions of Prometheus: base units, times as seconds since 1970, `_total` for counters.
What is unknown has no sample, rather than a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import polars as pl
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from historian.plant.plant import Plant
from historian.status import STALE, SinkStatus, SourceStatus, StatusReader

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_Value = float | datetime | None
_Kind = type[GaugeMetricFamily] | type[CounterMetricFamily]
_exposed: Callable[[Any], bytes] = generate_latest

_SOURCE: Final[Mapping[str, tuple[_Kind, str, Callable[[SourceStatus], _Value]]]] = {
    "last_heard_timestamp_seconds": (GaugeMetricFamily, "When anything last arrived from it", lambda s: s.last_heard),
    "updated_timestamp_seconds": (GaugeMetricFamily, "When the bridge last reported on it", lambda s: s.updated_at),
    "connections": (CounterMetricFamily, "Connections made since the bridge started", lambda s: s.connections),
    "samples": (CounterMetricFamily, "Samples read since the bridge started", lambda s: s.samples),
    "quarantined_samples": (CounterMetricFamily, "Samples quarantined since then", lambda s: s.quarantined),
    "overflows": (CounterMetricFamily, "Samples before which its server had dropped some", lambda s: s.overflows),
    "spool_samples": (GaugeMetricFamily, "Samples in the spool that wait for the store", lambda s: s.waiting),
    "spool_bytes": (GaugeMetricFamily, "Their size", lambda s: s.waiting_bytes),
    "spool_damaged_batches": (GaugeMetricFamily, "Batches of the spool that were set aside", lambda s: s.damaged),
    "spool_full": (GaugeMetricFamily, "1 if reading waits for room in the spool", lambda s: s.spool_full),
}
_SINK: Final[Mapping[str, tuple[_Kind, str, Callable[[SinkStatus], _Value]]]] = {
    "ok": (GaugeMetricFamily, "0 while it fails", lambda s: s.state == "ok"),
    "written_samples": (CounterMetricFamily, "Samples written since the bridge started", lambda s: s.written),
    "last_write_timestamp_seconds": (GaugeMetricFamily, "When it last wrote", lambda s: s.last_write),
}


def openmetrics(plant: Plant, reader: StatusReader, *, now: datetime) -> str:
    """Return the status of a plant's bridge in OpenMetrics' text format.

    Args:
        plant: the plant.
        reader: the status as last written.
        now: the current time.
    """
    status = reader.bridge()
    assets = {name: tag.asset for name, tag in plant.tags.items()}
    families = [*_families("source", status.sources, _SOURCE), _connected(status.sources, now)]
    families += [*_families("sink", status.sinks, _SINK), *_assets(reader.tags(), assets)]
    return _exposed(_Collected(families)).decode()


class _Collected:
    """Families that are complete already, as the exposition wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(
    label: str, records: Iterable[object], described: Mapping[str, tuple[_Kind, str, Callable[..., _Value]]]
) -> Iterator[Metric]:
    """Return a family for each value of the records, whose `name` becomes the label."""
    every = list(records)
    for name, (kind, text, value) in described.items():
        values = {str(getattr(record, "name")): value(record) for record in every}  # noqa: B009 - of either kind
        yield _family(kind, f"penstock_{label}_{name}", text, label, values)


def _connected(sources: Iterable[SourceStatus], now: datetime) -> Metric:
    """Return which sources are connected: none of a bridge that has not reported lately."""
    values = {each.name: each.state == "connected" and now - each.updated_at <= STALE for each in sources}
    return _family(GaugeMetricFamily, "penstock_source_connected", "1 while samples can arrive", "source", values)


def _assets(tags: pl.DataFrame, assets: Mapping[str, str]) -> Iterator[Metric]:
    """Return how old the newest samples of each asset are, and how far they are behind the bridge's clock."""
    asset = pl.col("tag").replace_strict(assets, default=None, return_dtype=pl.String)
    known = tags.with_columns(asset=asset, lag=pl.col("lag").dt.total_microseconds() / 1e6).drop_nulls("asset")
    found = known.group_by("asset", maintain_order=True).agg(
        newest_timestamp_seconds=pl.col("last").max(),
        oldest_timestamp_seconds=pl.col("last").min(),
        lag_seconds=pl.col("lag").max(),
    )
    texts = {
        "newest_timestamp_seconds": "Its newest sample of any tag",
        "oldest_timestamp_seconds": "The newest sample of that of its tags which is furthest behind",
        "lag_seconds": "How far its samples are behind the bridge's clock when they arrive",
    }
    for name, text in texts.items():
        values = dict(zip(found["asset"], found[name], strict=True))
        yield _family(GaugeMetricFamily, f"penstock_asset_{name}", text, "asset", values)


def _family(kind: _Kind, name: str, text: str, label: str, values: Mapping[str, _Value]) -> Metric:
    family = kind(name, text, labels=[label])
    for labelled, value in values.items():
        if value is not None:
            family.add_metric([labelled], value.timestamp() if isinstance(value, datetime) else float(value))
    return family
