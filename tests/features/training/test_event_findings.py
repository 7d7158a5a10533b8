"""What a rule makes of an event file: events by kind, spelling, and events after the end of observation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.training.event_findings import check_spelling, findings
from features.training.events import EVENTS
from features.training.label_rules import LabelRule
from features.training.verdicts import event_warnings
from historian.errors import InvalidInput

T0 = datetime(2026, 3, 1, tzinfo=UTC)
FILE = Path("failures.csv")


def events(*kinds: str) -> pl.DataFrame:
    """An event of each kind, an hour apart."""
    times = [T0 + timedelta(hours=hour) for hour in range(len(kinds))]
    rows = [("a", kind, at, at, at) for kind, at in zip(kinds, times, strict=True)]
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def rule(**more: Any) -> LabelRule:
    """A rule with two kinds of failures, one that restarts and one that excludes."""
    return LabelRule.model_validate(
        {
            "events": FILE.name,
            "target": {"kind": "horizon", "failures": ["bearing", "seal"], "horizon": "4h"},
            "times": {"view": "v"},
            "exclude": [{"kinds": ["repair"]}],
            "episodes": {"restart": ["overhaul"]},
            **more,
        }
    )


@pytest.mark.parametrize("kind", ["Bearing", "bearing ", "BEARING", "bear-ing", "over_haul"])
def test_another_spelling_of_a_kind_is_an_error_although_others_match(kind: str) -> None:
    """The message names file, row, kind and the one that is meant; `ignore` accepts it."""
    given = events("bearing", "overhaul", kind)
    meant = "overhaul" if kind.startswith("over") else "bearing"
    with pytest.raises(InvalidInput) as raised:
        check_spelling(given, rule(), FILE)
    assert str(raised.value) == (
        f"failures.csv row 4: kind {kind!r} has no effect; did you mean {meant}? Correct it, or list it under ignore "
        f"in the rule"
    )
    if kind == kind.strip():
        check_spelling(given, rule(ignore=[kind]), FILE)
    check_spelling(events("bearing", "alarm"), rule(), FILE)


def test_events_are_counted_by_kind_with_their_effect() -> None:
    """Kinds that no event is of are in the list, and so are kinds that have no effect."""
    found = findings(events("bearing", "bearing", "repair", "alarm"), rule(), FILE, T0 + timedelta(days=1))
    assert found.to_manifest() == {
        "kinds": {
            "alarm": {"events": 1, "effect": "none"},
            "bearing": {"events": 2, "effect": "failure"},
            "overhaul": {"events": 0, "effect": "restart"},
            "repair": {"events": 1, "effect": "exclude"},
            "seal": {"events": 0, "effect": "failure"},
        },
        "similar": {},
        "observed_until": "2026-03-02T00:00:00Z",
        "later": {"rows": [], "events": 0},
    }
    assert event_warnings(found.to_manifest()) == [
        "no event is of kind 'overhaul', which the rule names (restart)",
        "no event is of kind 'seal', which the rule names (failure)",
    ]


def test_a_kind_that_resembles_one_of_the_rule_is_a_finding() -> None:
    """It may be another kind, so the set is made; `ignore` ends the finding."""
    given, later = events("bearing", "seal", "repair", "overhaul", "beering"), T0 + timedelta(days=1)
    found = findings(given, rule(), FILE, later)
    assert found.similar == {"beering": "bearing"}
    assert event_warnings(found.to_manifest()) == [
        "1 event of kind 'beering' without effect; did you mean bearing? If not, list the kind under ignore in the rule"
    ]
    assert findings(given, rule(ignore=["beering"]), FILE, later).similar == {}


@pytest.mark.parametrize(("file", "first"), [("failures.csv", 2), ("failures.parquet", 1)])
def test_events_after_the_end_of_observation_are_named_by_row(file: str, first: int) -> None:
    """Rows are counted as a spreadsheet shows them; the first five are named."""
    found = findings(events(*["bearing"] * 8), rule(), Path(file), T0 + timedelta(hours=1))
    assert found.later_rows == tuple(range(first + 2, first + 8))
    [warning] = [text for text in event_warnings(found.to_manifest()) if "later" in text]
    rows = ", ".join(str(first + row) for row in range(2, 7))
    assert warning.startswith(f"6 events (row {rows}, … of the event file) are later than 2026-03-01T01:00:00Z")
