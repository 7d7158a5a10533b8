"""`penstock values`: the newest value of each tag."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.stores.newest import NewestValue, newest_values
from historian.stores.open import open_store
from historian.times import utc_now

_EVERY_TAG: Final[list[str]] = []
_UNITS: Final = ((172_800, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))
"""For each unit of an age, the seconds from which it is used, and the seconds in it."""


def values(
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="TAG…", help="Names, or patterns such as 'c101.*'; all if absent.")
    ] = None,
    *,
    plant: PlantOption = Path("plant.toml"),
    as_json: JsonOption = False,
) -> None:
    """Print the newest sample of each tag: its time, age, value with unit, and quality."""
    checked = load_plant(plant)
    found = newest_values(checked, open_store(checked), tags or _EVERY_TAG, now=utc_now())
    rows = [_cells(each) for each in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    answer({"values": [asdict(each) for each in found]}, "\n".join(lines), as_json=as_json)


def _cells(newest: NewestValue) -> tuple[str, str, str, str, str]:
    if newest.timestamp is None or newest.age_s is None:
        return newest.tag, "no samples", "", "", ""
    number = f"{newest.value:g}" if isinstance(newest.value, float) else newest.value
    value = "no value" if number is None else f"{number} {newest.unit}".rstrip()
    return newest.tag, f"{newest.timestamp:%Y-%m-%d %H:%M:%S} UTC", _age(newest.age_s), value, newest.quality or ""


def _age(seconds: float) -> str:
    size, unit = next((size, unit) for least, size, unit in _UNITS if abs(seconds) >= least)
    amount = f"{abs(seconds) / size:.{1 if unit == 's' else 0}f} {unit}"
    return f"{amount} ago" if seconds >= 0 else f"{amount} in the future"
