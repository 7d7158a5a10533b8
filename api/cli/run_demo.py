"""The demo, end to end, as a user would type it: each step is a `penstock` command in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from api.cli.commands import Record, Report, Runner
from features.define.view_plan import view_plan
from features.tables.feature_table import table_path
from features.training.leakage import Claim, leaking_rows, rms_before
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.stores.urls import is_influx
from historian.waveforms.batch import empty_waveforms
from historian.waveforms.packing import unpack


def run_demo(
    runner: Runner,
    directory: Path,
    *,
    stream_for: str,
    report: Report,
    history: str = "2h",
    while_serving: Callable[[Record], None] = lambda _: None,
) -> Record:
    """Simulate a compressor and take its data from the PLCs to a training set and an online lookup.

    Args:
        runner: runs the commands in `directory`.
        directory: an empty directory for the plant file, the history and the state.
        stream_for: how long to stream live, such as "10s".
        report: called with the outcome of each command.
        history: how much history the simulator writes, such as "2h".
        while_serving: called with the record of `penstock serve`, before everything is stopped.

    Returns:
        The record of `penstock demo` without `seconds`.
    """
    with ExitStack() as stack:
        simulate = ["simulate", "--plant-dir", ".", "--history", history, "--opcua-port", "0", "--modbus-port", "0"]
        stack.enter_context(runner.ready(*simulate))
        report(f"  one compressor with a growing bearing fault; {history} of vibration and process tags\n")
        plant = load_plant(directory)
        if is_influx(plant.store_url):
            runner.run("store", "init")
        result = _compute_features(runner, stream_for)
        report(_features_text(result))
        training = _make_training_set(runner, plant, result)
        served = stack.enter_context(runner.ready("serve", "--port", "0"))
        result["online"] = look_up(served["url"], asset="c101")
        report(_closing_text(training, result))
        while_serving(served)
    return result


def _compute_features(runner: Runner, stream_for: str) -> Record:
    """Run the commands from the historian and the PLCs to feature rows."""
    backfilled = runner.run("backfill")["samples_backfilled"]
    streamed = runner.run("stream", "--for", stream_for)["samples_streamed"]
    rows = runner.run("compute")["feature_rows"]
    return {"samples_backfilled": backfilled, "samples_streamed": streamed, "feature_rows": rows}


def _features_text(result: Record) -> str:
    return (
        f"  {result['samples_backfilled']:,} samples of history and {result['samples_streamed']:,} live ones are in "
        f"the store; {result['feature_rows']:,} feature rows were computed from them\n"
    )


def _make_training_set(runner: Runner, plant: Plant, result: Record) -> pl.DataFrame:
    """Run the commands from feature rows to a checked training set and the online store."""
    runner.run("apply")
    runner.run("materialize")
    exported = runner.run("training-set", "labels.csv", "--target", "severity", "--out", "training.parquet")
    result["training_rows"] = exported["training_rows"]
    training = pl.read_parquet(plant.root / "training.parquet")
    result["leakage_rows"] = count_leaks(plant, training)
    return training


def count_leaks(plant: Plant, training: pl.DataFrame) -> int:
    """Count the training rows that contain data from their future, by brute force over feature rows and samples.

    Args:
        plant: the plant of the demo.
        training: columns `event_timestamp` and `view__feature`, one row per label.
    """
    claims = []
    for view in plant.views.values():
        columns = {f"{view.name}__{column.name}": column.name for column in view_plan(plant, view).columns}
        claims.append(Claim(pl.read_delta(str(table_path(plant, view.name))), columns, view.ttl))
    return len(leaking_rows(training, claims) | _rows_with_wrong_rms(plant, training))


def _rows_with_wrong_rms(plant: Plant, training: pl.DataFrame) -> set[int]:
    """Return the numbers of the rows whose RMS is not that of the samples before their time."""
    view = plant.views["compressor_vibration"]
    tag = plant.tag_of("c101", "de_h")
    assert tag is not None and tag.sample_rate is not None  # noqa: S101, PT018 - the demo's own plant file
    store = open_store(plant)
    claimed = training.select("event_timestamp", f"{view.name}__de_h_rms_ac").rows()
    fresh = view.ttl or timedelta(minutes=1)
    instants = [at for at, _ in claimed]
    # One read: many small ones would take long over a network.
    pages = store.read_waveforms([tag.name], min(instants) - fresh, max(instants))
    samples = unpack(pl.concat([empty_waveforms(), *pages]))
    wrong = set()
    for number, (at, value) in enumerate(claimed):
        recent = samples.filter(pl.col("timestamp") >= at - fresh)
        true = rms_before(recent, at, window=view.window, sample_rate=tag.sample_rate)
        if not _agree(true, value):
            wrong.add(number)
    return wrong


def _agree(true: float | None, claimed: float | None) -> bool:
    if true is None or claimed is None:
        return true is claimed
    return math.isclose(true, claimed, rel_tol=1e-9)


def look_up(url: str, *, asset: str) -> Mapping[str, Any]:
    """Look up the newest vibration features of an asset over HTTP, in Feast's own protocol.

    Args:
        url: url of the server, without a path.
        asset: name of the asset.

    Returns:
        Name of each feature -> its value, or None if it is missing or expired; and `asset`.
    """
    columns = ("de_h_rms_ac", "de_h_kurtosis", "de_v_rms_ac", "de_v_kurtosis")
    names = [f"compressor_vibration:{column}" for column in columns]
    body = {"features": names, "entities": {"asset": [asset]}}
    response = httpx.post(f"{url}/get-online-features", json=body, timeout=120).raise_for_status().json()
    values = [result["values"][0] for result in response["results"]]
    return dict(zip(response["metadata"]["feature_names"], values, strict=True))


def _closing_text(training: pl.DataFrame, result: Record) -> str:
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
