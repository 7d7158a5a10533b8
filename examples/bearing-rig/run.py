"""The main job on real run-to-failure data: two bearings, from vibration snapshots to a training set.

    python examples/bearing-rig/run.py --data DIRECTORY_OF_THE_FEMTO_FILES

Every step is a `penstock` command, as in the demo. One training set is labelled by a table, the remaining useful life
of each snapshot counted back from the end of its run; the other by a rule over the list of failures
(`failing_soon.toml`), with a whole bearing held out as the test set. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from api.cli.commands import Commands, Runner

HERE = Path(__file__).parent
WINDOW = timedelta(milliseconds=100)
ASSETS = {"bearing1_1": "Bearing1_1", "bearing2_1": "Bearing2_1"}


def report(text: str) -> None:
    """Print progress to standard error; only the result is written to standard output."""
    print(text, file=sys.stderr)


def main() -> None:
    """Run the example in a temporary directory, unless `--dir` names one."""
    arguments = argparse.ArgumentParser(description="Two FEMTO bearings, from snapshots to a training set.")
    arguments.add_argument(
        "--data", type=Path, required=True, help="directory of Bearing1_1_acc.parquet and the others"
    )
    arguments.add_argument("--dir", type=Path, help="keep plant, state and training set in this directory")
    arguments.add_argument("--historian", help="url of an empty InfluxDB to keep the samples in")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = given.dir or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(given.data.resolve(), directory, given.historian), indent=2))


def run(
    femto: Path, directory: Path, historian: str | None, commands: Callable[..., Runner] = Commands
) -> dict[str, Any]:
    """Backfill, compute, label and export; return a summary of each bearing.

    Args:
        femto: directory of the data.
        directory: for plant, state and training set.
        historian: url of an empty InfluxDB; the lake if None.
        commands: makes what runs `penstock` from directory, report and environment.
    """
    for file in [*HERE.glob("*.toml"), *HERE.glob("*.csv")]:
        shutil.copy(file, directory)
    runs = {asset: snapshots(femto / f"{name}_acc.parquet") for asset, name in ASSETS.items()}
    pl.concat([labels(asset, run) for asset, run in runs.items()]).write_csv(
        directory / "labels.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ"
    )

    environment = {"FEMTO_DIR": str(femto), **({"PENSTOCK_HISTORIAN": historian} if historian else {})}
    penstock = commands(directory, report, environment).run
    penstock("store", "init")
    penstock("backfill")
    penstock("compute")
    penstock("apply")
    penstock("training-set", "labels.csv", "--target", "remaining_useful_life_s", "--out", "training.parquet")
    # From the list of failures to a verified training set in one command: one bearing trains, the other is the test.
    made = penstock(
        "training-set", "failing_soon.toml", "--split", "asset", "--hold-out", "bearing2_1", "--shares", "100,0,0",
        "--out", "failing_soon", "--verify",
    )  # fmt: skip
    penstock("quarantine", "export", "quarantine.parquet")
    quarantined = pl.read_parquet(directory / "quarantine.parquet")
    features = pl.read_delta(str(directory / ".penstock" / "features" / "test_bearing_vibration"))
    training = pl.read_parquet(directory / "training.parquet")
    summaries = {asset: summary(asset, run, features, training, quarantined) for asset, run in runs.items()}
    return {**summaries, "failing_soon": split_summary(made)}


def snapshots(path: Path) -> pl.DataFrame:
    """Return the snapshots of a run: number, time of completion (UTC, own clock), and remaining life (rig's clock).

    The rig took a snapshot every 10 s, whatever was written into it: two of Bearing1_1 carry a wrong time.
    """
    local = pl.read_parquet(path, columns=["file_no", "ts_recorded", "ts_nominal"])
    return local.select(
        snapshot="file_no",
        event_timestamp=pl.col("ts_recorded").dt.replace_time_zone("Europe/Paris").dt.convert_time_zone("UTC") + WINDOW,
        remaining=pl.col("ts_nominal").max() - pl.col("ts_nominal"),
    )


def labels(asset: str, run: pl.DataFrame) -> pl.DataFrame:
    """Return one label row per snapshot: remaining useful life in seconds."""
    life = pl.col("remaining").dt.total_seconds().alias("remaining_useful_life_s")
    return run.select("event_timestamp", pl.lit(asset).alias("asset"), "snapshot", life)


def summary(
    asset: str, run: pl.DataFrame, features: pl.DataFrame, training: pl.DataFrame, quarantined: pl.DataFrame
) -> dict[str, Any]:
    """Return the summary of one bearing."""
    computed = features.filter(pl.col("asset") == asset, "h_valid").sort("event_timestamp")
    # A snapshot whose time another one has taken is in quarantine; the first of the two keeps the window.
    kept = run.unique("event_timestamp", keep="first", maintain_order=True)
    rms = kept.join(computed, on="event_timestamp", how="inner", maintain_order="left").select("snapshot", "h_rms_ac")
    return {
        "snapshots": run.height,
        "windows": computed.height,
        "conflicts": conflicts(asset, quarantined),
        "first_alarm_snapshot": first_alarm(rms),
        "rms_first_100_g": mean(rms["h_rms_ac"].head(100)),
        "rms_last_10_g": mean(rms["h_rms_ac"].tail(10)),
        "training_rows": training.filter(pl.col("asset") == asset).height,
    }


def split_summary(made: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of the training set with one bearing held out."""
    leakage = made["leakage"]
    return {
        "rows": made["rows"]["split"],
        "failing": {name: counts.get("true", 0) for name, counts in made["target"]["balance"].items()},
        "values_not_known_at_their_label": leakage["values_not_known_at_their_label"],
        "rows_shared_between_splits": sum(leakage["rows_that_share_a_feature_row_with_another_split"].values()),
        "suspects": [suspect["column"] for suspect in leakage["suspects"]],
        "verified": made["verified"],
    }


def conflicts(asset: str, quarantined: pl.DataFrame) -> int:
    """Return the number of snapshots in quarantine because an earlier one has the same time."""
    conflicting = pl.col("reason").str.contains("has different samples", literal=True)
    return quarantined.filter(conflicting, source=asset)["detail"].n_unique()  # file, row and time of the snapshot


def mean(values: pl.Series) -> float:
    """Return the mean, rounded for display."""
    return round(sum(values) / values.len(), 3)


def first_alarm(rms: pl.DataFrame, *, in_a_row: int = 10) -> int | None:
    """Return the first of ten successive snapshots whose trailing-5-median RMS exceeds twice the first 100's median."""
    limit = 2 * pl.col("h_rms_ac").head(100).median()
    above = rms.select("snapshot", above=(pl.col("h_rms_ac").rolling_median(5) > limit).fill_null(value=False))
    lasting = pl.col("above").cast(pl.Int32).reverse().rolling_sum(in_a_row).reverse() == in_a_row
    alarms = above.filter(lasting)["snapshot"]
    return int(alarms[0]) if alarms.len() else None


if __name__ == "__main__":
    main()
