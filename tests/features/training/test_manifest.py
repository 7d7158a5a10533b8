"""Manifests of two small training sets, against values worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from features.training.artefact import write_artefact
from features.training.content_hash import digest
from features.training.training_set import Made
from historian.plant.plant import Plant
from tests.features.training.two_views import BY_TIME, OIL, OWN_SPLIT, RMS

MEANING: Final = {
    "compressor_vibration__de_h_rms_ac": {
        "formula": "sqrt(Σc²/N)",
        "point": "de_h",
        "tags": "c101=c101.de_h, c102=c102.de_h",
        "unit": "g",
        "version": "1",
    },
    "compressor_process__oil_temp_mean": {
        "formula": "∫v dt/∫dt",
        "point": "oil_temp",
        "tags": "c101=c101.oil",
        "unit": "degC",
        "version": "1",
    },
}
TABLES: Final = {  # version 0 is the empty table
    "compressor_process": {
        "version": 1,
        "created_until": "2026-03-01T00:20:05Z",
        "window": "10m",
        "ttl": "5m",
        "definition": {
            "version": 4,
            "window": "10m",
            "hop": "1m",
            "align": "epoch",
            "points": {"oil_temp": ["degC", "10m"]},
        },
    },
    "compressor_vibration": {
        "version": 1,
        "created_until": "2026-03-01T00:50:00Z",
        "window": "1s",
        "ttl": None,
        "definition": {"version": 4, "window": "1s", "hop": "1s", "align": "epoch", "points": {"de_h": ["g", 1000.0]}},
    },
}


OILS = {"c101": "c101.oil", "c102": None}
FACTS = {
    "compressor_process": {
        "assets": {asset: [{"since": None, "oil_temp.tag": tag}] for asset, tag in OILS.items()},
        "outdated": [],
    },
    "compressor_vibration": {
        "assets": {asset: [{"since": None, "de_h.tag": f"{asset}.de_h", "de_h.range": None}] for asset in OILS},
        "outdated": [],
    },
}


def without_versions(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest without what depends on versions of libraries, features and machines."""
    kept = json.loads(json.dumps({key: part for key, part in manifest.items() if key != "software"}))
    rows_by = [table["definition"].pop("provenance")[0]["features"] for table in kept["tables"].values()]
    assert [versions[name] for versions, name in zip(rows_by, ("oil_temp_mean", "de_h_rms_ac"), strict=True)] == [1, 1]
    assert re.fullmatch("[0-9a-f]{64}", kept.pop("content_hash"))
    return dict(kept)


def surroundings(plant: Plant, labels: str, target: str) -> dict[str, Any]:
    """The entries for files and tables."""
    files = {name: digest((plant.root / name).read_bytes()) for name in ("plant.toml", "tags.csv")}
    return {
        "format": 3,
        "events": {},
        "labels_newer_than_data": {},
        "inputs": {"labels.csv": digest(labels.encode())},
        "plant": {"site": "north-works", "files": files, "facts": FACTS},
        "tables": TABLES,
        "quality_exclusions": {},
        "signature": {
            "inputs": [
                {"name": name, "type": "double", "view": view, "feature": feature, "version": "1", "unit": unit}
                for name, view, feature, unit in (
                    ("compressor_vibration__de_h_rms_ac", "compressor_vibration", "de_h_rms_ac", "g"),
                    ("compressor_process__oil_temp_mean", "compressor_process", "oil_temp_mean", "degC"),
                )
            ],
            "target": target,
            "ttl": {"compressor_process": "PT5M", "compressor_vibration": None},
        },
        "resolved": {"features": [RMS, OIL], "assets": ["c101", "c102"], "named_assets": ["c101", "c102"]},
    }


def columns(vibration: dict[str, float], process: dict[str, float]) -> dict[str, Any]:
    """Meaning and shares of the two features."""
    return {name: {**MEANING[name], **shares} for name, shares in zip(MEANING, (vibration, process), strict=True)}


def no_leakage(values: int, *, shared: int) -> dict[str, Any]:
    """The audit of so many values without a finding, but for vibration rows that two splits share."""
    return {
        "values_audited": values,
        "values_not_known_at_their_label": 0,
        "columns": {},
        "rows_that_share_a_feature_row_with_another_split": {"compressor_process": 0, "compressor_vibration": shared},
        "suspects": [],
        "strong_predictors": [],
    }


def quantiles(*values: float) -> dict[str, float]:
    """0, 25, 50, 75, 95 and 100 percent."""
    return dict(zip(("p0", "p25", "p50", "p75", "p95", "p100"), values, strict=True))


