"""Labels from events by a rule. Pure: times and events in, labels out.

For an asset at time T, let F be its first failure and R its first restart after T, and E the end of observation. If
F <= R and F <= E the run ends with that failure; else it is censored at min(R, E): how long it would have lasted is
unknown.

    horizon          true where F - T <= H; false where the run is seen to last beyond T + H; else censored
    remaining_life   F - T; a run without failure is censored

A label looks into the future, that is its purpose. So do the exclusion zones: they lie where events happened, whenever
these became known. Only `as_of` leaves out events (known_at after it), for labels as they could be made at that time.

E is never in the future, and an event after E has no effect at all: a typing error or a planned job says nothing about
what has been observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.tables.labels import ASSET, EPISODE, EVENT_TIMESTAMP
from features.training.label_rules import Exclusion, LabelRule, Target, Times
from features.training.seeded import row_lots
from historian.errors import InvalidInput, near_misses

_T: Final = pl.col(EVENT_TIMESTAMP)
_END: Final = "__end"
_FAILS: Final = "__fails"
_ZERO: Final = timedelta(0)


@dataclass(frozen=True)
class RuleLabels:
    """Labels, and the numbers of times without one."""

    labels: pl.DataFrame
    """The labels, sorted by asset and time: asset, event_timestamp, the target, `episode`; with censored = "keep" also
    `censored` and `at_least_s`."""
    label_end: pl.Series
    """For each label the instant up to which it looks: T + H, or the end of the run."""
    excluded: int
    """Number of times within an exclusion zone, or while the asset was down."""
    censored: int
    """Number of times whose outcome was not observed; they are among the labels if the rule keeps them."""
    unsampled: int
    """Number of times without a failure that the sampling of negatives left out."""


def grid_times(assets: Sequence[str], times: Times) -> pl.DataFrame:
    """Return the instants start <= T <= end that are whole multiples of `every` since 1970, for each asset.

    Args:
        assets: Their names.
        times: With `every`, `start` and `end`.

    Returns:
        asset, event_timestamp; in order of both.
    """
    assert times.start and times.end and times.every  # noqa: S101, PT018 - the model has checked it
    step = times.every // timedelta(microseconds=1)
    first, last = (pl.Series([at], dtype=pl.Datetime("us", "UTC")).to_physical()[0] for at in (times.start, times.end))
    ticks = pl.select(pl.int_range(-(-first // step), last // step + 1) * step).to_series()
    grid = ticks.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(EVENT_TIMESTAMP)
    return pl.DataFrame({ASSET: sorted(assets)}).join(grid.to_frame(), how="cross")


def rule_labels(
    times: pl.DataFrame, events: pl.DataFrame, rule: LabelRule, *, until: datetime, as_of: datetime | None = None
) -> RuleLabels:
    """Make labels for `times` from `events`.

    Args:
        times: asset, event_timestamp; any order, repeats count once.
        events: Columns of `features.training.events.EVENTS`.
        rule: What to label, and how.
        until: The end of observation; see `observed_until`.
        as_of: Events that became known later are not used.

    Raises:
        InvalidInput: there is no event of the kinds that are failures.
    """
    _check_kinds(events, rule.target)
    known = _known(events, as_of).filter(pl.col("happened_at") <= until)
    observed = times.select(ASSET, EVENT_TIMESTAMP).unique().filter(until >= _T).sort(EVENT_TIMESTAMP, ASSET)
    excluded = _excluded(observed, known, rule)
    outcomes = _outcomes(observed.filter(~excluded), known, rule, until)
    labelled = _labelled(outcomes, rule.target)
    censored = labelled["censored"].sum()
    if rule.target.censored == "drop":
        labelled = labelled.filter(~pl.col("censored")).drop("censored", "at_least_s")
    kept = _sampled(labelled, rule).sort(ASSET, EVENT_TIMESTAMP)
    return RuleLabels(
        labels=kept.drop(_END),
        label_end=kept[_END],
        excluded=int(excluded.sum()),
        censored=int(censored),
        unsampled=labelled.height - kept.height,
    )


def _check_kinds(events: pl.DataFrame, target: Target) -> None:
    kinds = set(events["kind"])
    if not kinds & set(target.failures):
        hints = "".join(near_misses(kind, kinds) for kind in target.failures)
        raise InvalidInput(f"no event is of the kind {', '.join(target.failures)}: nothing ever fails{hints}")


def observed_until(
    times: pl.DataFrame, events: pl.DataFrame, rule: LabelRule, *, now: datetime, as_of: datetime | None = None
) -> datetime:
    """Return the end of observation: `now` at the latest, and `as_of` if that is earlier.

    Args:
        times: asset, event_timestamp.
        events: Columns of `features.training.events.EVENTS`.
        rule: States the end, or leaves it to the newest label or event.
        now: The current time; what is later has not been observed.
        as_of: Events that became known later do not count.
    """
    limit = min(now, as_of) if as_of else now
    if rule.observed_until:
        return min(rule.observed_until, limit)
    known = _known(events, as_of)
    instants = pl.concat([times[EVENT_TIMESTAMP], known["happened_at"], known["end"]])
    newest = instants.filter(instants <= now).max()
    return min(newest, limit) if isinstance(newest, datetime) else limit


def _known(events: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
    return events.filter(pl.col("known_at") <= as_of) if as_of else events


def _excluded(times: pl.DataFrame, events: pl.DataFrame, rule: LabelRule) -> pl.Series:
    """Whether a time lies in a zone, both ends included; while an asset has failed or is overhauled it is in one."""
    down = Exclusion(kinds=(*rule.target.failures, *rule.episodes.restart), before=None, after=None)
    excluded = pl.repeat(value=False, n=times.height, eager=True)
    for zone in (down, *rule.exclude):
        around = events.filter(pl.col("kind").is_in(zone.kinds))
        begun = around.select(ASSET, at=pl.col("happened_at") - (zone.before or _ZERO))
        over = around.select(ASSET, at=pl.col("end") + (zone.after or _ZERO))
        # As many zones have ended before T as have begun by T, unless T is in one.
        excluded |= _passed(times, begun, exactly=True) > _passed(times, over, exactly=False)
    return excluded


def _passed(times: pl.DataFrame, marks: pl.DataFrame, *, exactly: bool) -> pl.Series:
    """How many of an asset's marks lie before each time; with `exactly` those at it count too.

    Args:
        times: Sorted by event_timestamp.
        marks: asset, at; any order.
    """
    counted = marks.sort("at").with_columns(passed=pl.int_range(1, pl.len() + 1).over(ASSET))
    found = times.join_asof(
        counted,
        left_on=EVENT_TIMESTAMP,
        right_on="at",
        by=ASSET,
        allow_exact_matches=exactly,
        check_sortedness=False,
    )
    return found["passed"].fill_null(0)


def _next(times: pl.DataFrame, events: pl.DataFrame, kinds: Sequence[str]) -> pl.Series:
    """The asset's first event of these kinds after each time; null where there is none."""
    marks = events.filter(pl.col("kind").is_in(kinds)).select(ASSET, at="happened_at", found="happened_at").sort("at")
    return times.join_asof(
        marks,
        left_on=EVENT_TIMESTAMP,
        right_on="at",
        by=ASSET,
        strategy="forward",
        allow_exact_matches=False,
        check_sortedness=False,
    )["found"]


