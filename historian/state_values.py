"""Columns of numbers and texts -> the states that they stand for, by the rule of `historian.states`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from historian.states import BOOLEANS, DECIMAL

_WHOLE: Final = r"^-?(?:0|[1-9]\d*)$"


def state_of_number(number: pl.Expr) -> pl.Expr:
    """Return the states that numbers or Booleans stand for; null for null, NaN and infinity."""
    value = number.cast(pl.Float64)
    whole = value.cast(pl.Int64, strict=False).cast(pl.String)
    text = (
        pl.when(value == value.round()).then(pl.coalesce(whole, value.cast(pl.String))).otherwise(value.cast(pl.String))
    )
    return pl.when(value.is_finite()).then(text)


def state_of_text(text: pl.Expr) -> pl.Expr:
    """Return the states that texts stand for."""
    plain = text.str.strip_chars()
    truth = plain.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.String)
    # Whole numbers stay texts: float64 does not hold all of them.
    whole = pl.when(plain.str.contains(_WHOLE)).then(plain.replace({"-0": "0"}))
    number = pl.when(plain.str.contains(DECIMAL)).then(plain).cast(pl.Float64, strict=False)
    return pl.coalesce(truth, whole, state_of_number(number), plain)


def state_of(given: float | str) -> str:
    """Return the state that a number or text of the plant file stands for."""
    frame = pl.DataFrame({"given": [given]}, strict=False)
    expression = state_of_text if isinstance(given, str) else state_of_number
    return str(frame.select(expression(pl.col("given"))).item())


def named_states(listed: Mapping[str, float | str]) -> dict[str, str]:
    """Return state -> name, for the states that a point lists."""
    return {state_of(given): name for name, given in listed.items()}
