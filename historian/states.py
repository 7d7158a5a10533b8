"""What a state is, whether a source reports it as a number, a Boolean, a text or an enumeration: one rule. Pure.

A state is a text: of a number the shortest decimal (1.0 is `1`), of a Boolean `1` or `0`, of an enumeration what the
source reports, its name or its number. A text that is a plain decimal stands for that number (`1.50` is `1.5`), and
`true` and `false` in any case for `1` and `0`; `007` and `1e3` are texts. So `states = { on = 1 }` matches 1, 1.0, `1`,
`1.0` and true, from a file as well as live.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

_DECIMAL: Final = r"^-?(?:0|[1-9]\d*)(?:\.\d+)?$"
_WHOLE: Final = r"^-?(?:0|[1-9]\d*)$"
_BOOLEANS: Final = {"true": "1", "false": "0"}


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
    truth = plain.str.to_lowercase().replace_strict(_BOOLEANS, default=None, return_dtype=pl.String)
    # Whole numbers stay texts: float64 does not hold all of them.
    whole = pl.when(plain.str.contains(_WHOLE)).then(plain.replace({"-0": "0"}))
    number = pl.when(plain.str.contains(_DECIMAL)).then(plain).cast(pl.Float64, strict=False)
    return pl.coalesce(truth, whole, state_of_number(number), plain)


def state_of(given: float | str) -> str:
    """Return the state that a number or text of the plant file stands for."""
    frame = pl.DataFrame({"given": [given]}, strict=False)
    expression = state_of_text if isinstance(given, str) else state_of_number
    return str(frame.select(expression(pl.col("given"))).item())


def named_states(listed: Mapping[str, float | str]) -> dict[str, str]:
    """Return state -> name, for the states that a point lists."""
    return {state_of(given): name for name, given in listed.items()}


def listing_problem(listed: Mapping[str, float | str], *, numbers: bool) -> str:
    """Return what is wrong with the states that a point lists; empty if nothing is.

    Args:
        listed: name -> number or text.
        numbers: whether the point's samples are numbers.
    """
    if len(named_states(listed)) < len(listed):
        return "states gives two names to one value; 1, 1.0, true and the text of either are one value"
    for name, given in listed.items():
        if numbers and isinstance(given, str) and not _is_number(given):
            return (
                f'states.{name} is the text "{given}", but the samples of a process point are numbers; write a number'
            )
    return ""


def _is_number(text: str) -> bool:
    state = pl.Series([state_of(text)])
    return bool(state.str.contains(_DECIMAL).item())
