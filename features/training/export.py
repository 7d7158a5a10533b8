"""A training set from a request: labels (a table, or a rule over events), their split, and the features of each row.

    request -> prepare: labels, split, tables held still -> make: the rows

Everything the result depends on is in the request, its input files, the plant file and the tables' versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import polars as pl
import pyarrow as pa
from feast import FeatureStore, FeatureView
from pydantic import AwareDatetime, Field

from features.feast.feature_refs import views_of
from features.feast.offline.workers import HERE, Workers
from features.tables.labels import ASSET, EVENT_TIMESTAMP, read_labels, with_target
from features.training.events import read_events
from features.training.formats import Format
from features.training.label_rules import RuleFile, labelled_assets, read_rule
from features.training.pinned import Moment, PinnedTable, pin, pin_all
from features.training.rule_labels import grid_times, rule_labels
from features.training.splits import SPLIT, SplitSpec, split
from features.training.training_set import (
    Knowledge,
    check_names,
    default_refs,
    described,
    feature_values,
    features_began,
)
from historian.errors import InvalidInput, UnknownFeature
from historian.plant.model import Model
from historian.plant.plant import Plant

_LAYOUT: Final = {"format", "partition_by"}
"""Of a request, what does not change the rows."""


class Request(Model):
    """What a training set is asked to be; stands in its manifest."""

    labels: str = Field(description="A table of labels, or a rule (.toml).")
    features: tuple[str, ...] = Field((), description="view:feature; all of the labelled classes if empty.")
    target: str | None = Field(None, description="The label's column; a rule names its own.")
    known_then: bool = Field(default=False, description="Only what had been computed by each label's time.")
    as_of: AwareDatetime | None = Field(None, description="Only what had been computed, and was known of events, then.")
    split: SplitSpec | None = None
    horizon: timedelta | None = Field(None, ge=timedelta(0), description="How far the labels of a table look ahead.")
    threshold: float = Field(0.95, gt=0.5, le=1, description="The AUC from which on a column is suspected.")
    format: Format = Field("parquet", description="Of an artefact's parts.")
    partition_by: Literal["asset"] | None = Field(None, description="Of an artefact's parts, below the split.")

    @property
    def knowledge(self) -> Knowledge:
        """From whose point of view features are looked up."""
        return Knowledge(known_then=self.known_then, as_of=self.as_of)


@dataclass(frozen=True)
class Labelled:
    """Labels, however they came about."""

    labels: pl.DataFrame
    settled: pl.Series | None
    """The instant up to which each label looks; None where nobody said."""
    target: str | None
    inputs: tuple[Path, ...]
    """The files they were made from; the one of the request first."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What became of the times without a label."""
    tables: Mapping[str, PinnedTable] = field(default_factory=dict)
    """The view whose rows gave the times."""


@dataclass(frozen=True)
class Prepared:
    """All that is known before a feature is read."""

    request: Request
    inputs: tuple[Path, ...]
    labels: pl.DataFrame
    """With the column `split` if one was asked for; without the rows it purged."""
    target: str | None
    counts: Mapping[str, int]
    purged: Mapping[str, int]
    purged_for_age: Mapping[str, int]
    """As `Split` has them; empty without one."""
    gap: timedelta | None
    """Longest window plus horizon; None without a split, or where it differs from row to row."""
    views: Mapping[str, FeatureView]
    tables: Mapping[str, PinnedTable]
    workers: Workers
    """Who looks features up; makes no difference to what they find."""

    @property
    def refs(self) -> list[str]:
        """The features, in the order of their columns."""
        return list(self.views)


def prepare(
    store: FeatureStore,
    plant: Plant,
    request: Request,
    directory: Path,
    moments: Mapping[str, Moment] | None = None,
    *,
    workers: Workers = HERE,
) -> Prepared:
    """Reads labels or makes them, splits them, and holds the feature tables still.

    Args:
        directory: Where the request's files lie.
        moments: The states of the feature tables that are meant; what is left out is read as it is now.
        workers: Who looks features up.

    Raises:
        InvalidInput: labels, rule or split cannot be used. UnknownFeature, NotEnoughData: as `training_set`.
    """
    moments = moments or {}
    labelled = _labelled(store, plant, request, directory, moments)
    labels = with_target(labelled.labels, labelled.target) if labelled.target else labelled.labels
    views = views_of(store, request.features or default_refs(store, plant, labels))
    tables = {**labelled.tables, **pin_all(views, {**moments, **_moments(labelled.tables)}, as_of=request.as_of)}
    tables = {name: tables[name] for name in sorted(tables)}
    check_names(labels, list(views))
    prepared = Prepared(
        request=request,
        inputs=labelled.inputs,
        labels=labels,
        target=labelled.target,
        counts=labelled.counts,
        purged={},
        purged_for_age={},
        gap=None,
        views=views,
        tables=tables,
        workers=workers,
    )
    return _with_split(prepared, labelled.settled, request.split) if request.split else prepared


