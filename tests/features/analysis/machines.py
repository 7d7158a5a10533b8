"""A plant of one machine with one sensor, and a store with its waveform."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.memory import MemoryStore
from historian.waveforms.batch import waveform_batch
from historian.waveforms.encoding import HEADS, encode

T0: Final = datetime(2026, 3, 1, tzinfo=UTC)
LATER: Final = datetime(2026, 3, 1, 1, tzinfo=UTC)
CWRU: Final = "{ balls = 9, ball_diameter = 0.3126, pitch_diameter = 1.537 }"
MFPT: Final = "{ balls = 8, ball_diameter = 0.235, pitch_diameter = 1.245 }"
FILE: Final = """
[site]
name = "rig"
[classes.motor.points]
de = {{ kind = "vibration", unit = "g", sample_rate = {rate:g}, zones = {{ limits = [1.4, 2.8, 4.5], \
source = "ISO 20816-3:2022", machine = "group 2, rigid support" }} }}
oil = {{ kind = "process", unit = "degC" }}
[classes.motor.features]
shocks = {{ window = "1s", points = ["de"], align = "burst", features = [{groups}] }}
{sections}
[assets.m1]
class = "motor"
{facts}
[archives.files]
driver = "files"
path = "history/*.parquet"
layout = "long"
tags = "tags.csv"
"""


def machine(
    directory: Path,
    rate: float,
    *,
    bearing: str = CWRU,
    rpm: float | None = 1797,
    groups: str = '"time", "envelope", "verdict"',
    sections: str = "",
) -> Plant:
    """A motor `m1` with the point `de`; without speed or bearing only groups that need none."""
    facts = [*([f"bearing = {bearing}"] if bearing else []), *([f"speed_rpm = {rpm}"] if rpm else [])]
    groups = groups if bearing and rpm else '"time"'
    text = FILE.format(rate=rate, groups=groups, sections=sections, facts="\n".join(facts))
    (directory / "plant.toml").write_text(text, encoding="utf-8")
    (directory / "tags.csv").write_text(
        "tag,asset,point,address\nm1.de,m1,de,de\nm1.oil,m1,oil,oil\n", encoding="utf-8"
    )
    return load_plant(directory)


def recorded(wave: Any, rate: float, *, bursts: int = 1) -> MemoryStore:
    """A store in which the waveform of `m1.de` begins at T0; cut into bursts, ten seconds apart."""
    store, size = MemoryStore(), len(wave) // bursts
    starts = [T0 + timedelta(seconds=10 * burst) for burst in range(bursts)]
    heads = {"tag": "m1.de", "timestamp": starts, "sample_rate": rate, "count": size, "quality": 0}
    batch = waveform_batch(encode(pl.DataFrame(heads, schema=HEADS), np.asarray(wave[: bursts * size], np.float64)))
    store.write_waveforms(batch, source="test", now=LATER)
    return store
