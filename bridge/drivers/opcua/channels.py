"""What each tag of the tag list wants of its node: one `Channel` a tag. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from bridge.drivers.opcua.driver import Address, Options
from bridge.drivers.opcua.values import Channel
from historian.plant.connections import Tag

_MICROSECOND: Final = timedelta(microseconds=1)


def channel_of(tag: Tag, options: Options) -> Channel:
    """Return how a tag's values are requested and decoded."""
    given = Address.model_validate(tag.options)
    deadband = given.deadband if given.deadband is not None else given.deadband_percent
    return Channel(
        tag.name,
        tag.sample_rate,
        given.stamp,
        timestamp=given.timestamp,
        index_range=given.element or given.index_range,
        is_element=bool(given.element),
        field=given.field,
        deadband=deadband or 0.0,
        is_percent=given.deadband is None,
        heartbeat_us=_heartbeat(tag, given, options) // _MICROSECOND,
        wants_texts=tag.kind == "state" and not any(isinstance(each, (int, float)) for each in tag.states.values()),
    )


def _heartbeat(tag: Tag, given: Address, options: Options) -> timedelta:
    """Return how often an unchanged value is repeated; not at all for waveforms, whose arrays are all reported."""
    if tag.sample_rate is not None:
        return timedelta(0)
    chosen = (each for each in (given.heartbeat, options.heartbeat) if each is not None)
    return next(chosen, tag.max_staleness / 2)
