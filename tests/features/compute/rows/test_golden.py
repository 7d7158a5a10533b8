"""Stored values of every feature by version, so that none changes without a new version.

Stored rows record the versions that computed them: `penstock compute --stale` recomputes older ones.
New values are written down by `python -m tests.features.compute.rows.test_golden --write`. It adds what is new and
drops what no feature has any more, but never puts another value in place of one of the same version.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.compute.rows.kernel_values import waveform_values
from features.compute.rows.vibration_batches import Machine
from features.define.catalogue import GROUPS, QUALITY_COLUMNS
from features.define.point_plan import resolve_point
from features.define.spec import FeatureGroup, FeatureSpec, Floats
from features.kernels.process import held_windows, holds
from features.kernels.states import StateWindows
from features.windows.tiling import Tiling
from historian.plant.model import AssetClass, Bearing
from historian.plant.plant import View

GOLDEN: Final = Path(__file__).with_name("golden.json")
Found = dict[str, list[float | str]]
"""`kurtosis (time), version 1` -> its value in each window."""

RATE: Final = 25_600
SECOND: Final = 1_000_000
SHAFT: Final = np.array([29.95, 30.0])
CWRU: Final = Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)
OUTER_RACE: Final = 107.0
"""Hz, close to the BPFO of that bearing at these speeds."""
LIMITS: Final = {"limits": [1.4, 2.8, 4.5], "source": "ISO 20816-3:2022", "machine": "group 2, rigid"}
POINT: Final = {"kind": "vibration", "unit": "g", "sample_rate": RATE, "zones": LIMITS}
VIBRATION: Final = (
    "time",
    "spectrum",
    "orders",
    "envelope",
    "kurtogram",
    "verdict",
    "tracking",
    "gears",
    "peakhold",
    "cepstrum",
)


def key(group: str, spec: FeatureSpec[Any]) -> str:
    """The key of a feature's values in the file."""
    return f"{spec.name} ({group}), version {spec.version}"


def vibration() -> Floats:
    """[2 s] in g: a bias, noise, the shaft's harmonics, mains, and impacts on the outer race.

    All but the noise is twice as strong in the second one, and so in another zone.
    """
    time = np.arange(2 * RATE) / RATE
    # Raw bits stay the same with every version of NumPy, which its normal numbers need not.
    uniform = np.random.PCG64(20_816).random_raw(12 * len(time)).reshape(12, -1) / 2.0**64
    tones = ((0.01, 15), (0.05, 29.95), (0.03, 59.9), (0.02, 89.85), (0.01, 100))
    since = np.mod(time, 1 / OUTER_RACE)
    impacts = 0.5 * np.exp(-800 * since) * np.sin(2 * np.pi * 3100 * since)
    hum = sum(height * np.sin(2 * np.pi * frequency * time) for height, frequency in tones)
    return np.asarray(0.02 + 0.05 * (uniform.sum(axis=0) - 6) + (1 + (time >= 1)) * (hum + impacts))


def vibration_groups() -> Mapping[str, FeatureGroup]:
    """The built-in groups of vibration points, and the zone of a point that has limits."""
    point = AssetClass.model_validate({"points": {"de_h": POINT}}).points["de_h"]
    second = timedelta(seconds=1)
    view = View("v", "c", ("de_h",), "vibration", second, second, "epoch", None, VIBRATION)
    return resolve_point(view, "de_h", point).groups


def of_vibration() -> Found:
    """Every feature of the two seconds."""
    groups = vibration_groups()
    tiling, machine = Tiling(SECOND, SECOND, RATE), Machine(SHAFT, CWRU)
    values = waveform_values(vibration(), np.array([0, RATE]), tiling, "g", groups.values(), machine)
    seconds = {key(name, spec): values[spec.name].tolist() for name, group in groups.items() for spec in group.specs}
    # Displacement needs finer lines than a second has.
    long, slow = np.tile(vibration(), 5), GROUPS["integrated"]
    values = waveform_values(long, np.array([0, 5 * RATE]), Tiling(5 * SECOND, 5 * SECOND, RATE), "g", [slow], machine)
    return seconds | {key("integrated", spec): values[spec.name].tolist() for spec in slow.specs}


