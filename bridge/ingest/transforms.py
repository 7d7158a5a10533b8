"""Transforms: what is done to the raw rows of a source before they are normalised. Pure.

Everything behind them, the contract, the quarantine and the store, is in engineering units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import polars as pl

from historian.plant.connections import Tag

Transform = Callable[[pl.DataFrame], pl.DataFrame]
"""One step on raw rows; a pipeline is a tuple of them."""


def pipeline(tags: Iterable[Tag]) -> tuple[Transform, ...]:
    """The transforms that the tag list asks for; none where nothing is to be done."""
    scales = {tag.name: (tag.scale, tag.offset) for tag in tags if (tag.scale, tag.offset) != (1, 0)}
    return (lambda rows: scaled(rows, scales),) if scales else ()


def scaled(rows: pl.DataFrame, scales: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """value = raw * scale + offset, for the tags named. What float64 cannot hold becomes infinite."""
    factor, shift = (
        pl.col("tag").replace_strict(
            {tag: pair[part] for tag, pair in scales.items()}, default=identity, return_dtype=pl.Float64
        )
        for part, identity in ((0, 1.0), (1, 0.0))
    )
    return rows.with_columns(value=pl.col("value").cast(pl.Float64) * factor + shift)
