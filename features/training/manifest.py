"""The manifest of a training set: all it depends on, what is in it, and what speaks against it. It reads no clock.

A mapping that goes to JSON and back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.tables.facts_used import facts_used
from features.tables.labels import ASSET
from features.training.audit import ViewAudit
from features.training.classes import is_classes
from features.training.content_hash import content_hash, digest
from features.training.pinned import PinnedTable
from features.training.prepare import Prepared
from features.training.signature import signature_of, to_json
from features.training.splits import NAMES, SPLIT
from features.training.suspects import label_columns, suspects
from historian.plant.plant import Plant
from historian.times import format_duration, format_instant

Manifest = dict[str, Any]

FORMAT: Final = 3
STATISTICS: Final = ("missing", "expired", "changed_later", "corrected")
"""What a manifest states of a column in addition to its meaning."""
_QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
_SOFTWARE: Final = ("penstock", "polars", "pyarrow")


@dataclass(frozen=True)
class Findings:
    """The values of a training set, and the findings about them."""

    values: pl.DataFrame
    """The values of the features: columns `view__feature`."""
    audits: Mapping[str, ViewAudit]
    """Audits of these values, by view."""
    changed: Mapping[str, int]
    """Column -> number of values that differ in the other point-in-time mode."""
    corrected: Mapping[str, int]
    """Column -> number of values that corrections have changed since their label's time; of features, not of ages."""


def manifest_of(prepared: Prepared, findings: Findings, plant: Plant, plant_file: Path) -> Manifest:
    """Return the manifest of a training set without `files`, which only the writer knows.

    Args:
        prepared: Labels and plan.
        findings: The values, audited.
        plant: The plant.
        plant_file: Its bytes, and those of the tag lists, are what `plant` was loaded from.
    """
    labels, values, audits = prepared.labels, findings.values, findings.audits
    return {
        "format": FORMAT,
        "request": prepared.request.model_dump(mode="json", exclude_none=True),
        "resolved": prepared.resolved.model_dump(mode="json", exclude_none=True),
        "inputs": {name: digest(path.read_bytes()) for name, path in input_names(prepared).items()},
        "plant": {"site": plant.site, "files": _plant_files(plant, plant_file), "facts": _facts(prepared, plant)},
        "tables": {view: _table(table) for view, table in prepared.plan.tables.items()},
        "software": {name: version(name) for name in _SOFTWARE},
        "events": prepared.made.events.to_manifest() if prepared.made.events else {},
        "rows": _rows(prepared),
        "columns": _columns(prepared, findings),
        "signature": to_json(signature_of(prepared.plan, values, prepared.target)),
        "age_s": {view: _quantiles(audit.age_s) for view, audit in audits.items()},
        "labels_newer_than_data": dict(_newer_than_data(audits)),
        "target": _balance(labels, prepared.target),
        "quality_exclusions": {view: audit.invalid for view, audit in audits.items() if audit.invalid},
        "corrections": _corrections(findings.changed, created_by_label_time=prepared.plan.created_by_label_time),
        "leakage": _leakage(prepared, findings),
        "content_hash": content_hash(labels.hstack(values.get_columns())),
    }


def input_names(prepared: Prepared) -> dict[str, Path]:
    """Return the input files by their path relative to the directory of the first of them.

    Args:
        prepared: Names the files.
    """
    root = prepared.files[0].parent
    return {path.relative_to(root).as_posix(): path for path in prepared.files}


def canonical(manifest: Manifest) -> str:
    """Return the manifest as JSON text, always the same for the same contents.

    Args:
        manifest: Any manifest.
    """
    return json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plant_files(plant: Plant, plant_file: Path) -> dict[str, str]:
    lists = sorted({tag.listed[0] for tag in plant.tags.values() if tag.listed[0]})
    return {name: digest((plant.root / name).read_bytes()) for name in (plant_file.name, *lists)}


def _facts(prepared: Prepared, plant: Plant) -> dict[str, Any]:
    """View -> the facts about the labels' assets that its features depend on."""
    assets = prepared.labels[ASSET].unique().to_list()
    return {view: facts_used(plant, view, table.definition, assets) for view, table in prepared.plan.tables.items()}


def _table(table: PinnedTable) -> dict[str, Any]:
    until = table.version.created_until
    return {
        "version": table.version.number,
        "created_until": format_instant(until) if until else None,
        **({"as_of": table.version.as_of} if table.version.as_of else {}),
        "window": format_duration(table.window),
        "ttl": format_duration(table.ttl) if table.ttl else None,
        "definition": json.loads(table.definition or "{}"),
    }


def _rows(prepared: Prepared) -> dict[str, Any]:
    labels, result = prepared.labels, prepared.split
    rows: dict[str, Any] = {"total": labels.height, "assets": labels[ASSET].n_unique()}
    if SPLIT in labels.columns:
        rows["split"] = {name: labels.filter(pl.col(SPLIT) == name).height for name in NAMES}
        rows["purged"] = dict(result.purged)
        rows["purged_for_age"] = dict(result.purged_for_age)
        rows["gap"] = format_duration(result.gap) if result.gap else None
    return {**rows, **prepared.counts}


