"""`penstock alarms replay`: how often, how early, and as events that label rules can use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from features.analysis.replay import replay
from features.training.events import read_events
from features.training.label_rules import LabelRule
from features.training.rule_labels import rule_labels
from historian.errors import ConfigError, InvalidInput
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from tests.commands import record_of
from tests.features.feature_rows import append_rows

START = datetime(2026, 3, 1, tzinfo=UTC)
ALARMS = """
[classes.compressor.alarms.shock]
feature = "vibration:de_h_kurtosis"
above = 6.0
hysteresis = 1.0
after = "10s"
[classes.compressor.alarms.odd]
feature = "{}"
above = 1
"""


def with_alarms(plant: Plant, odd: str = "vibration:de_h_rms_ac") -> Plant:
    """The plant with two alarms on compressors."""
    file, section = plant.root / "plant.toml", "[classes.pump.points]"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(section, f"{ALARMS.format(odd)}\n{section}"), encoding="utf-8")
    return load_plant(plant.root)


def test_a_replay_counts_firings_and_hours_before_each_failure(plant: Plant, tmp_path: Path) -> None:
    """A correction counts, a failure of another asset has no warning, and the firings can be read as events."""
    alarmed = with_alarms(plant)
    rows = [("c101", 10.0 * k, 10.0 * k, 3.0 if k < 4 or k == 9 else 7.0) for k in range(12)]
    append_rows(alarmed, "compressor_vibration", *rows, ("c101", 50.0, 900.0, 7.5), ("c102", 0.0, 0.0, 2.0))
    failures, out = tmp_path / "failures.csv", tmp_path / "fired.csv"
    failures.write_text(
        "asset,kind,happened_at\nc101,failure,2026-03-01T02:00:50Z\nc102,failure,2026-03-01T02:00:00Z\n"
    )
    found = record_of("alarms", "replay", "shock", "--plant", alarmed.root, "--failures", failures, "--out", out)
    (shock,) = found["alarms"]
    assert (shock["fired"], shock["assets"], shock["active"], shock["false_alarms"]) == (2, {"c101": 2}, ["c101"], 0)
    assert [(each["asset"], each["hours"]) for each in shock["failures"]] == [("c101", 2.0), ("c102", None)]
    events = read_events(out, alarmed.assets)
    assert events.select("asset", "kind").rows() == [("c101", "shock"), ("c101", "shock")]
    assert events["happened_at"].dt.second().to_list() == [50, 50]
    assert labels_of(out, alarmed) == [False, True, True]


def labels_of(fired: Path, plant: Plant) -> list[bool]:
    """Labels of a rule whose failures are firings: does the alarm fire within 20 s, from 10 s, 30 s and 40 s on?"""
    times = [START + timedelta(seconds=at) for at in (10, 30, 40)]
    rule = LabelRule.model_validate(
        {
            "events": fired.name,
            "assets": ["c101"],
            "target": {"kind": "horizon", "horizon": "20s", "failures": ["shock"]},
            "times": {"view": "compressor_vibration"},
        }
    )
    grid = pl.DataFrame({"asset": "c101", "event_timestamp": times}).cast({"event_timestamp": pl.Datetime("us", "UTC")})
    found = rule_labels(grid, read_events(fired, plant.assets), rule, until=START + timedelta(hours=1))
    return found.labels.sort("event_timestamp")[rule.target.name].to_list()


@pytest.mark.parametrize(
    ("odd", "names", "error", "words"),
    [
        ("vibration:de_h_kurtosi", [], ConfigError, "alarms.odd: the column 'de_h_kurtosi' is unknown; did you mean"),
        ("vibration:de_h_reason", [], ConfigError, "alarms.odd: the column 'de_h_reason' is no number"),
        ("vibration:de_h_rms_ac", ["shok"], InvalidInput, "no alarm 'shok'; did you mean shock"),
        (
            "vibratoin:de_h_rms_ac",
            [],
            ConfigError,
            "alarms.odd: unknown feature set 'vibratoin'; did you mean vibration",
        ),
    ],
)
def test_an_alarm_that_cannot_be_is_named(
    plant: Plant, odd: str, names: list[str], error: type[Exception], words: str
) -> None:
    """With what comes close to it; an unknown feature set is found when the plant file is read."""
    with pytest.raises(error, match=words):
        replay(with_alarms(plant, odd), names=names)


def test_a_plant_without_alarms_says_what_to_write(plant: Plant) -> None:
    """The message is the table to add."""
    with pytest.raises(InvalidInput, match=r"write \[classes.X.alarms.NAME\]"):
        replay(plant)


def test_failures_of_a_kind_that_is_not_there_are_an_error(plant: Plant, tmp_path: Path) -> None:
    """A misspelt kind would count every firing as a false alarm."""
    (tmp_path / "failures.csv").write_text("asset,kind,happened_at\nc101,failur,2026-03-01T02:00:50Z\n")
    command = ["alarms", "replay", "--plant", str(with_alarms(plant).root)]
    with pytest.raises(AssertionError, match="has no event of kind 'failure'; did you mean failur"):
        record_of(*command, "--failures", tmp_path / "failures.csv")
