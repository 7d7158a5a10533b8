"""Transforms: what is done to every sample of a source between settling and the contract. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import polars as pl

from historian.plant.connections import Tag
from historian.samples import SampleBatch, normalise, sample_batch

Transform = Callable[[SampleBatch], SampleBatch]
"""One step; a pipeline is a tuple of them."""


def pipeline(tags: Iterable[Tag]) -> tuple[Transform, ...]:
    """The transforms that the tag list asks for; none where nothing is to be done."""
    scales = {tag.name: (tag.scale, tag.offset) for tag in tags if (tag.scale, tag.offset) != (1, 0)}
    return (lambda batch: scaled(batch, scales),) if scales else ()


def scaled(batch: SampleBatch, scales: Mapping[str, tuple[float, float]]) -> SampleBatch:
    """value = raw * scale + offset, for the tags named. A result float64 cannot hold becomes Bad, as in `normalise`."""
    factor, shift = (
        pl.col("tag").replace_strict(
            {tag: pair[part] for tag, pair in scales.items()}, default=identity, return_dtype=pl.Float64
        )
        for part, identity in ((0, 1.0), (1, 0.0))
    )
    rows = batch.with_columns(value=pl.col("value") * factor + shift)
    finite = rows["value"].is_finite().all()
    return sample_batch(rows) if finite else normalise(rows).batch
