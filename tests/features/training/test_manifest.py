"""Manifest and report of two small training sets, against what a person has worked out by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest

from features.feast.registry.feast_repo import apply, open_feature_store
from features.training.artefact import Made, make_all, write_artefact
from features.training.content_hash import digest
from features.training.export import Request, prepare
from features.training.report import report_html
from features.training.splits import SplitSpec
from historian.plant.plant import Plant

RMS = "compressor_vibration:de_h_rms_ac"
OIL = "compressor_process:oil_temp_mean"
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
        "definition": {"window": "10m", "hop": "1m", "align": "epoch", "points": {"oil_temp": ["degC", "10m"]}},
    },
    "compressor_vibration": {
        "version": 1,
        "created_until": "2026-03-01T00:50:00Z",
        "window": "1s",
        "ttl": None,
        "definition": {"window": "1s", "hop": "1s", "align": "epoch", "points": {"de_h": ["g", 1000.0]}},
    },
}

# Purged by the split by time (from 00:20:00 on it is test): c102 at 00:00:30, for its label settles at 00:01:00, after
# the start of the window of 00:00:20 that c102 uses at 00:20:01; c101 at 00:10:00, less than 10 min 30 s before.
BY_TIME = """asset,event_timestamp,fails
c101,2026-03-01T00:00:02Z,true
c102,2026-03-01T00:00:30Z,false
c101,2026-03-01T00:06:40Z,false
c101,2026-03-01T00:10:00Z,true
c101,2026-03-01T00:20:00Z,false
c102,2026-03-01T00:20:01Z,
c101,2026-03-01T00:20:02Z,true
c102,2026-03-01T00:20:03Z,false
"""

# The row of c101 of 00:00:20 serves three labels, one in train and two in test.
OWN_SPLIT = """asset,event_timestamp,life,split
c101,2026-03-01T00:00:02Z,90.5,train
c102,2026-03-01T00:00:30Z,50.5,train
c101,2026-03-01T00:06:40Z,60.5,test
c101,2026-03-01T00:10:00Z,,train
c101,2026-03-01T00:20:00Z,,test
c102,2026-03-01T00:20:01Z,50.5,train
c101,2026-03-01T00:20:02Z,,test
c102,2026-03-01T00:20:03Z,30.5,train
c101,2026-03-01T00:20:04Z,,test
"""

# All but the first lie around or after as_of, 00:20:01.
AS_OF = """asset,event_timestamp
c101,2026-03-01T00:00:02Z
c102,2026-03-01T00:20:03Z
c102,2026-03-01T00:30:00Z
c101,2026-03-01T01:00:00Z
"""

# Of test, c102 uses the row of 00:20:02 if that counts, which came at 00:21:40; else the one of 00:00:20, whose window
# starts before the first label is settled.
OLD_OR_LATE = """asset,event_timestamp
c102,2026-03-01T00:00:30Z
c101,2026-03-01T00:06:40Z
c101,2026-03-01T00:20:02Z
c102,2026-03-01T00:20:03Z
"""


@pytest.fixture
def make(plant: Plant, add_rows: Callable[..., None], tmp_path: Path) -> Callable[..., Made]:
    """Makes a training set of both features from the text of a label file."""
    add_rows(
        "compressor_vibration",
        ("c101", 0, 1, 1.0), ("c101", 0, 60, 9.0),  # corrected upwards after a minute
        ("c101", 20, 21, 2.0),
        ("c101", 1200, 1201, 5.0), ("c101", 1200, 3000, None),  # found later to be no value at all
        ("c102", 20, 21, 7.0),
        ("c102", 1202, 1300, 8.0),  # came late
    )  # fmt: skip
    add_rows(
        "compressor_process",
        ("c101", 0, 1, 60.0), ("c101", 1199, 1200, 62.0), ("c102", 0, 1, 61.0), ("c102", 1200, 1205, 63.0),
    )  # fmt: skip
    apply(plant)

    def made(labels: str, **request: Any) -> Made:
        (tmp_path / "labels.csv").write_text(labels)
        asked = Request(labels="labels.csv", features=(RMS, OIL), **request)
        prepared = prepare(open_feature_store(plant), plant, asked, tmp_path)
        return make_all(prepared, plant, plant.root / "plant.toml", advance=lambda _: None)

    return made


@pytest.fixture
def by_time(make: Callable[..., Made]) -> Made:
    """Half train, half test: one row is purged for its time, one for the age of later features, one feature expired."""
    spec = SplitSpec("time", shares=(0.5, 0, 0.5))
    return make(BY_TIME, target="fails", split=spec, horizon=timedelta(seconds=30))


@pytest.fixture
def own_split(make: Callable[..., Made]) -> Made:
    """The labels say themselves what is test; features as they were known then."""
    return make(OWN_SPLIT, target="life", known_then=True)


def page(made: Made) -> str:
    """Its report."""
    return report_html(made.manifest, made.prepared, made.audits)


def told(manifest: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on libraries' versions, and the versions of a table's features and machines."""
    kept = json.loads(json.dumps({key: part for key, part in manifest.items() if key != "software"}))
    made = [table["definition"].pop("made")[0]["features"] for table in kept["tables"].values()]
    assert [features[name] for features, name in zip(made, ("oil_temp_mean", "de_h_rms_ac"), strict=True)] == [1, 1]
    assert re.fullmatch("[0-9a-f]{64}", kept.pop("content_hash"))
    return dict(kept)