def _moments(tables: Mapping[str, PinnedTable]) -> dict[str, Moment]:
    return {name: table.moment for name, table in tables.items()}


def _labelled(
    store: FeatureStore, plant: Plant, request: Request, directory: Path, moments: Mapping[str, Moment]
) -> Labelled:
    path = directory / request.labels
    if path.suffix.lower() == ".toml":
        return _by_rule(store, plant, request, read_rule(path, plant), moments)
    labels = read_labels(path, plant.assets)
    settled = None if request.horizon is None else labels[EVENT_TIMESTAMP] + request.horizon
    return Labelled(labels, settled, request.target, (path,))


def _by_rule(
    store: FeatureStore, plant: Plant, request: Request, file: RuleFile, moments: Mapping[str, Moment]
) -> Labelled:
    rule = file.rule
    if request.target or request.horizon is not None:
        raise InvalidInput(
            f"{file.path.name} says itself what the target is and how far it looks; leave these options out"
        )
    events = read_events(file.events, plant.assets)
    name = rule.times.view
    tables = {name: pin(_view(store, name), moments.get(name), as_of=request.as_of)} if name else {}
    times = grid_times(rule.assets, rule.times) if rule.times.every else pl.DataFrame()
    for table in tables.values():
        times = _view_times(table, file, plant, request.as_of)
    made = rule_labels(times, events, rule, as_of=request.as_of)
    if made.labels.is_empty():
        why = f"{times.height} times, {made.excluded} excluded, {made.censored} censored"
        if made.unsampled:
            why += f", {made.unsampled} left out: [negatives] draws some for each time that fails, and none does"
        raise InvalidInput(f"{file.path.name} labels nothing: {why}")
    counts = {"times": times.height, "excluded": made.excluded, "censored": made.censored, "unsampled": made.unsampled}
    return Labelled(made.labels, made.settled, rule.target.name, (file.path, file.events), counts, tables)


def _view(store: FeatureStore, name: str) -> FeatureView:
    views: dict[str, FeatureView] = {view.name: view for view in store.list_feature_views(allow_cache=True)}
    if name not in views:
        raise UnknownFeature(f"the feature view {name!r} is not registered; run penstock apply")
    return views[name]


def _view_times(table: PinnedTable, file: RuleFile, plant: Plant, as_of: datetime | None) -> pl.DataFrame:
    """The (asset, event_timestamp) pairs of a view's rows that the rule asks for."""
    at, bounds = pl.col(EVENT_TIMESTAMP), file.rule.times
    rows = table.rows([], as_of).select(ASSET, EVENT_TIMESTAMP)
    wanted = pl.col(ASSET).is_in(labelled_assets(file.rule, plant))
    wanted &= at >= bounds.start if bounds.start else True
    wanted &= at <= bounds.end if bounds.end else True
    return rows.filter(wanted).unique().collect()


def _with_split(prepared: Prepared, settled: pl.Series | None, spec: SplitSpec) -> Prepared:
    if settled is None and spec.by in ("time", "episode"):
        raise InvalidInput(
            "nobody knows how far these labels look ahead; say it with --horizon (0 if a label is about its own "
            "instant), so that the gap between the splits can be as wide"
        )
    labels = prepared.labels
    tables = used_tables(prepared)
    window = max(table.window for table in tables.values())
    made = split(
        labels,
        spec,
        settled=labels[EVENT_TIMESTAMP] if settled is None else settled,
        window=window,
        began=features_began(labels, tables, prepared.request.knowledge, prepared.workers),
    )
    kept = labels.with_columns(made.names).drop_nulls(SPLIT)
    ahead = set() if settled is None else set((settled - labels[EVENT_TIMESTAMP]).unique())
    gap = window + ahead.pop() if len(ahead) == 1 else None
    return replace(prepared, labels=kept, purged=made.purged, purged_for_age=made.purged_for_age, gap=gap)


def _names(views: Mapping[str, FeatureView]) -> set[str]:
    return {view.name for view in views.values()}


def make(prepared: Prepared, *, advance: Callable[[int], None]) -> pl.DataFrame:
    """The columns `view__feature` for the prepared labels. Calls `advance(1)` for each view."""
    return values_known(prepared, prepared.request.knowledge, advance=advance)


def values_known(prepared: Prepared, knowledge: Knowledge, *, advance: Callable[[int], None]) -> pl.DataFrame:
    """The same columns, from any point of view."""
    tables = used_tables(prepared)
    return feature_values(prepared.labels, tables, prepared.refs, knowledge, prepared.workers, advance=advance)


def used_tables(prepared: Prepared) -> dict[str, PinnedTable]:
    """The tables features are taken from."""
    return {name: table for name, table in prepared.tables.items() if name in _names(prepared.views)}


def as_table(prepared: Prepared, values: pl.DataFrame) -> pa.Table:
    """Labels and values with what they mean, to be written."""
    request = prepared.request.model_dump(mode="json", exclude_none=True, exclude=_LAYOUT)
    return described(prepared.labels, values, prepared.views, request={**request, "features": prepared.refs})
