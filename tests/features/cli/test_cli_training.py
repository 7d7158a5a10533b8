"""`penstock training-set`: from labels or failures to a training set that can be made again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake

from features.tables.feature_table import table_path, table_schema
from historian.errors import HistorianError
from historian.plant.plant import Plant

RMS = "compressor_vibration:de_h_rms_ac"


def test_a_file_is_labels_and_features_and_nothing_else(
    tmp_path: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """One row a label; with --json nothing else is on standard output. What a CSV has as `03` stays so.

    The newest correction is used unless --created-by-label-time selects what had been computed by then.
    """
    add_rows("compressor_vibration", ("c101", 0, 1, 1.5), ("c101", 10, 11, 2.5), ("c101", 0, 900, 9.5))
    penstock("apply")
    labels, out = tmp_path / "labels.csv", tmp_path / "set.parquet"
    labels.write_text("asset,event_timestamp,rul\nc101,2026-03-01T00:00:05Z,03\nc102,2026-03-01T00:00:05Z,4\n")
    made = penstock("training-set", labels, "--out", out, "--feature", RMS, "--json")
    assert made == {
        "training_rows": 2,
        "features": [RMS],
        "null_rate": 0.5,
        "null_rates": {RMS: 0.5},
        "created_by_label_time": False,
        "warnings": [],
        "out": str(out),
    }
    assert pl.read_parquet(out).drop("event_timestamp").rows() == [("c101", "03", 9.5), ("c102", "4", None)]
    text = penstock("training-set", labels, "-o", out, "-f", RMS, "--created-by-label-time", "--target", "rul")
    assert text == f"{out}: 2 rows, 1 features, 50.0% of their values missing\n"
    assert pl.read_parquet(out).drop("event_timestamp").rows() == [("c101", 3, 1.5), ("c102", 4, None)]


def test_from_a_failure_list_to_a_verified_training_set(history: Path, penstock: Callable[..., Any]) -> None:
    """One command makes it from events and a rule: labels, features, split and artefact; another verifies it."""
    out = history / "set"
    answer = penstock(
        "training-set", history / "rule.toml", "--out", out, "--split", "asset", "--shares", "80,0,20",
        "--hold-out", "c102", "--json",
    )  # fmt: skip
    data = pl.read_parquet(out / "data" / "**" / "*.parquet", hive_partitioning=True)
    # Failed at second 100 and 180, repaired from 105 to 120, and seen until 238; rows at even seconds, one came late.
    labelled = {
        "c101": [*range(0, 100, 2), *range(126, 210, 2)],
        "c102": [*range(0, 180, 2), 41, *range(182, 210, 2)],
    }
    seconds = pl.col("event_timestamp").dt.epoch("s") - 1772323200
    for asset, expected in labelled.items():
        assert data.filter(asset=asset).select(seconds.sort()).to_series().to_list() == sorted(expected)
    assert data.filter(asset="c101")["split"].unique().to_list() == ["train"]
    assert data.filter(asset="c102")["split"].unique().to_list() == ["test"]
    assert data.filter("fails")["event_timestamp"].len() == 15 + 15
    assert set(data["episode"]) == {"c101/1", "c101/2", "c102/1"}

    assert answer["leakage"]["values_not_known_at_their_label"] == 0
    assert answer["corrections"]["values_that_differ"] > 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["tables"]["compressor_vibration"]["version"] >= 1
    assert manifest["columns"]["compressor_vibration__de_h_rms_ac"]["tags"] == "c101=c101.de_h, c102=c102.de_h"
    assert "<svg" in (out / "report.html").read_text()
    assert "http-equiv" not in (out / "report.html").read_text()

    verified = penstock("training-set", "verify", out, "--json")
    assert verified.pop("leakage") == answer["leakage"]
    assert verified == {"verified": True, "rows": data.height, "differences": [], "moved_on": []}


def test_what_the_docs_show_of_a_failure_list_is_one_command(
    history: Path, penstock: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list, the rule and the command of the documentation make a verified training set with a held-out asset."""
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "feast.md").read_text(encoding="utf-8")
    [events] = re.findall(r"```\n(asset,kind,happened_at\n.*?)```", page, flags=re.DOTALL)
    [rule] = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    [command] = re.findall(r"^penstock (training-set .*)$", page, flags=re.MULTILINE)
    assert f"\npenstock {command}\n" in (docs / "training-sets.md").read_text(encoding="utf-8")
    monkeypatch.chdir(history)
    Path("failures.csv").write_text(events)
    Path("rule.toml").write_text(rule)
    answer = penstock(*command.split(), "--json")
    assert (answer["verified"], answer["differences"]) == (True, [])
    assert answer["rows"]["split"] == {"train": 50, "validation": 0, "test": 91}


