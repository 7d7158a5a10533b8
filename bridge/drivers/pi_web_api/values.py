"""Recorded values of PI Web API to rows. Pure.

A value is a number, a text, or an object: a digital state, or a state of the system such as I/O Timeout, which stands
where a number could not be had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from bridge.drivers.rest.archive import ANSWER
from historian.quality import (
    BAD,
    BAD_COMMUNICATION_ERROR,
    BAD_DEVICE_FAILURE,
    BAD_NO_DATA,
    BAD_NOT_CONNECTED,
    BAD_OUT_OF_RANGE,
    BAD_SENSOR_FAILURE,
    BAD_TIMEOUT,
    GOOD,
    UNCERTAIN,
)

_SYSTEM: Final = {
    "I/O Timeout": BAD_TIMEOUT,
    "Comm Fail": BAD_COMMUNICATION_ERROR,
    "Not Connect": BAD_NOT_CONNECTED,
    "Intf Shut": BAD_NOT_CONNECTED,
    "Shutdown": BAD_NOT_CONNECTED,
    "Scan Off": BAD_NOT_CONNECTED,
    "Bad Input": BAD_SENSOR_FAILURE,
    "Equip Fail": BAD_DEVICE_FAILURE,
    "Over Range": BAD_OUT_OF_RANGE,
    "Under Range": BAD_OUT_OF_RANGE,
    "No Data": BAD_NO_DATA,
    "Pt Created": BAD_NO_DATA,
    "No Sample": BAD_NO_DATA,
}
"""Names of PI's set of system states -> StatusCode; all others are Bad."""
_FLAGS: Final = pl.Schema({"Timestamp": pl.String(), "Good": pl.Boolean(), "Questionable": pl.Boolean()})
_STATE: Final = pl.Struct({"Name": pl.String(), "Value": pl.Int64(), "IsSystem": pl.Boolean()})


def rows_of(items: Sequence[Mapping[str, Any]], tag: str, *, is_number: bool, is_state: bool) -> pl.DataFrame:
    """Return recorded values as rows, in order: columns of `ANSWER`.

    Args:
        items: what `Items` holds.
        tag: the tag.
        is_number: whether the point holds numbers.
        is_state: whether a digital state is wanted as its name, not as its number.
    """
    if not items:
        return ANSWER.to_frame()
    values, objects, texts = _contents(items, is_number=is_number)
    state, system = pl.col("state").struct, pl.col("state").struct.field("IsSystem").fill_null(value=False)
    refused = pl.col("error").is_not_null()
    frame = pl.DataFrame(items, schema=_FLAGS, strict=False).with_columns(
        values, objects, texts, error=pl.Series([each.get("Errors") for each in items], dtype=pl.String, strict=False)
    )
    bad = (
        ~pl.col("Good").fill_null(value=True)
        | system
        | pl.col("state").is_null() & pl.all_horizontal(pl.col("number", "words").is_null())
    )
    name, number = state.field("Name"), state.field("Value").cast(pl.Float64)
    frame = frame.select(
        tag=pl.lit(tag),
        stamp="Timestamp",
        timestamp=_instants(),
        value=pl.when(~bad).then(pl.col("number") if is_state else pl.coalesce("number", number)),
        text=pl.when(~bad).then(pl.coalesce("words", name) if is_state else pl.col("words")),
        quality=pl.when(bad)
        .then(pl.when(system).then(name.replace_strict(_SYSTEM, default=BAD)).otherwise(BAD))
        .otherwise(pl.when("Questionable").then(UNCERTAIN).otherwise(GOOD)),
        reason=pl.when(refused)
        .then(pl.lit("the server has an error instead of a value"))
        .when(pl.col("Timestamp").is_null() | _instants().is_null())
        .then(pl.lit("the time is not one of PI Web API")),
        detail=pl.coalesce("error", "Timestamp"),
    )
    return frame.select(ANSWER.names()).cast(ANSWER)


def _contents(items: Sequence[Mapping[str, Any]], *, is_number: bool) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Divide the values, which are of several types in one array, into numbers, objects and texts."""
    given = [item.get("Value") for item in items]
    objects = [each if isinstance(each, dict) else None for each in given]
    plain = [None if isinstance(each, dict) else each for each in given]
    numbers = pl.Series("number", plain if is_number else [None] * len(plain), pl.Float64, strict=False)
    words = pl.Series("words", plain, pl.String, strict=False)
    if is_number:
        words = pl.select(pl.when(numbers.is_null()).then(words).alias("words")).to_series()
    return numbers, pl.DataFrame({"state": objects}, schema={"state": _STATE}, strict=False)["state"], words


def _instants() -> pl.Expr:
    """Return the times, which have up to seven decimals, cut to microseconds."""
    stamp = pl.col("Timestamp").str.replace("Z$", "+00:00")
    exact = stamp.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="ns", time_zone="UTC", strict=False)
    return exact.dt.cast_time_unit("us")
