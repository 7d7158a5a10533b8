"""Labels with mistakes in them: what a training set made of them reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from historian.errors import InvalidInput
from historian.times import format_instant, utc_now
from tests.features.feature_rows import START

RMS = "compressor_vibration:de_h_rms_ac"


def add_event(history: Path, kind: str, at: str) -> None:
    """Adds an event of c102, in row 5 of the file."""
    with (history / "failures.csv").open("a") as file:
        file.write(f"c102,{kind},{at},,\n")


def made(history: Path, penstock: Callable[..., Any], *options: str) -> Any:
    """The training set of the rule, in `set`."""
    return penstock("training-set", history / "rule.toml", "--out", history / "set", "-f", RMS, *options, "--json")


def test_a_kind_in_another_case_is_refused_although_others_match(history: Path, penstock: Callable[..., Any]) -> None:
    """Its machine would become an example of one that does not fail."""
    add_event(history, "Failure", "2026-03-01T00:03:20Z")
    with pytest.raises(InvalidInput, match=r"^failures.csv row 5: kind 'Failure' has no effect; did you mean failure"):
        made(history, penstock)


def test_a_future_event_is_reported_and_changes_no_label(
    history: Path, finished: Path, penstock: Callable[..., Any]
) -> None:
    """The same rows as without it, also when the set is verified; row and end of observation are in the report."""
    command = ("training-set", history / "rule.toml", "--out", history / "set")
    before = penstock(*command, "--json")["rows"]
    add_event(history, "failure", format_instant(utc_now() + timedelta(days=30)))
    answer = penstock(*command, "--verify", "--json")
    assert (answer["rows"], answer["verified"]) == (before, True)
    warning = "1 event (row 5 of the event file) are later than 2026-03-01T00:03:58Z, the end of observation"
    assert any(text.startswith(warning) for text in answer["warnings"])
    assert warning in (history / "set" / "report.html").read_text()
    assert warning in penstock(*command, "--dry-run")
    assert json.loads((history / "set" / "manifest.json").read_text())["events"]["later"] == {"rows": [5], "events": 1}


def test_the_report_shows_events_by_kind(history: Path, penstock: Callable[..., Any]) -> None:
    """Kinds without effect are shown; those that resemble one of the rule's are warnings too."""
    add_event(history, "failures", "2026-03-01T00:03:20Z")
    add_event(history, "inspection", "2026-03-01T00:03:21Z")
    answer = made(history, penstock)
    [warning] = [text for text in answer["warnings"] if "failures" in text]
    assert warning.startswith("1 event of kind 'failures' without effect; did you mean failure?")
    report = (history / "set" / "report.html").read_text()
    rows = re.findall(r"<tr><td>([^<]*)</td><td class=\"n\">(\d+)</td><td>([^<]*)</td></tr>", report)
    assert rows == [
        ("failure", "2", "failure"), ("failures", "1", "none"), ("inspection", "1", "none"), ("repair", "1", "restart"),
    ]  # fmt: skip
    planned = penstock("training-set", history / "rule.toml", "--out", history / "new", "--dry-run", "--json")
    assert planned["events"]["kinds"]["inspection"] == {"events": 1, "effect": "none"}


def test_an_end_of_observation_in_the_future_is_refused(history: Path, penstock: Callable[..., Any]) -> None:
    """Nobody has seen what happens until then."""
    rule = (history / "rule.toml").read_text()
    (history / "rule.toml").write_text(f"observed_until = {format_instant(utc_now() + timedelta(days=1))}\n{rule}")
    with pytest.raises(InvalidInput, match=r"^rule.toml: observed_until .* is in the future"):
        made(history, penstock)


def test_labels_newer_than_the_data_are_reported(history: Path, penstock: Callable[..., Any]) -> None:
    """They have the newest values, as they are online; how many there are and how much newer is a warning."""
    rows = [f"c101,2026-03-01T00:0{minute}:00Z,{minute}" for minute in (3, 8, 9)]
    (history / "labels.csv").write_text("\n".join(["asset,event_timestamp,n", *rows]) + "\n")
    answer = penstock(
        "training-set", history / "labels.csv", "--out", history / "set", "-f", RMS, "--target", "n", "--json"
    )
    assert [text for text in answer["warnings"] if "newer" in text] == [
        "2 labels are newer than the newest row of their asset in compressor_vibration, by up to 302 s, and have its "
        "values; compute features first, or set a ttl"
    ]


def test_a_train_split_without_a_failure_must_be_accepted(history: Path, penstock: Callable[..., Any]) -> None:
    """It is refused before anything is written; what was accepted is part of the request, and a warning."""
    split = ("--split", "time", "--shares", "50,0,50")
    with pytest.raises(InvalidInput, match=r"the train split has 67 rows, and fails is false in all of them"):
        made(history, penstock, *split)
    assert not (history / "set").exists()
    answer = made(history, penstock, *split, "--accept-one-class", "--verify")
    assert answer["verified"]
    assert "fails is only false in the train split" in answer["warnings"]


def test_a_good_feature_is_no_suspect_unless_it_was_corrected(
    history: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """Computed long after the labels' times, it is listed with its strength; corrected, it is a warning."""
    oil, first = "compressor_process:oil_temp_max", 1000
    steps = [(first + 60 * step, step) for step in range(20)]
    add_rows("compressor_process", *(("c101", at, 90_000, float(step > 9)) for at, step in steps))
    labels = [f"c101,{format_instant(START + timedelta(seconds=at))},{int(step > 9)}" for at, step in steps]
    (history / "labels.csv").write_text("\n".join(["asset,event_timestamp,fails", *labels]) + "\n")
    command = ("training-set", history / "labels.csv", "--out", history / "set", "-f", oil, "--target", "fails")
    column = {"column": "compressor_process__oil_temp_max", "measure": "auc", "value": 1.0}
    answer = penstock(*command, "--json")
    assert answer["leakage"]["strong_predictors"] == [column]
    assert (answer["leakage"]["suspects"], answer["warnings"]) == ([], [])
    assert answer["corrections"]["values_that_differ"] == 20
    report = (history / "set" / "report.html").read_text()
    assert "<h2>Strong predictors</h2>" in report
    assert 'class="warn"' not in report
    note = "  strong predictors, audited and not corrected since: compressor_process__oil_temp_max (auc 1.000)\n"
    assert penstock(*command).endswith(note)
    add_rows("compressor_process", *(("c101", at, 95_000, 2.0) for at, step in steps if step > 17))
    answer = penstock(*command, "--json")
    assert answer["leakage"]["suspects"] == [{**column, "why": "corrected", "values": 2}]
    assert "2 of its values were corrected after their label's time" in answer["warnings"][0]