def surroundings(plant: Plant, labels: str) -> dict[str, Any]:
    """What is told of files and tables."""
    files = {name: digest((plant.root / name).read_bytes()) for name in ("plant.toml", "tags.csv")}
    return {
        "format": 1,
        "inputs": {"labels.csv": digest(labels.encode())},
        "plant": {"site": "north-works", "files": files},
        "tables": TABLES,
        "quality_exclusions": {},
    }


def columns(vibration: dict[str, float], process: dict[str, float]) -> dict[str, Any]:
    """Meaning and shares of the two features."""
    return {name: {**MEANING[name], **shares} for name, shares in zip(MEANING, (vibration, process), strict=True)}


def quantiles(*values: float) -> dict[str, float]:
    """0, 25, 50, 75, 95 and 100 percent."""
    return dict(zip(("p0", "p25", "p50", "p75", "p95", "p100"), values, strict=True))


def test_the_manifest_of_a_split_by_time_is_what_was_worked_out(plant: Plant, by_time: Made, tmp_path: Path) -> None:
    """Six rows are left of eight; later corrections count."""
    manifest = write_artefact(by_time, tmp_path / "set")
    files = [f"data/split={name}/part-0.parquet" for name in ("test", "train")]
    assert told(manifest) == {
        **surroundings(plant, BY_TIME),
        "request": {
            "labels": "labels.csv",
            "features": [RMS, OIL],
            "target": "fails",
            "known_then": False,
            "split": {"by": "time", "shares": [0.5, 0.0, 0.5], "hold_out": [], "seed": 0, "forced": False},
            "horizon": "PT30S",
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
            {"missing": 0.333333, "expired": 0.0, "changed_later": 4},
            {"missing": 0.166667, "expired": 0.166667, "changed_later": 2},
        ),
        # 2, 380, 0, 1181, 2, 1 seconds; and 2, too old, 1, 1, 3, 3.
        "age_s": {
            "compressor_vibration": quantiles(0, 1, 2, 380, 1181, 1181),
            "compressor_process": quantiles(1, 1, 2, 3, 3, 3),
        },
        "target": {
            "column": "fails",
            "balance": {"train": {"false": 1, "true": 1}, "test": {"false": 2, "missing": 1, "true": 1}},
        },
        "corrections": {"rule": "true history", "compared_with": "as known then", "values_that_differ": 6},
        "leakage": {
            "values_audited": 12,
            "values_not_known_at_their_label": 0,
            "columns": {},
            "rows_that_share_a_feature_row_with_another_split": {"compressor_process": 0, "compressor_vibration": 0},
            "suspects": [],
        },
        "files": {name: digest((tmp_path / "set" / name).read_bytes()) for name in files},
    }


def test_the_manifest_of_a_split_that_was_brought_is_what_was_worked_out(plant: Plant, own_split: Made) -> None:
    """Nothing is purged, so rows are shared; later corrections do not count."""
    assert told(own_split.manifest) == {
        **surroundings(plant, OWN_SPLIT),
        "request": {
            "labels": "labels.csv",
            "features": [RMS, OIL],
            "target": "life",
            "known_then": True,
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
            {"missing": 0.0, "expired": 0.0, "changed_later": 5},
            {"missing": 0.444444, "expired": 0.444444, "changed_later": 2},
        ),
        # 2, 10, 380, 580, 1180, 1181, 2, 1183, 4 seconds; and 2, 30, 1, 3, 5 where not too old.
        "age_s": {
            "compressor_vibration": quantiles(2, 4, 380, 1180, 1183, 1183),
            "compressor_process": quantiles(1, 2, 3, 5, 30, 30),
        },
        "target": {
            "column": "life",
            "balance": {
                "train": {**quantiles(30.5, 50.5, 50.5, 50.5, 90.5, 90.5), "missing": 1},
                "test": {**quantiles(60.5, 60.5, 60.5, 60.5, 60.5, 60.5), "missing": 3},
            },
        },
        "corrections": {"rule": "as known then", "compared_with": "true history", "values_that_differ": 7},
        "leakage": {
            "values_audited": 18,
            "values_not_known_at_their_label": 0,
            "columns": {},
            "rows_that_share_a_feature_row_with_another_split": {"compressor_process": 0, "compressor_vibration": 3},
            "suspects": [],
        },
    }


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (False, {"rule": "true history", "compared_with": "as known then", "values_that_differ": 1}),
        (True, {"rule": "as known then", "compared_with": "true history", "values_that_differ": 1}),
    ],
)
def test_as_of_holds_for_both_rules_and_for_the_audit(
    make: Callable[..., Made], *, rule: bool, told: dict[str, Any]
) -> None:
    """What was corrected or came after it is no difference between the rules, and no value the audit would expect."""
    made = make(AS_OF, known_then=rule, as_of=datetime(2026, 3, 1, 0, 20, 1, tzinfo=UTC))
    # 9, 7, 7, 5, known then were 1, 7, 7, 5; today 9, 8, 8, -. And 60, then missing as too old; today 63 once.
    assert made.table["compressor_vibration__de_h_rms_ac"].to_pylist() == [1 if rule else 9, 7, 7, 5]
    assert made.table["compressor_process__oil_temp_mean"].to_pylist() == [60, None, None, None]
    columns = made.manifest["columns"].values()
    assert [(about["missing"], about["expired"], about["changed_later"]) for about in columns] == [
        (0.0, 0.0, 1),
        (0.75, 0.75, 0),
    ]
    assert made.manifest["corrections"] == told
    assert made.manifest["leakage"]["values_not_known_at_their_label"] == 0
    shown = cells(sections(page(made))["Made from"])
    assert ["as of", "2026-03-01T00:20:01Z"] in shown
    assert ["rule", f"{told['rule']}; 1 values differ {told['compared_with']}"] in shown


