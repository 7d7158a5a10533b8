"""The memory of a command depends on its setting and its result, not on how long the plant has been running.

Each run is a process of its own. Of the two feature tables one is ten times as long as the other.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from benchmarks.memory import peak_bytes
from features.feast.registry.feast_repo import apply, open_feature_store
from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.cli.main import app
from historian.plant.load import load_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
CASE = Path(__file__).parents[1] / "cases" / "feast"
VIEW = "compressor_process"
ASSETS = [f"m{number:02}" for number in range(50)]
SHORT, LONG = 150_000, 1_500_000
CALL = "from tests.features.test_memory import {0}; {0}({1!r})"
MEBIBYTE = 2**20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def keys(first: int, until: int, *, apart: int = 1) -> pl.DataFrame:
    """(asset, event_timestamp) in order of time: each asset once, this many minutes apart."""
    number = pl.int_range(first, until, eager=True)
    minutes = (number // len(ASSETS)).cast(pl.Duration("us")) * 60_000_000 * apart
    return pl.DataFrame({"asset": pl.Series(ASSETS).gather(number % len(ASSETS)), "event_timestamp": START + minutes})


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    """Plants by how many rows of process features they have; in many files, as jobs append them."""
    roots = {}
    for rows in (SHORT, LONG):
        roots[rows] = root = tmp_path_factory.mktemp("plants") / "plant"
        shutil.copytree(CASE, root)
        with (root / "plant.toml").open("a") as file:
            file.writelines(f'\n[assets.{asset}]\nclass = "compressor"\n' for asset in ASSETS)
        plant = load_plant(root)
        apply(plant)
        FeatureTable(plant, plant.views[VIEW])
        schema = table_schema(plant, plant.views[VIEW])
        noise = pl.Series(np.random.default_rng(0).normal(size=SHORT))
        values = [noise.alias(name) for name, dtype in schema.items() if dtype == pl.Float64()]
        for first in range(0, rows, SHORT):
            part = keys(first, first + SHORT).with_columns(*values, created_timestamp="event_timestamp")
            absent = {name: pl.lit(None, dtype) for name, dtype in schema.items() if name not in part.columns}
            write_deltalake(table_path(plant, VIEW), part.with_columns(**absent).select(schema.names()), mode="append")
    return roots


def peak(python: Path, run: str, *arguments: str | int | Path) -> int:
    """The peak memory of a function of this module, in MiB."""
    call = [str(python), "-c", CALL.format(run, [*map(str, arguments)])]
    output = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(output.splitlines()[-1]) // MEBIBYTE


def command(arguments: list[str]) -> None:
    """`penstock …`"""
    app(arguments, standalone_mode=False)
    print(peak_bytes())


def test_materialize_takes_no_more_for_a_longer_history(plants: Mapping[int, Path], warm: Path) -> None:
    """Only the fifty newest rows are needed; all keys and times at once would take 140 MiB more."""
    peaks = [peak(warm / "python", "command", "materialize", "--plant", plants[rows]) for rows in (SHORT, LONG)]
    assert peaks[1] - peaks[0] < 80, peaks


def test_a_training_set_takes_no_more_for_a_longer_history(
    plants: Mapping[int, Path], warm: Path, tmp_path: Path
) -> None:
    """Labels are as many, spread over ten times the rows; all keys and times at once would take 140 MiB more."""
    peaks = []
    for rows in (SHORT, LONG):
        labels, out = tmp_path / f"{rows}.parquet", tmp_path / str(rows)
        keys(0, 10_000, apart=rows // 10_000).with_columns(target=pl.Series([0, 1] * 5_000)).write_parquet(labels)
        features = [option for name in ("mean", "max", "std") for option in ("-f", f"{VIEW}:oil_temp_{name}")]
        options = ["--target", "target", "--memory", "16MiB", *features]
        peaks.append(
            peak(warm / "python", "command", "training-set", labels, "--plant", plants[rows], "--out", out, *options)
        )
    assert peaks[1] - peaks[0] < 80, peaks


def test_batches_take_no_more_for_a_larger_answer(plants: Mapping[int, Path], warm: Path) -> None:
    """Into a file; ten times the labels add themselves, 40 MiB, where the whole answer at once adds 250 MiB."""
    peaks = [peak(warm / "python", "streamed", plants[LONG], labels) for labels in (75_000, 750_000)]
    assert peaks[1] - peaks[0] < 120, peaks


def streamed(arguments: list[str]) -> None:
    """A historical retrieval, batch by batch into a Parquet file."""
    root, labels = Path(arguments[0]), keys(0, int(arguments[1]))
    store = open_feature_store(load_plant(root))
    store.config.offline_store.memory_limit = 16 * MEBIBYTE
    refs = [f"{VIEW}:{feature.name}" for feature in store.get_feature_view(VIEW).features]
    reader = store.get_historical_features(labels, refs).to_reader()
    with pq.ParquetWriter(root / "set.parquet", reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    assert pq.read_metadata(root / "set.parquet").num_rows == labels.height
    print(peak_bytes())