def _outcomes(times: pl.DataFrame, events: pl.DataFrame, rule: LabelRule, until: datetime) -> pl.DataFrame:
    """`times` with `episode`, and when and whether with a failure the run ends that is under way at each."""
    overhauls = events.filter(pl.col("kind").is_in(rule.episodes.restart)).select(ASSET, at="end")
    number = _passed(times, overhauls, exactly=True) + 1
    fail = _next(times, events, rule.target.failures).alias("fail")
    restart = _next(times, events, rule.episodes.restart).alias("restart")
    numbered = times.with_columns((pl.col(ASSET) + "/" + number.cast(pl.String)).alias(EPISODE), fail, restart)
    end = pl.lit(until, pl.Datetime("us", "UTC"))
    ended = numbered.with_columns(pl.min_horizontal("fail", "restart", end).alias(_END))
    fails = (pl.col("fail") == pl.col(_END)).fill_null(value=False).alias(_FAILS)
    return ended.select(ASSET, EVENT_TIMESTAMP, EPISODE, _END, fails)


def _labelled(outcomes: pl.DataFrame, target: Target) -> pl.DataFrame:
    """asset, event_timestamp, target, episode, censored, at_least_s, and the end of the label."""
    life = pl.col(_END) - _T
    rows = outcomes.with_columns(_outcome(life, target).alias(target.name), life.alias("life"))
    return rows.select(
        ASSET,
        EVENT_TIMESTAMP,
        target.name,
        EPISODE,
        censored=pl.col(target.name).is_null(),
        at_least_s=pl.col("life").dt.total_microseconds() / 1e6,
        **{_END: _T + target.horizon if target.horizon else pl.col(_END)},
    )


def _outcome(life: pl.Expr, target: Target) -> pl.Expr:
    """The target: whether the asset fails within the horizon, or its life in seconds; null if not observed."""
    if target.horizon:
        return pl.when(_FAILS).then(life <= target.horizon).when(life >= target.horizon).then(statement=False)
    return pl.when(_FAILS).then(life.dt.total_microseconds() / 1e6)


def _sampled(labelled: pl.DataFrame, rule: LabelRule) -> pl.DataFrame:
    """All rows that fail or are censored, and `per_positive` others for each that fails."""
    if rule.negatives is None:
        return labelled
    negative = (~pl.col(rule.target.name)).fill_null(value=False)
    others = labelled.filter(negative)
    wanted = round(rule.negatives.per_positive * labelled.select(pl.col(rule.target.name).sum()).item())
    lots = pl.Series(row_lots(others, rule.negatives.seed))
    drawn = others[lots.arg_sort()[:wanted]]
    return pl.concat([labelled.filter(~negative), drawn])
