"""What a plant will need: samples and bytes by asset, hours until the spool is full, cores that compute its features.

Estimates from the plant file alone, with costs that `benchmarks/` measures (docs/benchmarks.md). Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from bridge.drivers.protocols import Driver
from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.model import SpoolBounds
from historian.plant.plant import Plant
from historian.stores.urls import is_influx

CHANNEL_HZ: Final = 25_600
"""Sample rate of a channel in `channels_per_core`."""


@dataclass(frozen=True)
class Costs:
    """What one sample costs; the figures of the same names in docs/benchmarks.md."""

    waveform_bytes: float
    """Bytes of a sample of vibration in the store, if the device gives float32; counts of 16 bits take half."""
    sample_bytes: float
    """Bytes of any other sample in the store."""
    spool_waveform_bytes: float
    """Bytes of a sample of vibration in the spool, float32."""
    spool_sample_bytes: float
    """Bytes of any other sample in the spool."""
    channels_per_core: float
    """Channels of `CHANNEL_HZ` that one core carries from OPC UA to online features."""


LAKE: Final = Costs(4.05, 1.5, 4.1, 7.6, 105.0)
INFLUX: Final = Costs(5.35, 6.5, 4.1, 7.6, 83.0)


@dataclass(frozen=True)
class AssetSize:
    """What the live tags of an asset bring."""

    asset: str
    channels: int
    """Number of vibration tags."""
    tags: int
    """Number of other tags."""
    samples_per_s: float
    store_bytes_per_s: float

    @property
    def gb_per_day(self) -> float:
        """Gigabytes a day in the store."""
        return self.store_bytes_per_s * 86_400 / 1e9

    @property
    def gb_per_year(self) -> float:
        """Gigabytes a year in the store."""
        return 365 * self.gb_per_day


@dataclass(frozen=True)
class SourceSize:
    """What the spool takes of a source while the store is away."""

    source: str
    spool_bytes_per_s: float
    bounds: SpoolBounds

    @property
    def hours_until_full(self) -> float:
        """Hours until its part of the spool is full, or its oldest batch too old."""
        seconds = self.bounds.max_size / self.spool_bytes_per_s
        age = self.bounds.max_age
        return (seconds if age is None else min(seconds, age.total_seconds())) / 3600


@dataclass(frozen=True)
class PlantSize:
    """What a plant will need."""

    assets: tuple[AssetSize, ...]
    sources: tuple[SourceSize, ...]
    cores: float
    """Cores that carry its waveforms from the source to online features."""
    costs: Costs


def size_of(plant: Plant, *, duty: float, bits: int, process_every: timedelta) -> PlantSize:
    """Estimate what a plant's live sources will need.

    Args:
        plant: the plant; tags that only archives have bring nothing live.
        duty: part of the time in which vibration is measured; 1 where it is continuous.
        bits: bits of a sample of vibration as the device gives it: 16 or 32.
        process_every: time between samples of other tags, where the driver does not determine it.
    """
    costs = _costs(plant, bits)
    rates = {
        tag.name: _rate(connection, tag, duty=duty, process_every=process_every)
        for connection in plant.sources.values()
        for tag in connection.tags
    }
    live: defaultdict[str, list[Tag]] = defaultdict(list)
    for tag in plant.tags.values():
        if tag.name in rates:
            live[tag.asset].append(tag)
    waveforms = [tag for tags in live.values() for tag in tags if tag.sample_rate is not None]
    return PlantSize(
        assets=tuple(_asset(name, live[name], rates, costs) for name in plant.assets),
        sources=tuple(
            SourceSize(name, sum(_spool_bytes(tag, rates, costs) for tag in connection.tags), plant.spool)
            for name, connection in plant.sources.items()
            if connection.tags
        ),
        cores=sum(rates[tag.name] for tag in waveforms) / CHANNEL_HZ / costs.channels_per_core,
        costs=costs,
    )


def spool_rate(connection: ConnectionConfig) -> float:
    """Return the bytes a second that a source is expected to bring into the spool, before any were measured.

    Vibration counts as continuous float32, other tags as one sample a second where the driver does not determine it.
    """
    rates = {tag.name: _rate(connection, tag, duty=1, process_every=timedelta(seconds=1)) for tag in connection.tags}
    return sum(_spool_bytes(tag, rates, LAKE) for tag in connection.tags)


def _costs(plant: Plant, bits: int) -> Costs:
    costs, part = INFLUX if is_influx(plant.store_url) else LAKE, bits / 32
    return replace(
        costs, waveform_bytes=costs.waveform_bytes * part, spool_waveform_bytes=costs.spool_waveform_bytes * part
    )


def _rate(connection: ConnectionConfig, tag: Tag, *, duty: float, process_every: timedelta) -> float:
    """Return samples a second."""
    if tag.sample_rate is not None:
        return tag.sample_rate * duty
    driver = connection.driver
    every = driver.interval(connection) if isinstance(driver, Driver) and driver.interval else None
    return timedelta(seconds=1) / (every or process_every)


def _asset(name: str, tags: Sequence[Tag], rates: Mapping[str, float], costs: Costs) -> AssetSize:
    channels = [tag for tag in tags if tag.sample_rate is not None]
    samples, of_channels = (sum(rates[tag.name] for tag in some) for some in (tags, channels))
    return AssetSize(
        asset=name,
        channels=len(channels),
        tags=len(tags) - len(channels),
        samples_per_s=samples,
        store_bytes_per_s=of_channels * costs.waveform_bytes + (samples - of_channels) * costs.sample_bytes,
    )


def _spool_bytes(tag: Tag, rates: Mapping[str, float], costs: Costs) -> float:
    each = costs.spool_sample_bytes if tag.sample_rate is None else costs.spool_waveform_bytes
    return rates[tag.name] * each
