"""A request and its label source -> labels with their split, and the plan by which their features are looked up.

    references -> pinned tables -> labels -> split

Everything the result depends on is in the request, its input files, the plant file and the tables' versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import polars as pl
from feast import FeatureStore

from features.feast.feature_refs import refs_of_assets
from features.feast.offline.join_executor import LOCAL, JoinExecutor
from features.tables.labels import EVENT_TIMESTAMP
from features.training.classes import check_train
from features.training.join import check_names, features_began
from features.training.label_source import Labels, LabelSource
from features.training.model_columns import model_refs
from features.training.plan import Plan, resolve
from features.training.request import Request, Resolved
from features.training.splits import SPLIT, SplitSpec, split
from historian.errors import InvalidInput
from historian.plant.plant import Plant


@dataclass(frozen=True)
class SplitResult:
    """The purged rows of a split; empty without a split."""

    purged: Mapping[str, int] = field(default_factory=dict)
    purged_for_age: Mapping[str, int] = field(default_factory=dict)
    """Numbers of purged rows, like `purged`; see `features.training.splits.Split`."""
    gap: timedelta | None = None
    """Longest window plus horizon; None without a split, or where it differs from row to row."""


@dataclass(frozen=True)
class Prepared:
    """The labels and the plan of a training set, before any feature value is read."""

    request: Request
    files: tuple[Path, ...]
    """The input files; the one the request names first."""
    plan: Plan
    labels: pl.DataFrame
    """The labels, with the column `split` if one was requested, and without purged rows."""
    target: str | None
    made: Labels
    """The labels as their source made them, with what it reports."""
    resolved: Resolved
    split: SplitResult = SplitResult()

    @property
    def counts(self) -> Mapping[str, int]:
        """Numbers of times without a label, by reason."""
        return self.made.counts


def plan_of(
    store: FeatureStore, plant: Plant, request: Request, source: LabelSource, *, executor: JoinExecutor = LOCAL
) -> Plan:
    """Return the plan of a request: its features, or all of the labelled classes, in tables as they are now.

    Args:
        store: Feast over the plant's repository.
        plant: The plant.
        request: What the training set is to be.
        source: The request's label files; see `features.training.label_source.read_source`.
        executor: Where features are looked up.

    Raises:
        UnknownFeature, NotEnoughData, StoreUnavailable: as `features.training.plan.resolve`.
    """
    refs = request.features or refs_of_assets(store, plant, source.assets)
    return resolve(
        store,
        model_refs(plant, refs) if request.model_columns else refs,
        times_view=source.times_view,
        as_of=request.as_of,
        created_by_label_time=request.created_by_label_time,
        executor=executor,
        ages=request.ages,
    )


def prepare(request: Request, source: LabelSource, plan: Plan) -> Prepared:
    """Make the labels of a training set, and split them.

    Args:
        request: What the training set is to be.
        source: The request's label files; see `features.training.label_source.read_source`.
        plan: The features, in pinned tables.

    Raises:
        InvalidInput: the labels cannot be joined or split, there are none, or the train split has no positive one.
    """
    labels = source.labels(plan.tables[source.times_view] if source.times_view else None, request.as_of)
    check_names(labels.frame, plan)
    frame, result = _split(labels, plan, request.split) if request.split else (labels.frame, SplitResult())
    if source.target and not request.accept_one_class:
        check_train(frame, source.target)
    return Prepared(request, source.files, plan, frame, source.target, labels, _resolved(source, plan, labels), result)


def _resolved(source: LabelSource, plan: Plan, labels: Labels) -> Resolved:
    return Resolved(
        features=tuple(plan.refs),
        assets=source.assets,
        named_assets=source.named_assets,
        observed_until=labels.observed_until,
    )


def _split(labels: Labels, plan: Plan, spec: SplitSpec) -> tuple[pl.DataFrame, SplitResult]:
    """The labels with their split, without the rows it purges."""
    times, ends = labels.frame[EVENT_TIMESTAMP], labels.label_end
    _check_horizon(labels, spec)
    window = max(table.window for table in plan.feature_tables.values())
    found = split(
        labels.frame,
        spec,
        label_end=times if ends is None else ends,
        window=window,
        began=features_began(labels.frame, plan),
    )
    horizons = set() if ends is None else set((ends - times).unique())
    gap = window + horizons.pop() if len(horizons) == 1 else None
    kept = labels.frame.with_columns(found.names).drop_nulls(SPLIT)
    return kept, SplitResult(found.purged, found.purged_for_age, gap)


def _check_horizon(labels: Labels, spec: SplitSpec) -> None:
    if labels.label_end is None and spec.by in ("time", "episode"):
        raise InvalidInput(
            "how far these labels look ahead is unknown; state it with --horizon (0 if a label is about its own "
            "instant), so that the gap between the splits can be as wide"
        )
