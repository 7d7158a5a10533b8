"""Turns the responses of many polls into raw rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl

from bridge.drivers.modbus.blocks import Block
from historian.samples import SCHEMA


class Reading(NamedTuple):
    """What a poll of one block came to."""

    block: Block
    at_us: int
    """When its values held: halfway between request and response, microseconds since 1970."""
    values: Sequence[int] | Sequence[bool] | None
    """Registers or bits, as many as the block has; None if there are none."""
    quality: int
    """Why there are none."""


def rows_of(readings: Iterable[Reading]) -> pl.DataFrame:
    """Return a row for each tag of each reading: columns of `samples.SCHEMA`, in no order."""

    def kind(reading: Reading) -> tuple[int, bool]:
        return id(reading.block), reading.values is None

    parts = [
        (_refused if without else _decoded)(list(found))
        for (_, without), found in groupby(sorted(readings, key=kind), kind)
    ]
    return pl.concat(parts) if parts else SCHEMA.to_frame()


def _decoded(readings: Sequence[Reading]) -> pl.DataFrame:
    """Return the rows of responses of one block."""
    block = readings[0].block
    found = block.decode(np.array([reading.values for reading in readings], np.uint16))
    numbers = pl.Series(found.numbers.ravel())
    if found.absent.any():
        numbers = numbers.set(pl.Series(found.absent.ravel()), None)
    # Most blocks have no texts; to look at each of so many None would take longer than all the rest.
    none = pl.Series([None], dtype=pl.String).new_from_index(0, len(numbers))
    text = pl.Series(found.texts.ravel().tolist(), dtype=pl.String) if block.has_texts else none
    columns = {"tag": _tags(readings), "timestamp": _times(readings), "value": numbers, "text": text}
    return pl.DataFrame({**columns, "quality": found.quality.ravel()})


def _refused(readings: Sequence[Reading]) -> pl.DataFrame:
    """Return the rows of polls of one block that have no values."""
    quality = np.repeat([reading.quality for reading in readings], len(readings[0].block.tags))
    columns = {"tag": _tags(readings), "timestamp": _times(readings), "value": None, "text": None, "quality": quality}
    return pl.DataFrame(columns, schema=SCHEMA)


def _tags(readings: Sequence[Reading]) -> pl.Series:
    tags = pl.Series(readings[0].block.tags)
    return pl.concat([tags] * len(readings), rechunk=True)


def _times(readings: Sequence[Reading]) -> pl.Series:
    times = np.repeat([reading.at_us for reading in readings], len(readings[0].block.tags))
    return pl.Series(times).cast(SCHEMA["timestamp"])
