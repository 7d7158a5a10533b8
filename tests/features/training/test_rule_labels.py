"""Labels made by rule agree with going through the events one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.training.events import EVENTS
from features.training.label_rules import LabelRule
from features.training.rule_labels import RuleLabels, grid_times, observed_until, rule_labels
from historian.errors import InvalidInput

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS = ("failure", "overhaul", "alarm")

Event = tuple[str, str, int, int, int]


def at(hours: float) -> datetime:
    """An instant in hours after T0."""
    return T0 + hours * HOUR


def events(*rows: Event) -> pl.DataFrame:
    """(asset, kind, happened, known, end), in hours after T0."""
    data = [(asset, kind, *map(at, hours)) for asset, kind, *hours in rows]
    return pl.DataFrame(data, schema=EVENTS, orient="row")


def times(*rows: tuple[str, int]) -> pl.DataFrame:
    """(asset, hours after T0)."""
    schema = {"asset": pl.String(), "event_timestamp": pl.Datetime("us", "UTC")}
    return pl.DataFrame([(asset, at(hours)) for asset, hours in rows], schema=schema, orient="row")


def rule(**tables: Any) -> LabelRule:
    """A rule of failures within four hours, with the given tables changed."""
    target = {"kind": "horizon", "failures": ["failure"], "horizon": "4h"}
    return LabelRule.model_validate(
        {"events": "e.csv", "target": target, "times": {"view": "v"}, **tables, "observed_until": at(100)}
    )


def labelled(
    label_times: pl.DataFrame, rows: pl.DataFrame, wanted: LabelRule, *, as_of: datetime | None = None, now: int = 1000
) -> RuleLabels:
    """The labels as of some hours after T0, with the end of observation that follows."""
    until = observed_until(label_times, rows, wanted, now=at(now), as_of=as_of)
    return rule_labels(label_times, rows, wanted, until=until, as_of=as_of)


def by_hand(asset: str, hour: int, rows: list[Event], wanted: LabelRule, until: int) -> tuple[object, ...] | str:
    """The label of one time: (target, episode, censored, hours at least), or why there is none."""
    mine = [row for row in rows if row[0] == asset]
    if hour > until:
        return "unseen"
    zones = [(row[2], row[4]) for row in mine if row[1] in ("failure", "overhaul")]
    zones += [(row[2] - 1, row[4] + 2) for row in mine if row[1] == "alarm" and wanted.exclude]
    if any(begin <= hour <= end for begin, end in zones):
        return "excluded"
    failures = [row[2] for row in mine if row[1] == "failure" and row[2] > hour]
    restarts = [row[2] for row in mine if row[1] == "overhaul" and row[2] > hour]
    end = min([*failures, *restarts, until])
    fails = end in failures
    episode = f"{asset}/{1 + sum(row[1] == 'overhaul' and row[4] <= hour for row in mine)}"
    if wanted.target.kind == "remaining_life":
        return (end - hour) * 3600.0 if fails else None, episode, not fails, (end - hour) * 3600.0
    outcome = end - hour <= 4 if fails else False if end - hour >= 4 else None
    return outcome, episode, outcome is None, (end - hour) * 3600.0


ROWS = st.builds(
    lambda asset, kind, happened, known, lasts: (asset, kind, happened, happened + known, happened + lasts),
    st.sampled_from(["a", "b"]),
    st.sampled_from(KINDS),
    st.integers(0, 30),
    st.integers(0, 10),
    st.integers(0, 4),
)


@settings(max_examples=50)
@given(
    rows=st.lists(ROWS, max_size=10),
    label_times=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(-3, 36)), max_size=30),
    kind=st.sampled_from(["horizon", "remaining_life"]),
    zones=st.booleans(),
    as_of=st.none() | st.integers(0, 40),
)
def test_every_label_is_what_going_through_the_events_gives(
    *, rows: list[Event], label_times: list[tuple[str, int]], kind: str, zones: bool, as_of: int | None
) -> None:
    """Outcome, episode, censoring and the number excluded are compared, with and without `as_of`."""
    rows = [("c", "failure", -9, -9, -9), *rows]
    target: dict[str, Any] = {"kind": kind, "failures": ["failure"], "censored": "keep"}
    wanted = rule(
        target={**target, **({"horizon": "4h"} if kind == "horizon" else {})},
        episodes={"restart": ["overhaul"]},
        exclude=[{"kinds": ["alarm"], "before": "1h", "after": "2h"}] if zones else [],
    )
    made = labelled(times(*label_times), events(*rows), wanted, as_of=None if as_of is None else at(as_of))
    until = 100 if as_of is None else as_of
    known = [row for row in rows if row[3] <= until]
    by_key = {key: by_hand(*key, known, wanted, until) for key in sorted(set(label_times))}
    expected = [(asset, at(hour), *label) for (asset, hour), label in by_key.items() if isinstance(label, tuple)]
    assert made.labels.rows() == expected
    assert made.excluded == list(by_key.values()).count("excluded")
    assert made.censored == sum(row[4] is True for row in expected)


def test_a_censored_run_is_left_out_or_kept_without_a_label() -> None:
    """The asset was running when last observed: it lasted at least that long."""
    rows = events(("a", "failure", 10, 10, 10), ("b", "alarm", 0, 0, 0))
    target = {"kind": "remaining_life", "failures": ["failure"]}
    label_times = times(("a", 4), ("b", 4))
    assert labelled(label_times, rows, rule(target=target)).labels.rows() == [("a", at(4), 6 * 3600.0, "a/1")]
    kept = labelled(label_times, rows, rule(target={**target, "censored": "keep"})).labels
    assert kept.columns == [
        "asset", "event_timestamp", "remaining_life_s", "episode", "censored", "at_least_s",
    ]  # fmt: skip
    assert kept.row(1) == ("b", at(4), None, "b/1", True, 96 * 3600.0)


def test_a_label_ends_with_its_horizon_or_its_run() -> None:
    """A split keeps this interval apart from others."""
    rows = events(("a", "failure", 10, 10, 10))
    target = {"kind": "remaining_life", "failures": ["failure"]}
    assert labelled(times(("a", 1), ("a", 8)), rows, rule()).label_end.to_list() == [at(5), at(12)]
    assert labelled(times(("a", 1), ("a", 8)), rows, rule(target=target)).label_end.to_list() == [at(10), at(10)]


def test_a_failure_reported_later_was_not_known() -> None:
    """As of hour 12 the asset seemed to run; its last four hours are censored."""
    rows = events(("a", "failure", 10, 20, 10), ("b", "failure", 1, 1, 1))
    label_times = times(("a", 5), ("a", 9), ("a", 11))
    assert labelled(label_times, rows, rule()).labels["fails_within"].to_list() == [False, True, False]
    made = labelled(label_times, rows, rule(), as_of=at(12))
    assert (made.labels["fails_within"].to_list(), made.censored) == ([False], 2)


def test_negatives_are_drawn_by_seed_and_stay() -> None:
    """The same seed draws the same rows, even if other rows are added; all positives are kept."""
    rows = events(("a", "failure", 50, 50, 50))
    label_times = times(*(("a", hour) for hour in range(90)))

    def drawn(seed: int, extra: pl.DataFrame | None = None) -> list[datetime]:
        wanted = rule(negatives={"per_positive": 3, "seed": seed})
        made = labelled(label_times if extra is None else pl.concat([extra, label_times]), rows, wanted)
        assert (made.labels["fails_within"].sum(), made.labels.height, made.unsampled) == (4, 16, 73)
        return made.labels.filter(~pl.col("fails_within"))["event_timestamp"].to_list()

    assert drawn(1) == drawn(1, times(("a", 3)))
    assert drawn(1) != drawn(2)


def test_a_rule_whose_failures_never_happen_is_refused() -> None:
    """A misspelt kind would label everything as sound."""
    with pytest.raises(InvalidInput, match="of the kind failure: nothing ever fails; did you mean failures"):
        labelled(times(("a", 1)), events(("a", "failures", 1, 1, 1)), rule())


def test_a_grid_lies_on_the_epoch_and_includes_both_ends() -> None:
    """Whole multiples of the step, for each asset."""
    wanted = rule(times={"every": "6h", "start": at(1), "end": at(12)}, assets=["b", "a"])
    assert grid_times(wanted.assets, wanted.times).rows() == [("a", at(6)), ("a", at(12)), ("b", at(6)), ("b", at(12))]


def test_an_event_of_the_future_has_no_effect() -> None:
    """It neither moves the end of observation, nor does its zone take labels away; the same without it."""
    wanted = rule(exclude=[{"kinds": ["alarm"], "before": "20h"}]).model_copy(update={"observed_until": None})
    rows = [("a", "failure", 10, 10, 10), ("b", "alarm", 11, 11, 11)]
    label_times = times(*((asset, hour) for asset in "ab" for hour in range(0, 30, 2)))
    expected = labelled(label_times, events(*rows), wanted, now=30)
    assert expected.labels.filter(pl.col("event_timestamp") > at(20)).height == 4
    for kind in KINDS:
        found = labelled(label_times, events(*rows, ("b", kind, 35, 35, 35)), wanted, now=30)
        assert found.labels.equals(expected.labels)
    assert observed_until(label_times, events(*rows, ("b", "alarm", 35, 35, 35)), wanted, now=at(30)) == at(28)


def test_times_of_the_future_are_not_labelled() -> None:
    """A grid may end in the future; an event that has begun may end there. Observation ends with what has happened."""
    wanted = rule().model_copy(update={"observed_until": None})
    rows = events(("a", "failure", 10, 10, 40))
    label_times = times(*(("a", hour) for hour in range(0, 50, 2)))
    assert observed_until(label_times, rows, wanted, now=at(13)) == at(12)
    found = labelled(label_times, rows, wanted, now=13)
    assert found.labels["event_timestamp"].to_list() == [at(hour) for hour in range(0, 10, 2)]


def test_observation_ends_no_later_than_now_and_as_of() -> None:
    """Whatever the rule states."""
    rows, label_times = events(("a", "failure", 10, 10, 10)), times(("a", 1))
    ends = [observed_until(label_times, rows, rule(), now=at(now), as_of=at(60)) for now in (50, 70)]
    assert ends == [at(50), at(60)]
