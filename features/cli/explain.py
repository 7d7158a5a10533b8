"""`penstock explain`: where one value of a feature comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from features.analysis.explain import explanation
from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import format_duration, parse_instant, utc_now

_LABEL = 12


def explain(
    ref: Annotated[str, typer.Argument(help="VIEW:COLUMN, such as compressor_vibration:de_h_rms_ac.")],
    asset: Annotated[str, typer.Argument(help="An asset of the view.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    at: Annotated[str, typer.Option(help="Explain the newest value by this time: ISO 8601 with zone, or now.")] = "now",
    as_json: JsonOption = False,
) -> None:
    """Explain one value: its window, samples, writes, tag and address, the facts it rests on, versions.

    At the end the value is computed again from the samples that the store has now.
    """
    checked, now = load_plant(plant), utc_now()
    record = explanation(checked, open_store(checked), ref, asset, parse_instant(at, now=now), now=now)
    answer(record, "\n".join(_lines(record)), as_json=as_json)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield a block for each section of the record: its name, then what it holds."""
    for section, content in record.items():
        if isinstance(content, list):
            content = {f"{number}": each for number, each in enumerate(content, 1)}
        if not content:
            yield f"{section:{_LABEL}} none"
            continue
        for number, (key, value) in enumerate(content.items()):
            yield f"{section if number == 0 else '':{_LABEL}} {key}: {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f} UTC"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(map(_text, value)) or "none"
    return f"{value:.9g}" if isinstance(value, float) else "none" if value is None or value == "" else str(value)