def _columns(prepared: Prepared, findings: Findings) -> dict[str, Any]:
    plan = prepared.plan
    views = {
        **{feature.column: feature.view for feature in plan.features},
        **{c: v for v, c in plan.age_columns.items()},
    }
    return {
        column: {
            **meaning,
            "missing": _share(findings.values[column].is_null()),
            "expired": _share(findings.audits[views[column]].expired),
            "changed_later": findings.changed[column],
            "corrected": findings.corrected.get(column, 0),
        }
        for column, meaning in plan.meanings.items()
    }


def _newer_than_data(audits: Mapping[str, ViewAudit]) -> Iterator[tuple[str, dict[str, Any]]]:
    """View -> number of labels with features that are later than their asset's newest row, and by how much at most."""
    for view, audit in audits.items():
        seconds = audit.beyond_s.drop_nulls()
        if len(seconds):
            yield view, {"labels": len(seconds), "seconds": seconds.max()}


def _share(flags: pl.Series) -> float:
    return round(float(flags.sum()) / max(1, len(flags)), 6)


def _quantiles(numbers: pl.Series) -> dict[str, float]:
    known = numbers.drop_nulls()
    if known.is_empty():
        return {}
    return {f"p{round(100 * q)}": float(known.quantile(q, "nearest") or 0.0) for q in _QUANTILES}


def _balance(labels: pl.DataFrame, target: str | None) -> dict[str, Any]:
    """How often which class is in which split; quantiles of a target that is a quantity."""
    if target is None:
        return {}
    parts = labels.partition_by(SPLIT, as_dict=True) if SPLIT in labels.columns else {("all",): labels}
    balance = {}
    for (name,), rows in sorted(parts.items(), key=lambda part: ("all", *NAMES).index(str(part[0][0]))):
        column = rows[target]
        if is_classes(labels[target]):
            classes = column.cast(pl.String).fill_null("missing").alias("class")
            counts = classes.value_counts(name="rows").sort("class")
            balance[str(name)] = dict(counts.iter_rows())
        else:
            balance[str(name)] = {**_quantiles(_number(column)), "missing": column.null_count()}
    return {"column": target, "kind": "classes" if is_classes(labels[target]) else "quantity", "balance": balance}


def _number(column: pl.Series) -> pl.Series:
    numbers = column.cast(pl.Float64) if column.dtype.is_numeric() else pl.Series([], dtype=pl.Float64)
    return numbers.filter(numbers.is_finite())


def _corrections(changed: Mapping[str, int], *, created_by_label_time: bool) -> dict[str, Any]:
    rules = ["true history", "created by label time"]
    rule, other = reversed(rules) if created_by_label_time else rules
    return {"rule": rule, "compared_with": other, "values_that_differ": sum(changed.values())}


def _leakage(prepared: Prepared, findings: Findings) -> dict[str, Any]:
    labels, values, audits = prepared.labels, findings.values, findings.audits
    leaking = {column: count for audit in audits.values() for column, count in audit.wrong.items()}
    leakage: dict[str, Any] = {
        "values_audited": values.height * values.width,
        "values_not_known_at_their_label": sum(leaking.values()),
        "columns": leaking,
    }
    if SPLIT in labels.columns:
        shared = {view: audit.shared for view, audit in audits.items()}
        leakage["rows_that_share_a_feature_row_with_another_split"] = shared
    if prepared.target:
        leakage.update(_predictors(prepared, findings, leaking))
    return leakage


def _predictors(prepared: Prepared, findings: Findings, leaking: Mapping[str, int]) -> dict[str, Any]:
    """The columns that predict the target by themselves: those that may know the outcome, with the reason, and others.

    A feature that passed the audit, and that no later correction has changed, was not written with hindsight.
    """
    target = prepared.labels[prepared.target or ""]
    written = label_columns(prepared.labels, target.name)
    found = suspects(written.hstack(findings.values.get_columns()), target, threshold=prepared.request.threshold)
    entries = [{"column": each.column, "measure": each.measure, "value": round(each.value, 6)} for each in found]
    whys = [_why(each.column, findings, leaking, is_label=each.column in written.columns) for each in found]
    return {
        "suspects": [{**entry, **why} for entry, why in zip(entries, whys, strict=True) if why],
        "strong_predictors": [entry for entry, why in zip(entries, whys, strict=True) if not why],
    }


def _why(column: str, findings: Findings, leaking: Mapping[str, int], *, is_label: bool) -> dict[str, Any]:
    """Why a column that predicts the target may know the outcome; empty if it cannot."""
    if is_label:
        return {"why": "label column"}
    if column in leaking:
        return {"why": "not known", "values": leaking[column]}
    corrected = findings.corrected.get(column)
    return {"why": "corrected", "values": corrected} if corrected else {}
