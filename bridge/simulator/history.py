"""Writes the compressor's history as legacy systems export it: three exports in three layouts, and labels.

The files contain realistic defects, one of each kind: a repeated row, a time-out of the temperature logger, and an
impossible oil temperature. Labels are the true state of the bearing at irregular instants; a few are repeated.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridge.simulator.signals import Compressor, Instants, Values, burst_instants
from historian.times import micros

BURST_EVERY: Final = timedelta(seconds=10)
_PRESSURE_EVERY_S: Final = 5
_HEARTBEAT: Final = 60
"""Longest time in seconds between two reports of a process value that does not change."""
_LABELS: Final = 40
_REPEATED_LABELS: Final = 3
_IMPOSSIBLE_DEGC: Final = 999.0
_ISO: Final = "%Y-%m-%dT%H:%M:%S%.fZ"


def write_history(directory: Path, compressor: Compressor, start: datetime, end: datetime) -> dict[str, int]:
    """Write `history/` and `labels.csv` for start <= t < end, and return the number of rows per kind of file.

    Args:
        directory: where to write.
        compressor: the simulated machine.
        start: the first instant, a whole second.
        end: the first instant after the range, a whole second.
    """
    history = directory / "history"
    (history / "vibration").mkdir(parents=True, exist_ok=True)
    slow = _slow(compressor, start, end)
    slow.write_csv(history / "slow.csv")
    pressure = _pressure(compressor, start, end)
    pressure.write_csv(history / "pressure.csv", separator=";")
    labels = _labels(compressor, start, end)
    labels.write_csv(directory / "labels.csv")
    bursts = _write_vibration(history / "vibration", compressor, start, end)
    return {"bursts": bursts, "slow": slow.height, "pressure": pressure.height, "labels": labels.height}


def reported(values: Values, deadband: float) -> NDArray[np.bool_]:
    """Return which values of a series at 1 Hz a device would report: changes above the deadband, and a heartbeat.

    Args:
        values: [seconds]
        deadband: the smallest change that is reported, in the unit of the values.
    """
    steps = np.floor(values / deadband)
    kept: NDArray[np.bool_] = np.diff(steps, prepend=np.nan) != 0
    kept[::_HEARTBEAT] = True
    return kept


def _seconds(start: datetime, end: datetime, every: int = 1) -> Instants:
    return np.arange(micros(start), micros(end), every * 1_000_000, dtype=np.int64)


def _write_vibration(directory: Path, compressor: Compressor, start: datetime, end: datetime) -> int:
    """Write one file per hour with one row per burst; delete the files of an earlier run, which had another fault."""
    for earlier in directory.glob("*.parquet"):
        earlier.unlink()
    count = (end - start) // BURST_EVERY
    starts = [start + number * BURST_EVERY for number in range(count)]
    hours = pl.DataFrame({"timestamp": starts}, schema={"timestamp": pl.Datetime("us", "UTC")})
    for (hour,), group in hours.group_by(pl.col("timestamp").dt.truncate("1h"), maintain_order=True):
        at = [burst_instants(instant) for instant in group["timestamp"]]
        columns = {
            direction: [compressor.acceleration(direction, instants).astype(np.float32) for instants in at]
            for direction in ("de_h", "de_v")
        }
        bursts = group.with_columns(pl.Series(name, bursts) for name, bursts in columns.items())
        bursts.write_parquet(directory / f"{hour:%Y%m%dT%H}.parquet", row_group_size=60)
    return count


def _slow(compressor: Compressor, start: datetime, end: datetime) -> pl.DataFrame:
    """Return speed, temperature and state, reported by exception; all cells are text."""
    at = _seconds(start, end)
    speed, oil_temp, state = compressor.speed(at), compressor.oil_temp(at), compressor.state(at)
    changed = np.r_[True, state[1:] != state[:-1]]
    rows = pl.concat(
        [
            _long("c101.speed", at, np.round(speed, 1).astype(str), reported(speed, 1.0)),
            _long("c101.oil_temp", at, np.round(oil_temp, 2).astype(str), reported(oil_temp, 0.1)),
            _long("c101.state", at, state, changed),
        ]
    ).sort("timestamp", maintain_order=True)
    return _with_warts(rows).with_columns(pl.col("timestamp").dt.strftime(_ISO))


def _long(tag: str, at: Instants, values: NDArray[np.str_], kept: NDArray[np.bool_]) -> pl.DataFrame:
    columns = {"tag": tag, "timestamp": pl.Series(at[kept], dtype=pl.Datetime("us", "UTC")), "value": values[kept]}
    return pl.DataFrame(columns).with_columns(quality=pl.lit("Good"))


def _with_warts(rows: pl.DataFrame) -> pl.DataFrame:
    numbered = rows.with_row_index("number")
    oil = numbered.filter(tag="c101.oil_temp")["number"]
    timed_out, impossible, repeated = (oil[int(oil.len() * part)] for part in (0.25, 0.5, 0.75))
    number = pl.col("number")
    warped = numbered.with_columns(
        value=pl.when(number == timed_out)
        .then(pl.lit("I/O Timeout"))
        .when(number == impossible)
        .then(pl.lit(str(_IMPOSSIBLE_DEGC)))
        .otherwise("value")
    )
    twice = pl.when(number == repeated).then(2).otherwise(1)
    return warped.select(pl.exclude("number").repeat_by(twice)).explode(rows.columns)


def _pressure(compressor: Compressor, start: datetime, end: datetime) -> pl.DataFrame:
    """Return an export with a decimal comma and times without a zone."""
    at = _seconds(start, end, _PRESSURE_EVERY_S)
    bar = pl.Series(np.round(compressor.discharge_pressure(at), 3)).cast(pl.String).str.replace(".", ",", literal=True)
    times = pl.Series(at, dtype=pl.Datetime("us"))
    return pl.DataFrame({"time": times.dt.strftime("%Y-%m-%d %H:%M:%S"), "discharge_pressure": bar})


def _labels(compressor: Compressor, start: datetime, end: datetime) -> pl.DataFrame:
    draw = np.random.default_rng(compressor.seed)
    first = micros(start) + (micros(end) - micros(start)) // 10
    at = np.sort(draw.integers(first, micros(end), _LABELS))
    at = np.concatenate([at, draw.choice(at, _REPEATED_LABELS, replace=False)])
    times = pl.Series(at, dtype=pl.Datetime("us", "UTC")).dt.strftime(_ISO)
    severity = np.round(compressor.severity(at), 4)
    return pl.DataFrame({"asset": "c101", "event_timestamp": times, "severity": severity})
