"""A backfill of one CSV file into the lake, against `polars.read_csv` and the lake's write of the same samples.

Five million samples: a row a sample of 50 tags, and a column a tag of 50 and of 600. Prints a JSON line for each. Run
it with `python -m benchmarks.backfill_files`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import polars as pl

from bridge.edge.database import Edge
from bridge.run.backfills import Wanted, run_backfills
from historian.plant.load import load_plant
from historian.samples import SampleBatch, newest_wins, sample_batch
from historian.stores.lake.store import LakeStore

_SAMPLES: Final = 5_000_000
_ROUNDS: Final = 3
_NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CASES: Final = (
    ("backfill_files_long", "long", 50),
    ("backfill_files_wide", "wide", 50),
    ("backfill_files_wide", "wide", 600),
)


def plant_with_file(directory: Path, layout: str, tags: int) -> SampleBatch:
    """Write a plant with one file, and return what is in it."""
    names, rows = [f"t{number:03}" for number in range(tags)], _SAMPLES // tags
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(tags))
    archive = (
        f'[archives.old]\ndriver = "files"\ntags = "tags.csv"\npath = "*.old"\nformat = "text"\nlayout = "{layout}"'
    )
    plant = f'[site]\nname = "x"\n[classes.c.points]\n{points}\n[assets.a]\nclass = "c"\n{archive}\n'
    (directory / "plant.toml").write_text(plant)
    listed = [f"{name},a,p{number},{name}" for number, name in enumerate(names)]
    (directory / "tags.csv").write_text("\n".join(["tag,asset,point,address", *listed, ""]))
    times = pl.Series(np.arange(rows) * 1_000_000).cast(pl.Duration("us")) + _START
    values = np.round(np.random.default_rng(1).normal(60, 5, (rows, tags)), 3)
    wide = pl.DataFrame({"timestamp": times, **{name: values[:, place] for place, name in enumerate(names)}})
    long = wide.unpivot(index="timestamp", variable_name="tag")
    text = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table = wide if layout == "wide" else long.sort("timestamp")
    table.with_columns(text).write_csv(directory / "a.old")
    constant = {"text": pl.lit(None, pl.String), "quality": pl.lit(0, pl.UInt32)}
    return sample_batch(newest_wins(long.select("tag", "timestamp", "value", **constant)))


def read_and_write(directory: Path, batch: SampleBatch) -> None:
    """Read the file with Polars, and write the same samples."""
    pl.read_csv(directory / "a.old")
    with TemporaryDirectory() as lake:
        LakeStore(Path(lake)).write(batch, source="old", now=_NOW)


def backfill(directory: Path) -> None:
    """Backfill the file into an empty lake."""
    plant = load_plant(directory / "plant.toml")
    with TemporaryDirectory() as state, closing(Edge(Path(state) / "edge.db")) as edge:
        done = asyncio.run(
            run_backfills(
                list(plant.archives.values()),
                edge,
                LakeStore(Path(state) / "lake"),
                wanted=Wanted(),
                dry_run=False,
                progress=lambda _, __: nullcontext(lambda _: None),
            )
        )
    assert done["old"].failure == ""


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Return the time of some work, and its CPU time."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def measure(name: str, layout: str, tags: int) -> None:
    """Print the median ratio of the rates."""
    with TemporaryDirectory() as temporary:
        directory = Path(temporary)
        batch = plant_with_file(directory, layout, tags)
        rounds = [
            (seconds(lambda: read_and_write(directory, batch)), seconds(lambda: backfill(directory)))
            for _ in range(_ROUNDS)
        ]
    found = {
        "ratio": median(theirs[0] / ours[0] for theirs, ours in rounds),
        "cpu_ratio": median(theirs[1] / ours[1] for theirs, ours in rounds),
        "seconds": median(ours[0] for _, ours in rounds),
    }
    rounded = {key: round(value, 2) for key, value in found.items()}
    print(json.dumps({"name": name, "tags": tags, "samples": batch.height, **rounded}), flush=True)


if __name__ == "__main__":
    for each in _CASES:
        measure(*each)
