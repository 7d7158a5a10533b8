"""TDMS files of LabVIEW and its loggers: a tag a channel; start and sample rate in its properties. Read by npTDMS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bridge.drivers.files.formats.signals import Held, Signals
from bridge.drivers.files.opening import ArchiveFile, whole


class TdmsSignals:
    """The `SignalFile` in TDMS; an address is group/channel, or that of a property with a number."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    def held(self, addresses: Sequence[str]) -> Held:
        """See `SignalFile.held`; the start is that of the first channel asked for that has one."""
        with self._opened() as file:
            channels = _channels(file)
            starts = [start for each in addresses if each in channels and (start := _start(channels[each]))]
            longest = max((len(channel) for channel in channels.values()), default=0)
            absent = {each for each in addresses if each not in channels and _property(file, each) is None}
            return Held(list(channels), absent, longest, next(iter(starts), None))

    def signals(self, addresses: Sequence[str]) -> Signals:
        """See `SignalFile.signals`; a channel that starts at another time than the first one is a problem."""
        values, rates, problems = dict[str, pl.Series](), dict[str, float](), list[str]()
        with self._opened() as file:
            channels = _channels(file)
            present = [address for address in addresses if address in channels]
            starts = {each: start for each in present if (start := _start(channels[each]))}
            first = next(iter(starts.values()), None)
            for address in present:
                increment = channels[address].properties.get("wf_increment")
                if starts.get(address, first) != first:
                    problems.append(f"{address} starts at {starts[address]}, other channels at {first}")
                    continue
                values[address] = pl.Series(np.ascontiguousarray(channels[address][:]))
                if increment:
                    rates[address] = 1 / float(increment)
            stated = {each: _property(file, each) for each in addresses if each not in channels}
        values |= {each: pl.Series([number]) for each, number in stated.items() if number is not None}
        return Signals(values, rates, problems)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from nptdms import TdmsFile

        source = whole(self._file)
        # npTDMS leaves a file open that it opened itself and that is damaged.
        with source.open("rb") if isinstance(source, Path) else source as stream, TdmsFile.open(stream) as file:
            yield file


def _channels(file: Any) -> dict[str, Any]:
    return {f"{group.name}/{channel.name}": channel for group in file.groups() for channel in group.channels()}


def _property(file: Any, address: str) -> float | None:
    """Return the number in a property, `@RPM`, `group@RPM` or `group/channel@RPM`; None if none is there."""
    place, mark, name = address.rpartition("@")
    groups = {group.name: group for group in file.groups()}
    owners = {"": file, **groups, **_channels(file)}
    value = owners[place].properties.get(name) if mark and place in owners else None
    return float(value) if isinstance(value, int | float | np.number) else None


def _start(channel: Any) -> datetime | None:
    """Return the time of the first sample, UTC, to the microsecond."""
    given = channel.properties.get("wf_start_time")
    if given is None or np.isnat(given):
        return None
    instant: datetime = np.datetime64(given, "us").item()
    return instant.replace(tzinfo=UTC)