def test_rows_excluded_for_their_quality_are_reported_with_their_reason(
    plant: Plant, history: Path, penstock: Callable[..., Any]
) -> None:
    """The reason is a column that can be requested; manifest and report count the label rows it excluded."""
    schema = table_schema(plant, plant.views["compressor_vibration"])
    at = datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    row = {"asset": "c101", "event_timestamp": at, "created_timestamp": at + timedelta(hours=1)}
    bad = pl.DataFrame([row | {"de_h_valid": False, "de_h_reason": "gap constant"}], schema=schema)
    write_deltalake(table_path(plant, "compressor_vibration"), bad, mode="append")
    labels, out = history / "labels.csv", history / "set"
    labels.write_text(
        "asset,event_timestamp,rul\n" + "".join(f"c101,2026-03-01T00:0{at}Z,7\n" for at in ("1:01", "2:01"))
    )

    reason = "compressor_vibration:de_h_reason"
    penstock("training-set", labels, "--out", out, "-f", RMS, "-f", reason, "--target", "rul")

    rows = pl.read_parquet(out / "data" / "**" / "*.parquet").sort("event_timestamp")
    assert rows["rul"].to_list() == [7, 7]
    assert rows["compressor_vibration__de_h_reason"].to_list() == ["gap constant", "gap"]
    assert rows["compressor_vibration__de_h_rms_ac"].null_count() == 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["quality_exclusions"] == {"compressor_vibration": {"de_h": {"gap constant": 1}}}
    report = (out / "report.html").read_text()
    assert "excluded because" in report
    assert "<td>gap constant</td>" in report


def test_a_dry_run_counts_and_writes_nothing(history: Path, penstock: Callable[..., Any]) -> None:
    """It counts the labels, the times without one, the splits and their gap."""
    out = history / "set"
    answer = penstock(
        "training-set", history / "rule.toml", "--out", out, "--split", "time", "--shares", "50,0,50",
        "--dry-run", "--json",
    )  # fmt: skip
    assert not out.exists()
    assert answer["gap"] == "10m30s" or answer["gap"] == "630s"
    assert answer["counts"]["times"] == 241
    assert sum(answer["splits"].values()) == answer["labels"]


