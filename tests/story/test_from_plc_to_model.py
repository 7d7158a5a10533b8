"""The whole path from PLC to model, with commands and HTTP alone; then the same numbers computed by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy import stats

from api.cli.commands import Commands
from features.tables.feature_table import table_path
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.waveforms.encoding import decode
from tests.story.in_process import InProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def store_samples(penstock: InProcess) -> None:
    """Backfill the archives, then stream from the PLCs."""
    # Years of history come first; here it is twenty minutes in three files of three layouts, with defects.
    would = penstock.run("backfill", "--dry-run")
    assert (would["samples_backfilled"], set(would["archives"])) == (0, {"vibration", "slow", "pressure"})
    backfilled = penstock.run("backfill")
    # 120 bursts of two points, and the process tags.
    assert backfilled["samples_backfilled"] > 2 * 120 * 2560
    # The one impossible temperature was kept out, with its reason.
    assert backfilled["quarantined"] == 1
    assert "outside" in json.dumps(penstock.run("quarantine")["reasons"])
    # A second backfill costs nothing: covered time is not read again.
    assert penstock.run("backfill")["samples_backfilled"] == 0

    # Then the PLCs, live: OPC UA waveforms and Modbus registers.
    streamed = penstock.run("stream", "--for", "5s")
    assert set(streamed["sources"]) == {"line1", "plc"}
    assert streamed["samples_streamed"] == streamed["samples_stored"] > 2 * 2560


def served_values(url: str, *features: str) -> dict[str, Any]:
    """The asset and its newest features, looked up over HTTP as a model does."""
    body = {"features": [f"compressor_vibration:{name}" for name in features], "entities": {"asset": ["c101"]}}
    response = httpx.post(f"{url}/get-online-features", json=body, timeout=60).raise_for_status().json()
    found = zip(response["metadata"]["feature_names"], response["results"], strict=True)
    return {name: result["values"][0] for name, result in found}


def samples_of_newest_window(plant: Plant) -> npt.NDArray[np.float64]:
    """The raw samples of the newest valid window of the drive end, read from the store."""
    rows = pl.read_delta(str(table_path(plant, "compressor_vibration"))).filter("de_h_valid")
    end = rows.sort("event_timestamp", "created_timestamp")["event_timestamp"].to_list()[-1]
    pages = open_store(plant).read_waveforms(["c101.de_h"], end - timedelta(milliseconds=100), end)
    return decode(pl.concat(pages)).values


def test_a_sample_travels_from_the_plc_to_a_training_set_and_an_online_lookup(tmp_path: Path, warm: Path) -> None:
    """Backfill, stream, compute, register, materialise, label, look up: and the served value is the true one."""
    penstock = InProcess(Commands(tmp_path, print, program=warm / "penstock"))
    simulate = ["simulate", "--plant-dir", ".", "--history", "20m", "--opcua-port", "0", "--modbus-port", "0"]
    with penstock.ready(*simulate):
        # OT describes the plant, and learns at once whether the description can work.
        assert penstock.run("check")["tags"] == 6
        plant = load_plant(tmp_path)

        store_samples(penstock)

        # Everything that changed becomes feature rows; nothing changed, nothing new.
        assert penstock.run("compute")["feature_rows"] > 120
        assert penstock.run("compute")["feature_rows"] == 0

        # Data science registers the features, makes them servable and joins them with labels.
        penstock.run("apply")
        penstock.run("materialize")
        exported = penstock.run("training-set", "labels.csv", "--target", "severity", "--out", "training.parquet")

    labels = pl.read_csv(tmp_path / "labels.csv", try_parse_dates=True)
    training = pl.read_parquet(tmp_path / "training.parquet")
    assert exported["training_rows"] == training.height == labels.height
    assert training["severity"].to_list() == labels["severity"].to_list()

    with penstock.ready("serve", "--port", "0") as served:
        online = served_values(served["url"], "de_h_rms_ac", "de_h_kurtosis")

    # By hand: the newest window's raw samples, and scipy.
    samples = samples_of_newest_window(plant)
    assert samples.size == 2560
    assert online["asset"] == "c101"
    assert online["de_h_rms_ac"] == pytest.approx(np.std(samples), rel=1e-9)
    assert online["de_h_kurtosis"] == pytest.approx(stats.kurtosis(samples, fisher=False), rel=1e-9)
