"""The alarm rules of a plant over its stored feature rows: what `penstock alarms` prints."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from features.analysis.alarms import FIRINGS, LEADS, false_alarms, firings, leads
from features.tables.feature_table import FeatureTable
from historian.errors import ConfigError, InvalidInput, near_misses
from historian.plant.alarms import Alarm
from historian.plant.plant import Plant


@dataclass(frozen=True)
class Replayed:
    """One alarm of a class over the history of its assets."""

    asset_class: str
    name: str
    alarm: Alarm
    fired: pl.DataFrame
    """Columns of `FIRINGS`."""
    leads: pl.DataFrame
    """Columns of `LEADS`; no rows without failures."""
    false: int | None
    """Firings that no failure followed; None without failures."""

    @property
    def record(self) -> dict[str, object]:
        """The result, as it is printed for machines."""
        active = self.fired.filter(pl.col("end").is_null())
        return {
            "class": self.asset_class,
            "alarm": self.name,
            "feature": self.alarm.feature,
            "fired": self.fired.height,
            "assets": dict(self.fired.group_by("asset").len().sort("asset").iter_rows()),
            "active": active["asset"].to_list(),
            "failures": self.leads.select("asset", "failed_at", "fired_at", "hours").to_dicts(),
            "false_alarms": self.false,
        }


def replay(
    plant: Plant,
    *,
    names: Collection[str] = (),
    failures: pl.DataFrame | None = None,
    within: timedelta = timedelta(days=30),
) -> list[Replayed]:
    """Return when the alarms of a plant would have fired over the stored rows.

    Args:
        plant: the plant.
        names: only these alarms; all if empty.
        failures: events with `asset` and `happened_at`; None if none are known.
        within: how long before a failure a firing counts as its warning.

    Raises:
        InvalidInput: an alarm is unknown, or the plant has none.
        ConfigError: an alarm's column is unknown, or no number.
    """
    known = {name for each in plant.classes.values() for name in each.alarms}
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(f"there is no alarm {unknown[0]!r}{near_misses(unknown[0], known)}")
    if not known:
        raise InvalidInput("the plant file has no alarms; write [classes.X.alarms.NAME] with feature and above")
    return [
        _replayed(asset_class, name, alarm, _rows(plant, asset_class, name, alarm), failures, within)
        for asset_class, name, alarm in _alarms(plant)
        if not names or name in names
    ]


def all_firings(replayed: list[Replayed]) -> pl.DataFrame:
    """Return the firings of several alarms in the order of time; columns of `FIRINGS`."""
    return pl.concat([FIRINGS.to_frame(), *(each.fired for each in replayed)]).sort("happened_at", "asset", "kind")


def _alarms(plant: Plant) -> Iterator[tuple[str, str, Alarm]]:
    for asset_class, each in plant.classes.items():
        yield from ((asset_class, name, alarm) for name, alarm in each.alarms.items())


def _rows(plant: Plant, asset_class: str, name: str, alarm: Alarm) -> pl.DataFrame:
    """Return the newest row of each asset and time, with the alarm's column."""
    table = FeatureTable(plant, plant.views[f"{asset_class}_{alarm.feature_set}"])
    columns = {column.name: column.dtype for column in table.plan.columns}
    if alarm.column not in columns or not columns[alarm.column].is_numeric():
        numbers = [column for column, dtype in columns.items() if dtype.is_numeric()]
        problem = "is no number" if alarm.column in columns else "is unknown"
        hint = near_misses(alarm.column, numbers)
        raise ConfigError(f"classes.{asset_class}.alarms.{name}: the column {alarm.column!r} {problem}{hint}")
    rows = table.scan().select("asset", "event_timestamp", "created_timestamp", alarm.column)
    return rows.sort("created_timestamp").unique(["asset", "event_timestamp"], keep="last").collect()


def _replayed(
    asset_class: str, name: str, alarm: Alarm, rows: pl.DataFrame, failures: pl.DataFrame | None, within: timedelta
) -> Replayed:
    fired = firings(rows, name, alarm)
    if failures is None:
        return Replayed(asset_class, name, alarm, fired, LEADS.to_frame(), None)
    seen = rows.group_by("asset").agg(pl.col("event_timestamp").min().alias("first"))
    # A failure before any row, or of another class, says nothing about the alarm.
    relevant = failures.join(seen, on="asset").filter(pl.col("happened_at") >= pl.col("first")).drop("first")
    found = leads(fired, relevant, within=within)
    return Replayed(asset_class, name, alarm, fired, found, false_alarms(fired, relevant, within=within))
