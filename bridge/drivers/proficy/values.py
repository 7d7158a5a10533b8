"""Raw samples of Proficy Historian to rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from bridge.drivers.rest.archive import ANSWER
from historian.quality import BAD, BAD_NO_DATA, GOOD, UNCERTAIN

_QUALITIES: Final = {0: BAD, 1: UNCERTAIN, 2: BAD_NO_DATA, 3: GOOD}
"""Quality of Proficy -> StatusCode."""
_TEXTS: Final = frozenset({"VariableString", "FixedString", "Blob", "Time"})
"""Types whose values are texts; of all others they are numbers, written as texts."""
_SAMPLE: Final = pl.Schema({"TimeStamp": pl.String(), "Value": pl.String(), "Quality": pl.Int64()})
_TRUTH: Final = {"true": 1.0, "false": 0.0}


def rows_of(samples: Sequence[Mapping[str, Any]], tag: str, data_type: str) -> pl.DataFrame:
    """Return the samples of a tag as rows, in order: columns of `ANSWER`.

    Args:
        samples: what `Samples` holds.
        tag: the tag.
        data_type: what `DataType` is.
    """
    if not samples:
        return ANSWER.to_frame()
    frame = pl.DataFrame(samples, schema=_SAMPLE, strict=False)
    quality = pl.col("Quality").replace_strict(_QUALITIES, default=None, return_dtype=pl.UInt32)
    usable, text = quality < BAD, pl.col("Value")
    truth = text.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    number = pl.coalesce(text.cast(pl.Float64, strict=False), truth)
    is_text = data_type in _TEXTS
    no_number = pl.lit(not is_text) & usable & number.is_null()
    return (
        frame.select(
            tag=pl.lit(tag),
            stamp="TimeStamp",
            timestamp=_instants(),
            value=pl.when(usable & (not is_text)).then(number),
            text=pl.when(usable & is_text).then(text),
            quality=quality,
            reason=pl.when(_instants().is_null())
            .then(pl.lit("the time is not one of Proficy"))
            .when(quality.is_null())
            .then(pl.lit("the quality is not one of Proficy: 0 to 3"))
            .when(no_number)
            .then(pl.lit("the value is not a number")),
            detail=pl.format("{} = {}, quality {}", pl.col("TimeStamp"), text, pl.col("Quality")),
        )
        .select(ANSWER.names())
        .cast(ANSWER)
    )


def _instants() -> pl.Expr:
    stamp = pl.col("TimeStamp").str.replace("Z$", "+00:00")
    exact = stamp.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="ns", time_zone="UTC", strict=False)
    return exact.dt.cast_time_unit("us")
