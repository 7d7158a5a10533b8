"""The manifest of a training set: all it depends on, what is in it, and what speaks against it. No clock is asked.

A mapping that goes to JSON and back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.feast.feature_refs import column_of, meaning_of
from features.tables.labels import ASSET
from features.training.audit import ViewAudit, ages, audit_view, shared_rows
from features.training.content_hash import content_hash, digest
from features.training.export import Prepared, used_tables, values_known
from features.training.pinned import PinnedTable
from features.training.splits import NAMES, SPLIT
from features.training.suspects import beside, is_classes, suspects
from features.training.training_set import Knowledge, features_of
from historian.plant.plant import Plant
from historian.times import format_duration

Manifest = dict[str, Any]

FORMAT: Final = 1
_QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
_SOFTWARE: Final = ("penstock", "polars", "pyarrow")


def manifest_of(
    prepared: Prepared, values: pl.DataFrame, audits: Mapping[str, ViewAudit], plant: Plant, plant_file: Path
) -> Manifest:
    """The manifest of a training set, but for `files`, which only the writer knows.

    Args:
        values: The columns `view__feature`.
        audits: By view, of these values.
        plant_file: Its bytes, and those of the tag lists, are what `plant` was loaded from.
    """
    labels = prepared.labels
    changed = _changed(prepared, values)
    return {
        "format": FORMAT,
        "request": prepared.request.model_dump(mode="json", exclude_none=True),
        "inputs": {name: digest(path.read_bytes()) for name, path in input_names(prepared).items()},
        "plant": {"site": plant.site, "files": _plant_files(plant, plant_file)},
        "tables": {name: _table(table) for name, table in prepared.tables.items()},
        "software": {name: version(name) for name in _SOFTWARE},
        "rows": _rows(prepared),
        "columns": {
            column_of(ref): {
                **meaning_of(ref, view),
                "missing": _share(values[column_of(ref)].is_null()),
                "expired": _share(audits[view.name].expired),
                "changed_later": changed[column_of(ref)],
            }
            for ref, view in prepared.views.items()
        },
        "age_s": {name: _quantiles(ages(labels, audit)) for name, audit in audits.items()},
        "target": _balance(labels, prepared.target),
        "quality_exclusions": {name: audit.invalid for name, audit in audits.items() if audit.invalid},
        "corrections": _corrections(prepared.request.knowledge, changed),
        "leakage": _leakage(prepared, values, audits),
        "content_hash": content_hash(labels.hstack(values.get_columns())),
    }


def audits_of(prepared: Prepared, values: pl.DataFrame) -> dict[str, ViewAudit]:
    """An audit of each view's columns; by this machine, whoever has looked them up."""
    knowledge, limit = prepared.request.knowledge, prepared.workers.memory_limit
    return {
        name: audit_view(
            prepared.labels, values, table, features_of(prepared.refs, name), knowledge, memory_limit=limit
        )
        for name, table in used_tables(prepared).items()
    }


def input_names(prepared: Prepared) -> dict[str, Path]:
    """The input files by their path beside the first of them."""
    root = prepared.inputs[0].parent
    return {path.relative_to(root).as_posix(): path for path in prepared.inputs}


def canonical(manifest: Manifest) -> str:
    """The manifest as JSON text, always the same for the same contents."""
    return json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plant_files(plant: Plant, plant_file: Path) -> dict[str, str]:
    lists = sorted({tag.listed[0] for tag in plant.tags.values() if tag.listed[0]})
    return {name: digest((plant.root / name).read_bytes()) for name in (plant_file.name, *lists)}


def _table(table: PinnedTable) -> dict[str, Any]:
    until = table.moment.created_until
    return {
        "version": table.moment.version,
        "created_until": until.isoformat().replace("+00:00", "Z") if until else None,
        **({"as_of": table.moment.found} if table.moment.found else {}),
        "window": format_duration(table.window),
        "ttl": format_duration(table.ttl) if table.ttl else None,
        "definition": json.loads(table.definition or "{}"),
    }


def _rows(prepared: Prepared) -> dict[str, Any]:
    labels = prepared.labels
    told: dict[str, Any] = {"total": labels.height, "assets": labels[ASSET].n_unique()}
    if SPLIT in labels.columns:
        told["split"] = {name: labels.filter(pl.col(SPLIT) == name).height for name in NAMES}
        told["purged"] = dict(prepared.purged)
        told["purged_for_age"] = dict(prepared.purged_for_age)
        told["gap"] = format_duration(prepared.gap) if prepared.gap else None
    return {**told, **prepared.counts}


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
    return {"column": target, "balance": balance}


def _number(column: pl.Series) -> pl.Series:
    numbers = column.cast(pl.Float64) if column.dtype.is_numeric() else pl.Series([], dtype=pl.Float64)
    return numbers.filter(numbers.is_finite())


def _changed(prepared: Prepared, values: pl.DataFrame) -> dict[str, int]:
    """For each column the values the other point of view would have given otherwise."""
    request = prepared.request
    other = Knowledge(known_then=not request.known_then, as_of=request.as_of)
    told = values_known(prepared, other, advance=lambda _: None)
    return {name: int(values[name].ne_missing(told[name]).sum()) for name in values.columns}


def _corrections(knowledge: Knowledge, changed: Mapping[str, int]) -> dict[str, Any]:
    rule = "as known then" if knowledge.known_then else "true history"
    other = "true history" if knowledge.known_then else "as known then"
    return {"rule": rule, "compared_with": other, "values_that_differ": sum(changed.values())}


def _leakage(prepared: Prepared, values: pl.DataFrame, audits: Mapping[str, ViewAudit]) -> dict[str, Any]:
    labels = prepared.labels
    leaking = {column: count for audit in audits.values() for column, count in audit.wrong.items()}
    told: dict[str, Any] = {
        "values_audited": values.height * values.width,
        "values_not_known_at_their_label": sum(leaking.values()),
        "columns": leaking,
    }
    if SPLIT in labels.columns:
        shared = {name: shared_rows(labels, audit, labels[SPLIT]) for name, audit in audits.items()}
        told["rows_that_share_a_feature_row_with_another_split"] = shared
    if prepared.target:
        columns = beside(labels, prepared.target).hstack(values.get_columns())
        found = suspects(columns, labels[prepared.target], threshold=prepared.request.threshold)
        told["suspects"] = [{"column": s.column, "measure": s.measure, "value": round(s.value, 6)} for s in found]
    return told