def test_the_manifest_of_a_split_by_time_is_what_was_worked_out(
    two_view_plant: Plant, by_time: Made, tmp_path: Path
) -> None:
    """Six rows are left of eight; later corrections count."""
    manifest = write_artefact(by_time, tmp_path / "set")
    files = [f"data/split={name}/part-0.parquet" for name in ("test", "train")]
    assert without_versions(manifest) == {
        **surroundings(two_view_plant, BY_TIME, "fails"),
        "request": {
            "labels": "labels.csv",
            "features": [RMS, OIL],
            "target": "fails",
            "created_by_label_time": False,
            "split": {"by": "time", "shares": [0.5, 0.0, 0.5], "hold_out": [], "seed": 0, "forced": False},
            "horizon": "PT30S",
            "model_columns": False,
            "ages": False,
            "accept_one_class": False,
            "threshold": 0.95,
            "format": "parquet",
        },
        "rows": {
            "total": 6,
            "assets": 2,
            "split": {"train": 2, "validation": 0, "test": 4},
            "purged": {"train": 2, "validation": 0, "test": 0},
            "purged_for_age": {"train": 1, "validation": 0, "test": 0},
            "gap": "630s",
        },
        # 9, 2, -, 7, -, 8; known then were 1, 2, 2, 7, 5, 7. And 60, -, 62, 63, 62, 63; then 60, -, 62, -, 62, -.
        "columns": columns(
            {"missing": 0.333333, "expired": 0.0, "changed_later": 4, "corrected": 3},
            {"missing": 0.166667, "expired": 0.166667, "changed_later": 2, "corrected": 0},
        ),
        # 2, 380, 0, 1181, 2, 1 seconds; and 2, too old, 1, 1, 3, 3.
        "age_s": {
            "compressor_vibration": quantiles(0, 1, 2, 380, 1181, 1181),
            "compressor_process": quantiles(1, 1, 2, 3, 3, 3),
        },
        "target": {
            "column": "fails",
            "kind": "classes",
            "balance": {"train": {"false": 1, "true": 1}, "test": {"false": 2, "missing": 1, "true": 1}},
        },
        "corrections": {"rule": "true history", "compared_with": "created by label time", "values_that_differ": 6},
        "leakage": no_leakage(12, shared=0),
        "files": {name: digest((tmp_path / "set" / name).read_bytes()) for name in files},
    }


def test_the_manifest_of_a_given_split_is_what_was_worked_out(two_view_plant: Plant, own_split: Made) -> None:
    """Nothing is purged, so rows are shared; later corrections do not count."""
    assert without_versions(own_split.manifest) == {
        **surroundings(two_view_plant, OWN_SPLIT, "life"),
        "labels_newer_than_data": {"compressor_vibration": {"labels": 1, "seconds": 4.0}},
        "request": {
            "labels": "labels.csv",
            "features": [RMS, OIL],
            "target": "life",
            "created_by_label_time": True,
            "model_columns": False,
            "ages": False,
            "accept_one_class": False,
            "threshold": 0.95,
            "format": "parquet",
        },
        "rows": {
            "total": 9,
            "assets": 2,
            "split": {"train": 5, "validation": 0, "test": 4},
            "purged": {},
            "purged_for_age": {},
            "gap": None,
        },
        # 1, 7, 2, 2, 2, 7, 5, 7, 5; today 9, 7, 2, 2, -, 7, -, 8, -. And 60, 61, -, -, 62, -, 62, -, 62; today the
        # two of c102 at 00:20:01 and 00:20:03 are 63.
        "columns": columns(
            {"missing": 0.0, "expired": 0.0, "changed_later": 5, "corrected": 0},
            {"missing": 0.444444, "expired": 0.444444, "changed_later": 2, "corrected": 0},
        ),
        # 2, 10, 380, 580, 1180, 1181, 2, 1183, 4 seconds; and 2, 30, 1, 3, 5 where not too old.
        "age_s": {
            "compressor_vibration": quantiles(2, 4, 380, 1180, 1183, 1183),
            "compressor_process": quantiles(1, 2, 3, 5, 30, 30),
        },
        "target": {
            "column": "life",
            "kind": "quantity",
            "balance": {
                "train": {**quantiles(30.5, 50.5, 50.5, 50.5, 90.5, 90.5), "missing": 1},
                "test": {**quantiles(60.5, 60.5, 60.5, 60.5, 60.5, 60.5), "missing": 3},
            },
        },
        "corrections": {"rule": "created by label time", "compared_with": "true history", "values_that_differ": 7},
        "leakage": no_leakage(18, shared=3),
    }


def test_a_part_of_the_artefact_says_what_its_columns_mean(by_time: Made, tmp_path: Path) -> None:
    """Each single file has units, formulas and tags."""
    write_artefact(by_time, tmp_path / "set")
    schema = pq.read_schema(tmp_path / "set" / "data" / "split=test" / "part-0.parquet")
    found = {
        name: {key.decode(): text.decode() for key, text in schema.field(name).metadata.items()} for name in MEANING
    }
    assert {name: {key: about[key] for key in MEANING[name]} for name, about in found.items()} == MEANING
    assert json.loads(schema.metadata[b"penstock"])["features"] == [RMS, OIL]
