"""Transforms of a source's raw rows before they are normalised. Pure.

Everything after them (contract, quarantine and store) is in engineering units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from bridge.drivers.raw_rows import RawRows
from historian.plant.connections import Tag
from historian.state_values import state_of_number
from historian.waveforms.encoding import HEADS, decode, encode

Transform = Callable[[RawRows], RawRows]
"""A function from raw rows to raw rows; a pipeline is a tuple of them."""


def pipeline(tags: Sequence[Tag]) -> tuple[Transform, ...]:
    """Return the transforms that the tag list requires; an empty tuple if it requires none."""
    scales = {tag.name: (tag.scale, tag.offset) for tag in tags if (tag.scale, tag.offset) != (1, 0)}
    states = [tag.name for tag in tags if tag.kind == "state"]
    found: list[Transform] = []
    if scales:
        found.append(lambda rows: RawRows(scaled(rows.samples, scales), scaled_waveforms(rows.waveforms, scales)))
    if states:
        found.append(lambda rows: rows._replace(samples=with_states(rows.samples, states)))
    return tuple(found)


def with_states(rows: pl.DataFrame, tags: Sequence[str]) -> pl.DataFrame:
    """Return samples in which the numbers of tags of kind state are the texts of these states.

    Args:
        rows: raw rows of samples.
        tags: names of the tags.
    """
    state = pl.when(pl.col("tag").is_in(tags), pl.col("text").is_null()).then(state_of_number(pl.col("value")))
    value = pl.when(state.is_null()).then(pl.col("value"))
    return rows.with_columns(text=pl.coalesce("text", state), value=value)


def scaled(rows: pl.DataFrame, scales: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """Return samples with value = raw * scale + offset for the named tags.

    Args:
        rows: raw rows of samples.
        scales: name of a tag -> (scale, offset).

    Returns:
        The rows; a value too large for float64 becomes infinite.
    """
    factor, shift = _factors(scales)
    return rows.with_columns(value=pl.col("value").cast(pl.Float64) * factor + shift)


def scaled_waveforms(rows: pl.DataFrame, scales: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """Return stretches with value = raw * scale + offset for the named tags, encoded again with new statistics.

    Args:
        rows: raw rows of stretches. Those without a tag, a time, a rate, values or a quality stay as they are.
        scales: name of a tag -> (scale, offset).

    Returns:
        The stretches, those of the named tags last; a value too large for float64 becomes infinite. One whose values
        need a larger encoding now may become several.
    """
    whole = pl.all_horizontal(pl.col(*HEADS.names(), "values").is_not_null())
    concerned = rows.select(whole & pl.col("tag").is_in(list(scales))).to_series()
    if not concerned.any():
        return rows
    raw = rows.filter(concerned)
    values, offsets = decode(raw)
    counts = np.diff(offsets)
    factor, shift = (np.repeat(part.to_numpy(), counts) for part in raw.select(*_factors(scales)))
    with np.errstate(over="ignore", invalid="ignore"):
        return pl.concat([rows.filter(~concerned), encode(raw, values * factor + shift)])


def _factors(scales: Mapping[str, tuple[float, float]]) -> list[pl.Expr]:
    """Return expressions of the scale and of the offset of each row's tag."""
    return [
        pl.col("tag")
        .replace_strict({tag: pair[part] for tag, pair in scales.items()}, default=identity, return_dtype=pl.Float64)
        .alias(name)
        for part, (name, identity) in enumerate((("#factor", 1.0), ("#shift", 0.0)))
    ]
