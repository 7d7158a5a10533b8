"""Process tags with gaps: the SKAB water loop, from CSV files to a training set with anomaly labels.

    python examples/pump-loop/run.py --data DIRECTORY_OF_THE_SKAB_FILES

Shows the features of a window without data for part of its time: they are undefined, not guessed.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from api.cli.commands import Commands, Runner

HERE = Path(__file__).parent


def report(text: str) -> None:
    """Print progress to standard error; only the result is written to standard output."""
    print(text, file=sys.stderr)


def main() -> None:
    """Run the example in a temporary directory, unless `--dir` names one."""
    arguments = argparse.ArgumentParser(description="The SKAB water loop, from CSV files to a training set.")
    arguments.add_argument("--data", type=Path, required=True, help="directory of valve1_0.csv and the others")
    arguments.add_argument("--dir", type=Path, help="keep plant, state and training set in this directory")
    arguments.add_argument("--historian", help="url of an empty InfluxDB to keep the samples in")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = given.dir or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(given.data.resolve(), directory, given.historian), indent=2))


def run(
    skab: Path, directory: Path, historian: str | None, commands: Callable[..., Runner] = Commands
) -> dict[str, Any]:
    """Backfill, compute, label and export; return the effect of the gaps.

    Args:
        skab: directory of the data.
        directory: for plant, state and training set.
        historian: url of an empty InfluxDB; the lake if None.
        commands: makes what runs `penstock` from directory, report and environment.
    """
    shutil.copy(HERE / "plant.toml", directory)
    shutil.copy(HERE / "loop.csv", directory)
    recorded = pl.concat([pl.read_csv(path, separator=";") for path in sorted(skab.glob("valve1_*.csv"))])
    instants = pl.col("datetime").str.to_datetime(time_unit="us").dt.replace_time_zone("Europe/Moscow")
    recorded = recorded.select(event_timestamp=instants.dt.convert_time_zone("UTC"), anomaly="anomaly")
    recorded = recorded.sort("event_timestamp")
    # A label every half minute: was the valve closing just then?
    labels = recorded.gather_every(30).select("event_timestamp", pl.lit("loop").alias("asset"), "anomaly")
    labels.write_csv(directory / "labels.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")

    environment = {"SKAB_DIR": str(skab), **({"PENSTOCK_HISTORIAN": historian} if historian else {})}
    penstock = commands(directory, report, environment).run
    penstock("store", "init")
    backfilled = penstock("backfill")
    penstock("compute")
    penstock("apply")
    penstock("training-set", "labels.csv", "--target", "anomaly", "--out", "training.parquet")
    rows = pl.read_delta(str(directory / ".penstock" / "features" / "water_loop_process"))
    training = pl.read_parquet(directory / "training.parquet")
    steps = recorded["event_timestamp"].diff().dt.total_seconds()
    return {
        "samples": backfilled["samples_backfilled"],
        "holes": int((steps > 1).sum()),
        "longest_hole_s": steps.max(),
        "windows": rows.height,
        "undefined_windows": rows.filter(pl.col("current_mean").is_null()).height,
        "training_rows": training.height,
        "training_rows_without_features": training.filter(pl.col("water_loop_process__current_mean").is_null()).height,
        "anomalous_training_rows": training.filter(pl.col("anomaly") == 1).height,
    }


if __name__ == "__main__":
    main()