def test_columns_written_with_hindsight_are_suspects(history: Path, penstock: Callable[..., Any]) -> None:
    """Output and report list all of them; the terminal shows the strongest five and the number of others."""
    labels, first = history / "labels.csv", datetime(2026, 3, 1, tzinfo=UTC)
    names = ("outcome", "days_left", "left_2", "left_3", "left_4")
    rows = pl.DataFrame({"asset": "c101", "n": range(120)}).with_columns(
        (first + pl.duration(seconds="n")).dt.strftime("%FT%TZ").alias("event_timestamp"),
        (pl.col("n") > 60).cast(pl.Int8).alias("fails"),
        pl.when(pl.col("n") > 60).then(pl.lit("2026-03-01T09:00:00Z")).alias("repaired"),
        pl.when(pl.col("n") > 60).then(pl.lit("worn")).otherwise(pl.lit("well")).alias("outcome"),
        *((120 - pl.col("n")).alias(name) for name in names[1:]),
    )
    rows.drop("n").write_csv(labels)
    call = ("training-set", labels, "--out", history / "set", "--target", "fails", "-f", RMS)
    answer = penstock(*call, "--json")
    found = {"value": 1.0, "why": "label column"}
    aucs = [{"column": name, "measure": "auc", **found} for name in sorted(names)]
    assert answer["leakage"]["suspects"] == [*aucs, {"column": "repaired", "measure": "auc of missing", **found}]
    warnings = [f"{name} alone predicts the target" for name in (*sorted(names), "repaired")]
    report = (history / "set" / "report.html").read_text()
    assert [text for text in warnings if text in report and text in "\n".join(answer["warnings"])] == warnings
    terminal = penstock(*call)
    assert [text for text in warnings if text in terminal] == warnings[:5]
    assert terminal.endswith("  and 1 more alone predict the target; see report.html\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["labels.csv", "--out", "set.xlsx"], "has no known suffix"),
        (["nowhere.csv", "--out", "set.csv"], "there is no label file nowhere.csv"),
        (["nowhere.toml", "--out", "set"], "there is no rule file nowhere.toml"),
        (["rule.toml", "--out", "set", "--split", "random"], r"arXiv 2509\.22267"),
        (["rule.toml", "--out", "set", "--horizon", "1h"], "states the target and how far"),
        (["rule.toml", "--out", "set", "--split", "time", "--shares", "1,2"], "write 70,15,15"),
        (["rule.toml", "--out", "set", "--threshold", "0.2"], "--threshold: "),
        (["rule.toml", "--out", "set", "--as-of", "yesterday"], "'yesterday' is not a time"),
        (["labels.csv", "--out", "set", "--split", "time"], "state it with --horizon"),
        (["labels.csv", "--out", "set", "--hold-out", "c101"], "add --split asset"),
        (["labels.csv", "--out", "."], "holds something other than a training set"),
        (["verify", "."], "there is no manifest manifest.json"),
        (
            ["labels.csv", "--out", "set.csv", "--format", "csv"],
            "set.csv is a file, .*; for --format give .* --out set",
        ),
        (
            ["labels.csv", "--out", "set.csv", "--partition-by", "asset", "--verify"],
            "for --partition-by and --verify give",
        ),
    ],
)
def test_mistakes_end_with_advice(
    history: Path, penstock: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """The error is raised before anything is written."""
    monkeypatch.chdir(history)
    Path("labels.csv").write_text("asset,event_timestamp\nc101,2026-03-01T00:01:00Z\n")
    with pytest.raises(HistorianError, match=message):
        penstock("training-set", *arguments)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('horizon = "30s"\n', "", "rule.toml line 3: target: horizon belongs to kind horizon, and is needed there"),
        ('"30s"', '"soon"', "rule.toml line 6: target.horizon: 'soon' is not a duration"),
        ("[episodes]", "[epochs]", "rule.toml line 16: epochs: "),
        ("compressor_vibration", "compressor_vibrations", "rule.toml line 10: unknown feature view"),
        ("failures.csv", "../failures.csv", "events must lie in the directory of the rule file"),
        ('["failure"]', '["failrue"]', "no event is of the kind failrue: nothing ever fails; did you mean failure"),
    ],
)
def test_a_wrong_rule_is_reported_with_its_line(
    history: Path, penstock: Callable[..., Any], old: str, new: str, message: str
) -> None:
    """Its errors have the same form as those of a plant file."""
    (history / "rule.toml").write_text((history / "rule.toml").read_text().replace(old, new, 1))
    with pytest.raises(HistorianError) as raised:
        penstock("training-set", history / "rule.toml", "--out", history / "set")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("around", "message"),
    [
        ('before = "1h"\nafter = "1h"', "241 times, 241 excluded, 0 censored$"),
        ('before = "40s"', r"241 times, \d+ excluded, \d+ censored, 1\d\d left out: \[negatives\] .* and none does$"),
    ],
)
def test_a_rule_that_labels_nothing_says_why(
    history: Path, penstock: Callable[..., Any], around: str, message: str
) -> None:
    """This includes rules whose negatives would be drawn around failures of which there are none."""
    zones = f'kinds = ["failure", "repair"]\n{around}'
    rule = (history / "rule.toml").read_text().replace('kinds = ["repair"]\nafter = "5s"', zones)
    (history / "rule.toml").write_text(rule + "[negatives]\nper_positive = 5\nseed = 7\n")
    with pytest.raises(HistorianError, match=r"rule\.toml labels nothing: " + message):
        penstock("training-set", history / "rule.toml", "--out", history / "set")