@pytest.mark.parametrize(
    ("knowledge", "purged"),
    [({}, 0), ({"known_then": True}, 1), ({"as_of": datetime(2026, 3, 1, 0, 20, 4, tzinfo=UTC)}, 1)],
)
def test_what_is_purged_for_age_follows_from_what_was_known(
    make: Callable[..., Made], knowledge: dict[str, Any], purged: int
) -> None:
    """A late row serves under one rule, and under the others an old one that the labels of train look into."""
    spec = SplitSpec("time", shares=(0.5, 0, 0.5))
    made = make(OLD_OR_LATE, split=spec, horizon=timedelta(seconds=30), **knowledge)
    assert made.manifest["rows"]["purged_for_age"] == {"train": purged, "validation": 0, "test": 0}


def sections(report: str) -> dict[str, str]:
    """What stands below each heading."""
    return dict(part.split("</h2>", 1) for part in report.split("<h2>")[1:])


def cells(section: str) -> list[list[str]]:
    """The section's table, its head first."""
    rows = re.findall("<tr>(.*?)</tr>", section)
    return [[unescape(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_the_report_shows_every_plot_and_table(by_time: Made) -> None:
    """With the numbers of the manifest."""
    shown = sections(page(by_time))
    assert {title: text.count("<svg") for title, text in shown.items()} == {
        "Rows": 0,
        "Target": 1,
        "Age of the features at their labels": 1,
        "Missing values": 1,
        "Features": 0,
        "Made from": 0,
    }
    assert cells(shown["Rows"]) == [
        ["", "rows"],
        ["total", "6"],
        ["assets", "2"],
        *(["split: train", "2"], ["split: validation", "0"], ["split: test", "4"]),
        *(["purged: train", "2"], ["purged: validation", "0"], ["purged: test", "0"]),
        *(["purged_for_age: train", "1"], ["purged_for_age: validation", "0"], ["purged_for_age: test", "0"]),
        ["gap", "630s"],
    ]
    assert cells(shown["Target"]) == [
        ["fails", "train", "test"],
        *(["false", "1", "2"], ["true", "1", "1"], ["missing", "0", "1"]),
    ]
    assert cells(shown["Features"]) == [
        ["column", "unit", "formula", "tags", "missing", "changed later"],
        [
            *("compressor_vibration__de_h_rms_ac", "g", "sqrt(Σc²/N)", "c101=c101.de_h, c102=c102.de_h"),
            *("0.333333", "4"),
        ],
        ["compressor_process__oil_temp_mean", "degC", "∫v dt/∫dt", "c101=c101.oil", "0.166667", "2"],
    ]
    assert ["table compressor_process", "version 1, rows created until 2026-03-01T00:20:05Z"] in cells(
        shown["Made from"]
    )
    assert ["rule", "true history; 6 values differ as known then"] in cells(shown["Made from"])
    assert "All 12 values were known at their label's time" in page(by_time)


def test_the_report_warns_of_shared_rows(own_split: Made) -> None:
    """And says which splits have none."""
    assert "3 rows use a row of compressor_vibration that another split uses too; a split by" in page(own_split)


def test_a_part_of_the_artefact_says_what_its_columns_mean(by_time: Made, tmp_path: Path) -> None:
    """Whoever is handed one file has units, formulas and tags."""
    write_artefact(by_time, tmp_path / "set")
    schema = pq.read_schema(tmp_path / "set" / "data" / "split=test" / "part-0.parquet")
    found = {
        name: {key.decode(): text.decode() for key, text in schema.field(name).metadata.items()} for name in MEANING
    }
    assert {name: {key: about[key] for key in MEANING[name]} for name, about in found.items()} == MEANING
    assert json.loads(schema.metadata[b"penstock"])["features"] == [RMS, OIL]
