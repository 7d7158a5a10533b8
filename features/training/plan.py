"""The plan of a training set, resolved once: features, their columns, and pinned tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from feast import FeatureStore, FeatureView

from features.feast.feature_refs import column_of, meaning_of, views_of
from features.feast.offline.join_executor import LOCAL, JoinExecutor
from features.tables.labels import EVENT_TIMESTAMP
from features.training.pinned import PinnedTable, as_of_warnings, pin, source_of
from historian.errors import UnknownFeature
from historian.times import format_instant


@dataclass(frozen=True)
class Feature:
    """A feature that a training set has a column of."""

    ref: str
    """Reference of the feature, `view:feature`."""
    view: str
    name: str
    """Name of its column in the feature table."""
    column: str
    """Name of its column in the training set, `view__feature`."""
    meaning: Mapping[str, str]
    """Unit, formula, version, point and tags, as registered."""


@dataclass(frozen=True)
class Plan:
    """Where every value of a training set is looked up, and in which point-in-time mode."""

    features: tuple[Feature, ...]
    """The features in the order of their columns."""
    tables: Mapping[str, PinnedTable]
    """Pinned tables by view, sorted by name: those of the features, and the one whose rows give a rule its times."""
    created_by_label_time: bool
    """The point-in-time mode: whether a feature row counts only if it had been created by the label's time. If not, the
    true history counts, as if every correction and every late sample had been there in time."""
    as_of: datetime | None
    """The instant the tables are pinned at, if one was given."""
    executor: JoinExecutor
    """Runs the join; has no effect on its result."""
    ages: bool = False
    """Whether there is a column for the age of each view's row."""

    @property
    def age_columns(self) -> dict[str, str]:
        """View -> the column for the age of its row in seconds; empty unless ages are wanted."""
        return {view: f"{view}__age_s" for view in self.feature_tables} if self.ages else {}

    @property
    def feature_tables(self) -> dict[str, PinnedTable]:
        """The tables of the features, by view."""
        views = {feature.view for feature in self.features}
        return {view: table for view, table in self.tables.items() if view in views}

    @property
    def refs(self) -> list[str]:
        """References of the features, `view:feature`, in the order of the columns."""
        return [feature.ref for feature in self.features]

    @property
    def warnings(self) -> list[str]:
        """A sentence for each table that could not be read as it stood at `as_of`."""
        return as_of_warnings({view: table.version.as_of for view, table in self.tables.items()})

    @property
    def mode(self) -> dict[str, object]:
        """The point-in-time mode as a request states it."""
        as_of = {"as_of": format_instant(self.as_of)} if self.as_of else {}
        return {"created_by_label_time": self.created_by_label_time, **as_of}

    @property
    def column_names(self) -> list[str]:
        """The columns of the training set that are not the labels': features, then ages."""
        return [*(feature.column for feature in self.features), *self.age_columns.values()]

    @property
    def meanings(self) -> dict[str, dict[str, str]]:
        """Column -> unit, formula and so on, in the order of the columns."""
        ages = {
            column: {"formula": f"label's time - end of the window of {view}", "unit": "s"}
            for view, column in self.age_columns.items()
        }
        return {**{feature.column: dict(feature.meaning) for feature in self.features}, **ages}

    def looked_up(self, view: str) -> dict[str, str]:
        """Return what is looked up in a view's table: `columns`, and the end of the window where its age is wanted."""
        age = self.age_columns.get(view)
        return {**self.columns(view), **({age: EVENT_TIMESTAMP} if age else {})}

    def columns(self, view: str) -> dict[str, str]:
        """Return column of the training set -> column of the feature table, for one view."""
        return {feature.column: feature.name for feature in self.features if feature.view == view}


def resolve(
    store: FeatureStore,
    refs: Sequence[str],
    *,
    times_view: str | None = None,
    as_of: datetime | None = None,
    created_by_label_time: bool = False,
    executor: JoinExecutor = LOCAL,
    ages: bool = False,
) -> Plan:
    """Resolve references and pin the tables they lead to.

    Args:
        store: Feast over the plant's repository.
        refs: `view:feature`, in the order of the columns; repeats count once.
        times_view: The view whose rows give a rule its times, if one does.
        as_of: Feature rows created later do not count; tables are pinned to their version of then, or the newest.
        created_by_label_time: See `Plan`.
        executor: Where the join runs.
        ages: Whether there is a column for the age of each view's row.

    Raises:
        UnknownFeature: a reference or the view is not registered.
        NotEnoughData: a view has no feature table yet.
        StoreUnavailable: a table cannot be read.
    """
    views = views_of(store, refs)
    by_name = {view.name: view for view in views.values()}
    if times_view:
        by_name[times_view] = _registered(store, times_view)
    tables = {name: pin(source_of(by_name[name]), as_of=as_of) for name in sorted(by_name)}
    features = tuple(_feature(ref, view) for ref, view in views.items())
    return Plan(features, tables, created_by_label_time, as_of, executor, ages)


def _registered(store: FeatureStore, name: str) -> FeatureView:
    views: dict[str, FeatureView] = {view.name: view for view in store.list_feature_views(allow_cache=True)}
    if name not in views:
        raise UnknownFeature(f"the feature view {name!r} is not registered; run penstock apply")
    return views[name]


def _feature(ref: str, view: FeatureView) -> Feature:
    return Feature(ref, view.name, ref.partition(":")[2], column_of(ref), meaning_of(ref, view))
