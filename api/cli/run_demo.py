"""The main job, end to end, as a user would type it: each step is a `penstock` command in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from api.cli.commands import Commands, Record, Say
from features.define.view_plan import view_plan
from features.tables.feature_table import table_path
from features.training.leakage import Claim, leaking_rows, rms_before
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.samples import empty_batch
from historian.stores.open import is_influx, open_store


def run_demo(directory: Path, *, stream_for: str, say: Say, afterwards: Callable[[Commands, Record], None]) -> Record:
    """Simulates a compressor and takes its data the whole way; returns the answer of `penstock demo` without `seconds`.

    Args:
        directory: an empty directory for the plant file, the history and the state.
        stream_for: how long to stream live, such as "10s".
        say: is told each command and what it led to.
        afterwards: called with the service still up and its READY record, before everything is stopped.
    """
    commands = Commands(directory, say)
    with ExitStack() as stack:
        simulate = ["simulate", "--plant-dir", ".", "--history", "2h", "--opcua-port", "0", "--modbus-port", "0"]
        stack.enter_context(commands.ready(*simulate))
        say("  one compressor with a growing bearing fault; two hours of vibration and process tags\n")
        plant = load_plant(directory)
        if is_influx(plant.store_url):
            commands.run("store", "init")
        result, told = _to_features(commands, stream_for)
        say(told)
        training = _training_set(commands, plant, result)
        served = stack.enter_context(commands.ready("serve", "--port", "0"))
        result["online"] = look_up(served["url"], asset="c101")
        say(_closing(training, result))
        afterwards(commands, served)
    return result


def _to_features(commands: Commands, stream_for: str) -> tuple[Record, str]:
    """From the historian and the PLCs to feature rows."""
    backfilled = commands.run("backfill")["samples_backfilled"]
    streamed = commands.run("stream", "--for", stream_for)["samples_streamed"]
    rows = commands.run("compute")["feature_rows"]
    counts = {"samples_backfilled": backfilled, "samples_streamed": streamed, "feature_rows": rows}
    return counts, (
        f"  {backfilled:,} samples of history and {streamed:,} live ones are in the store; "
        f"{rows:,} feature rows were computed from them\n"
    )


def _training_set(commands: Commands, plant: Plant, result: Record) -> pl.DataFrame:
    """From feature rows to a checked training set and the online store."""
    commands.run("apply")
    commands.run("materialize")
    exported = commands.run("training-set", "labels.csv", "--target", "severity", "--out", "training.parquet")
    result["training_rows"] = exported["training_rows"]
    training = pl.read_parquet(plant.root / "training.parquet")
    result["leakage_rows"] = count_leaks(plant, training)
    return training


def count_leaks(plant: Plant, training: pl.DataFrame) -> int:
    """Training rows that hold something from their future, by brute force over feature rows and raw samples."""
    claims = []
    for view in plant.views.values():
        columns = {f"{view.name}__{column.name}": column.name for column in view_plan(plant, view).columns}
        claims.append(Claim(pl.read_delta(str(table_path(plant, view.name))), columns, view.ttl))
    wrong = leaking_rows(training, claims)
    view = plant.views["compressor_vibration"]
    tag = plant.tag_of("c101", "de_h")
    assert tag is not None and tag.sample_rate is not None  # noqa: S101, PT018 - the demo's own plant file
    store = open_store(plant)
    claimed = training.select("event_timestamp", f"{view.name}__de_h_rms_ac").rows()
    fresh = view.ttl or timedelta(minutes=1)
    instants = [at for at, _ in claimed]
    # One read, for a store over the network answers many small ones slowly.
    samples = pl.concat([empty_batch(), *store.read([tag.name], min(instants) - fresh, max(instants))])
    for number, (at, value) in enumerate(claimed):
        recent = samples.filter(pl.col("timestamp") >= at - fresh)
        true = rms_before(recent, at, window=view.window, sample_rate=tag.sample_rate)
        if not _agree(true, value):
            wrong.add(number)
    return len(wrong)


def _agree(true: float | None, claimed: float | None) -> bool:
    if true is None or claimed is None:
        return true is claimed
    return math.isclose(true, claimed, rel_tol=1e-9)


def look_up(url: str, *, asset: str) -> Mapping[str, Any]:
    """The newest vibration features of an asset, over HTTP, in Feast's own request and response."""
    columns = ("de_h_rms_ac", "de_h_kurtosis", "de_v_rms_ac", "de_v_kurtosis")
    names = [f"compressor_vibration:{column}" for column in columns]
    body = {"features": names, "entities": {"asset": [asset]}}
    answer = httpx.post(f"{url}/get-online-features", json=body, timeout=30).raise_for_status().json()
    values = [result["values"][0] for result in answer["results"]]
    return dict(zip(answer["metadata"]["feature_names"], values, strict=True))


def _closing(training: pl.DataFrame, result: Record) -> str:
    known = training.sort("event_timestamp").rename(lambda name: name.removeprefix("compressor_vibration__"))
    known = known.drop_nulls(["de_h_rms_ac", "de_h_kurtosis"])
    rows = [known.row(0, named=True), known.row(-1, named=True)] if known.height else []
    online = result["online"]
    now = f"  now, online: {_state(online)}" if online["de_h_rms_ac"] is not None else "  now, online: expired"
    return "\n".join(
        [
            f"  {result['training_rows']} label rows became {result['training_rows']} training rows; "
            f"{result['leakage_rows']} of them hold anything from their future (checked by brute force)",
            *(f"  {row['event_timestamp']:%H:%M} fault severity {row['severity']:.2f}: {_state(row)}" for row in rows),
            now,
        ]
    )


def _state(row: Mapping[str, Any]) -> str:
    return f"drive-end RMS {row['de_h_rms_ac']:.2f} g, kurtosis {row['de_h_kurtosis']:.1f}"
