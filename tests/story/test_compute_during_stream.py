"""The bridge streams into the lake while another process computes from it, as in a plant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from api.cli.commands import Commands
from features.compute.run import compute
from features.tables.feature_table import KEY, FeatureTable
from historian.plant.load import load_plant
from historian.plant.plant import Plant, View
from historian.stores.open import open_store
from historian.stores.urls import lake_path
from historian.times import utc_now
from tests.story.in_process import InProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 12


def stored(plant: Plant, view: View) -> pl.DataFrame:
    """Every row ever appended, in order."""
    return FeatureTable(plant, view).scan().sort(*KEY, "created_timestamp").collect()


def newest(plant: Plant, view: View) -> pl.DataFrame:
    """The newest row of each window."""
    return stored(plant, view).unique(KEY, keep="last", maintain_order=True).drop("created_timestamp")


def test_computing_during_the_stream_leaves_what_computing_after_it_would(tmp_path: Path, warm: Path) -> None:
    """No window is missing or stored twice with the same values, and the online values are right."""
    penstock = InProcess(Commands(tmp_path, print, program=warm / "penstock"))
    with penstock.ready("simulate", "--plant-dir", ".", "--burst-every", "300ms"):
        file = tmp_path / "plant.toml"
        # Windows that overlap, and that a stream of seconds fills.
        file.write_text(file.read_text("utf-8").replace('"10m", hop = "1m"', '"4s", hop = "1s"'), "utf-8")
        penstock.run("apply")
        following = penstock.background("compute", "--follow", "--every", "200ms")
        with following as printed, penstock.background("stream"):
            rounds = [json.loads(printed.readline()) for _ in range(ROUNDS)]
    plant = load_plant(tmp_path)
    assert {record.get("view") for record in rounds} == set(plant.views), rounds

    penstock.run("compute")  # what came in after the last round
    assert penstock.run("compute")["feature_rows"] == 0
    penstock.run("materialize")
    assert penstock.run("verify-features", "--rows", "10000")["right"]

    store = open_store(plant)
    last_sample = store.latest(list(plant.tags))["timestamp"].max()
    undisturbed = replace(plant, state=tmp_path / "afterwards", store_url=lake_path(plant).as_uri())
    compute(undisturbed, store, utc_now)
    for view in plant.views.values():
        rows = stored(plant, view)
        assert_frame_equal(newest(plant, view), newest(undisturbed, view))
        assert not rows.drop("created_timestamp").is_duplicated().any()
        assert rows.filter(pl.col("created_timestamp") < last_sample).height > 2
