"""What is one state, whether a source reports it as a number, a Boolean, a text or an enumeration: one rule. Pure.

A state is a text: of a number the shortest decimal (1.0 is `1`), of a Boolean `1` or `0`, of an enumeration what the
source reports, its name or its number. A text that is a plain decimal stands for that number (`1.50` is `1.5`), and
`true` and `false` in any case for `1` and `0`; `007` and `1e3` are texts. So `states = { on = 1 }` matches 1, 1.0, `1`,
`1.0` and true, from a file as well as live.

`historian.state_values` applies the rule to columns; this module checks what the plant file lists, without Polars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

DECIMAL: Final = r"^-?(?:0|[1-9]\d*)(?:\.\d+)?$"
"""A text that stands for a number."""
BOOLEANS: Final = {"true": "1", "false": "0"}
"""Text in lower case -> the number that it stands for."""


def listing_problem(listed: Mapping[str, float | str], *, numbers: bool) -> str:
    """Return what is wrong with the states that a point lists; empty if nothing is.

    Args:
        listed: name -> number or text.
        numbers: whether the point's samples are numbers.
    """
    values = [value_of(given) for given in listed.values()]
    if len(set(values)) < len(values):
        return "states gives two names to one value; 1, 1.0, true and the text of either are one value"
    for name, value in zip(listed, values, strict=True):
        if numbers and isinstance(value, str):
            return f'states.{name} is the text "{value}", but a process point has numbers; write a number'
    return ""


def value_of(given: float | str) -> Decimal | str:
    """Return the number that a number or text stands for, or else the text; equal for what is one state."""
    if not isinstance(given, str):
        return Decimal(repr(float(given)))
    text = BOOLEANS.get(given.strip().lower(), given.strip())
    return Decimal(text) if re.match(DECIMAL, text) else text
