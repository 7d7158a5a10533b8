"""Training sets in memory: the rows alone, or with their audit and manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pyarrow as pa

from features.training.audit import ViewAudit, audit_view
from features.training.corrections import corrected
from features.training.join import check_names, described, feature_values
from features.training.manifest import Findings, Manifest, manifest_of
from features.training.plan import Plan
from features.training.prepare import Prepared
from features.training.splits import NAMES, SPLIT
from historian.errors import InvalidInput
from historian.plant.plant import Plant


@dataclass(frozen=True)
class Made:
    """A training set in memory, with everything that is reported about it."""

    prepared: Prepared
    table: pa.Table
    manifest: Manifest
    """The manifest without `files`."""
    audits: Mapping[str, ViewAudit]
    """Audits by view."""


def training_set(labels: pl.DataFrame, plan: Plan) -> pa.Table:
    """Return the labels with a column `view__feature` for each feature; null where no row counts.

    Args:
        labels: See `features.tables.labels`; all their columns are kept.
        plan: The features, their tables and the point-in-time mode.

    Raises:
        InvalidInput: a label column has the name of a feature.
        FeatureError: a view's table lacks a column; it was made before the plant file had it.
    """
    check_names(labels, plan)
    values = feature_values(labels, plan, advance=lambda _: None)
    return described(labels, values, plan, {"features": plan.refs, **plan.mode})


def rows_alone(prepared: Prepared, *, advance: Callable[[int], None]) -> pa.Table:
    """Return the rows of a training set, without audit and manifest.

    Args:
        prepared: Labels and plan.
        advance: Called with 1 after each view.
    """
    values = feature_values(prepared.labels, prepared.plan, advance=advance)
    return _table(prepared, values)


def make(prepared: Prepared, plant: Plant, plant_file: Path, *, advance: Callable[[int], None]) -> Made:
    """Make a training set, audit it, and write its manifest.

    Args:
        prepared: Labels and plan.
        plant: The plant.
        plant_file: Its bytes, and those of the tag lists, are what `plant` was loaded from.
        advance: Called with 1 after each view.

    Raises:
        InvalidInput: the labels bring a column `split` that holds something other than the name of a split.
    """
    _check_split(prepared.labels)
    labels, plan = prepared.labels, prepared.plan
    values = feature_values(labels, plan, advance=advance)
    other_mode = replace(plan, created_by_label_time=not plan.created_by_label_time)
    others = feature_values(labels, other_mode, advance=lambda _: None)
    changed = {name: int(values[name].ne_missing(others[name]).sum()) for name in values.columns}
    audits = _audits(labels, values, plan)
    findings = Findings(values, audits, changed, _corrected(labels, values, plan, audits))
    manifest = manifest_of(prepared, findings, plant, plant_file)
    return Made(prepared, _table(prepared, values), manifest, audits)


def null_rates(table: pa.Table, plan: Plan) -> dict[str, float]:
    """Return the share of rows in which each feature is missing, by `view:feature`.

    Args:
        table: A training set.
        plan: The one it was made by.
    """
    rows = max(1, table.num_rows)
    return {feature.ref: table[feature.column].null_count / rows for feature in plan.features}


def _table(prepared: Prepared, values: pl.DataFrame) -> pa.Table:
    plan = prepared.plan
    return described(prepared.labels, values, plan, prepared.request.of_rows(plan.refs), prepared.target)


def _audits(labels: pl.DataFrame, values: pl.DataFrame, plan: Plan) -> dict[str, ViewAudit]:
    """Audit each view's columns, on this machine wherever the join ran."""
    audits = {
        view: audit_view(
            labels,
            values,
            table,
            plan.columns(view),
            created_by_label_time=plan.created_by_label_time,
            memory_limit=plan.executor.memory_limit,
        )
        for view, table in plan.feature_tables.items()
    }
    for view, column in plan.age_columns.items():
        if wrong := int(values[column].ne_missing(audits[view].age_s).sum()):
            audits[view].wrong[column] = wrong
    return audits


def _corrected(
    labels: pl.DataFrame, values: pl.DataFrame, plan: Plan, audits: Mapping[str, ViewAudit]
) -> dict[str, int]:
    """Number of values that corrections have changed since their label's time, by column."""
    if plan.created_by_label_time:
        return {feature.column: 0 for feature in plan.features}
    counts: dict[str, int] = {}
    for view, table in plan.feature_tables.items():
        counts |= corrected(labels, values, table, audits[view], plan.columns(view))
    return counts


def _check_split(labels: pl.DataFrame) -> None:
    if SPLIT in labels.columns:
        present = set(labels[SPLIT].cast(pl.String).unique())
        if wrong := sorted(str(name) for name in present - set(NAMES)):
            raise InvalidInput(
                f"the labels' column {SPLIT!r} holds {', '.join(wrong[:3])}, not just {', '.join(NAMES)}; rename it"
            )
