"""Transforms of a source's raw rows before they are normalised. Pure.

Everything after them (contract, quarantine and store) is in engineering units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import polars as pl

from historian.plant.connections import Tag

Transform = Callable[[pl.DataFrame], pl.DataFrame]
"""A function from raw rows to raw rows; a pipeline is a tuple of them."""


def pipeline(tags: Iterable[Tag]) -> tuple[Transform, ...]:
    """Return the transforms that the tag list requires; an empty tuple if it requires none."""
    scales = {tag.name: (tag.scale, tag.offset) for tag in tags if (tag.scale, tag.offset) != (1, 0)}
    return (lambda rows: scaled(rows, scales),) if scales else ()


def scaled(rows: pl.DataFrame, scales: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """Return the rows with value = raw * scale + offset for the named tags.

    Args:
        rows: raw rows.
        scales: name of a tag -> (scale, offset).

    Returns:
        The rows; a value too large for float64 becomes infinite.
    """
    factor, shift = (
        pl.col("tag").replace_strict(
            {tag: pair[part] for tag, pair in scales.items()}, default=identity, return_dtype=pl.Float64
        )
        for part, identity in ((0, 1.0), (1, 0.0))
    )
    return rows.with_columns(value=pl.col("value").cast(pl.Float64) * factor + shift)