def of_process_tags() -> Found:
    """Every feature of two minutes that overlap by half, of eleven samples, one of which is Bad."""
    times = SECOND * np.array([-7, 4, 12, 21, 33, 40, 48, 55, 63, 71, 82])
    values = np.array([0.0, 1, 1, 2, 0, 0, 2, 1, 1, 0, 2])
    usable = np.arange(len(times)) != 6
    windows = partial(held_windows, end=SECOND * np.array([60, 90]), valid=np.ones(2, np.bool_), length=60 * SECOND)
    held = holds(times, values, usable, staleness=10 * SECOND)
    numbers = windows(replace(held, values=20.5 + 1.75 * held.values))
    states = StateWindows(windows(held), ("off", "state", "tripped"))
    process = {key("process", spec): spec.kernel(numbers).tolist() for spec in GROUPS["process"].specs}
    return process | {key("states", spec): spec.kernel(states).tolist() for spec in GROUPS["states"].specs}


def found() -> Found:
    """The present values of every feature."""
    return of_vibration() | of_process_tags()


def golden() -> Found:
    """The stored values of every feature's version."""
    written: Found = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    return written


def same(now: list[float | str], then: list[float | str]) -> bool:
    """To nine digits, within which libraries of mathematics agree; texts to the letter."""
    return len(now) == len(then) and all(map(_same, now, then))


def _same(now: float | str, then: float | str) -> bool:
    if isinstance(now, str) or isinstance(then, str):
        return now == then
    return math.isclose(now, then, rel_tol=1e-9)


def changed(now: Found, then: Found) -> list[str]:
    """A message for each feature that gives other values than its stored version."""
    return [
        f"{name} gives {now[name]}, but gave {then[name]}: raise the version of its FeatureSpec and write down the "
        "new value, with `python -m tests.features.compute.rows.test_golden --write`"
        for name in sorted(now.keys() & then.keys())
        if not same(now[name], then[name])
    ]


def test_every_feature_has_golden_values_and_all_are_defined() -> None:
    """This covers all groups and the zone, and no value belongs to a missing feature or another version."""
    specs = [(name, spec) for name, group in GROUPS.items() for spec in group.specs]
    specs += [("zone", spec) for spec in QUALITY_COLUMNS["zone"]]
    assert set(golden()) == {key(name, spec) for name, spec in specs}, (
        "write down the values of what is new, drop what is gone: "
        "`python -m tests.features.compute.rows.test_golden --write`"
    )
    assert all(isinstance(value, str) or np.isfinite(value) for values in golden().values() for value in values)


def test_no_feature_changes_without_a_new_version() -> None:
    """Every feature gives the values stored for its version."""
    problems = changed(found(), golden())
    assert not problems, "\n".join(problems)


def test_a_changed_value_is_reported_with_what_to_do() -> None:
    """The ninth digit counts, the eleventh does not, and another version is not compared."""
    then: Found = {"a, version 1": [2.0, "on"]}
    assert changed({"a, version 1": [2.0 + 2e-11, "on"], "a, version 2": [3.0, "on"]}, then) == []
    others: list[list[float | str]] = [[2.0 + 2e-8, "on"], [2.0, "off"], [float("nan"), "on"], [2.0]]
    for now in others:
        assert "raise the version of its FeatureSpec" in changed({"a, version 1": now}, then)[0]


def write_down() -> None:
    """Adds new values and drops unused ones; stops at a value that changed under its version."""
    now, then = found(), golden()
    if problems := changed(now, then):
        sys.exit("\n".join(problems))
    kept = {name: then.get(name, [_twelve_digits(each) for each in values]) for name, values in now.items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in kept.items())
    GOLDEN.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _twelve_digits(value: float | str) -> float | str:
    return float(f"{value:.12g}") if isinstance(value, float) else value


if __name__ == "__main__":
    write_down() if sys.argv[1:] == ["--write"] else sys.exit("say --write to write down new values")