def test_wrong_events_are_reported_with_their_row(history: Path, penstock: Callable[..., Any]) -> None:
    """All of them are listed."""
    rows = ["c109,failure,2026-03-01T00:00:00Z,,", "c101,,2026-03-01T00:00:00Z,,", "c101,failure,2026-03-01,never,"]
    rows += ["c101,failure,2026-03-01T00:00:00Z,,2026-02-01T00:00:00Z"]
    (history / "failures.csv").write_text("\n".join(["asset,kind,happened_at,known_at,end", *rows]) + "\n")
    with pytest.raises(HistorianError) as raised:
        penstock("training-set", history / "rule.toml", "--out", history / "set")
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "failures.csv row 2", "failures.csv row 3", "failures.csv row 4", "failures.csv row 4", "failures.csv row 5",
    ]  # fmt: skip


def test_a_training_set_replaces_an_older_one_whole(
    history: Path, finished: Path, penstock: Callable[..., Any]
) -> None:
    """No file of the older one stays behind, even if its manifest had an older format."""
    manifest = finished / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 3', '"format": 1', 1))
    halves = ("--split", "time", "--shares", "60,0,40")
    penstock("training-set", history / "rule.toml", "--out", finished, "-f", RMS, *halves)
    assert sorted(path.relative_to(finished).as_posix() for path in (finished / "data").rglob("*.parquet")) == [
        "data/split=test/part-0.parquet",
        "data/split=train/part-0.parquet",
    ]


@pytest.mark.parametrize("foreign", ["web/manifest.json", "set/notes.md"])
def test_a_directory_with_anything_else_in_it_is_left_alone(
    history: Path, finished: Path, penstock: Callable[..., Any], foreign: str
) -> None:
    """Other programs write a manifest.json too, and people keep their notes where they keep their data."""
    out = history / foreign
    (out.parent / "data").mkdir(parents=True, exist_ok=True)
    out.write_text('{"format": "of another program"}')
    with pytest.raises(HistorianError, match="holds something other than a training set"):
        penstock("training-set", history / "rule.toml", "--out", out.parent)
    assert out.exists()


@pytest.mark.parametrize(("column", "values"), [("rows", ["yes", "no", "yes"]), ("left_s", ["inf", "2.5", "1.5"])])
def test_a_target_may_have_any_name_and_be_infinite(
    history: Path, penstock: Callable[..., Any], column: str, values: list[str]
) -> None:
    """An unknown remaining life is infinite; a column named `rows` is counted like any other."""
    rows = [f"c101,2026-03-01T00:01:0{number}Z,{value}" for number, value in enumerate(values)]
    (history / "labels.csv").write_text("\n".join([f"asset,event_timestamp,{column}", *rows]) + "\n")
    answer = penstock(
        "training-set", history / "labels.csv", "--out", history / "set", "-f", RMS, "--target", column, "--json"
    )
    balance = {"no": 1, "yes": 2} if column == "rows" else {"p0": 1.5, "p100": 2.5}
    assert balance.items() <= answer["target"]["balance"]["all"].items()


def test_a_given_split_is_kept_if_its_names_are_valid(history: Path, penstock: Callable[..., Any]) -> None:
    """Valid names are train, validation and test; a path, for instance, is refused."""
    for names, wrong in (
        (["train", "test"], None),
        (["../x", "train"], "holds ../x, not just train, validation, test"),
    ):
        rows = [f"c101,2026-03-01T00:01:0{number}Z,{name}" for number, name in enumerate(names)]
        (history / "labels.csv").write_text("\n".join(["asset,event_timestamp,split", *rows]) + "\n")
        if wrong:
            with pytest.raises(HistorianError, match=wrong):
                penstock("training-set", history / "labels.csv", "--out", history / "set", "-f", RMS)
        else:
            penstock("training-set", history / "labels.csv", "--out", history / "set", "-f", RMS)
            assert {path.name for path in (history / "set" / "data").iterdir()} == {"split=train", "split=test"}
