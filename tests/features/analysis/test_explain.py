"""`penstock explain` walks from a value to its samples, source, facts and versions, and computes it again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from features.analysis.explain import explanation
from historian.cli.main import app
from historian.errors import InvalidInput, UnknownFeature
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.samples import SCHEMA, normalise
from historian.stores.open import open_store
from historian.waveforms.batch import waveform_batch
from tests.commands import as_in_a_process, record_of
from tests.features.analysis.machines import CWRU, LATER, T0, machine, recorded

HEAT = """
[classes.motor.features.heat]
window = "10s"
points = ["oil"]
"""


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Three seconds of noise and of an oil temperature, and their features."""
    plant = machine(tmp_path_factory.mktemp("explain"), 4_000, sections=HEAT, groups='"time", "envelope"')
    noise, store = recorded(np.random.default_rng(3).normal(size=12_000), 4_000), open_store(plant)
    for page in noise.read_waveforms(["m1.de"], T0, LATER):
        store.write_waveforms(waveform_batch(page), source="files", now=LATER)
    times = [T0 + timedelta(seconds=second) for second in (0, 4, 9, 12)]
    rows = pl.DataFrame({"tag": "m1.oil", "timestamp": times, "value": [50.0, 51.0, 52.0, 53.0]})
    absent = {"text": pl.lit(None, pl.String), "quality": pl.lit(0, pl.UInt32)}
    complete = rows.with_columns(pl.col("timestamp").cast(SCHEMA["timestamp"]), **absent)
    store.write(normalise(complete).batch, source="files", now=LATER)
    record_of("compute", "--plant", plant.root)
    return load_plant(plant.root)


def explained(plant: Plant, ref: str, **later: float) -> dict[str, Any]:
    """What is said of the newest value by a time after T0."""
    return explanation(plant, open_store(plant), ref, "m1", T0 + timedelta(**later), now=LATER)


def test_a_value_is_followed_to_its_waveform_and_facts(computed: Plant) -> None:
    """The second of three windows, of which four thousand samples of one stretch are in the store."""
    found = explained(computed, "motor_shocks:de_rms_ac", seconds=2.5)
    assert (found["window"]["start"], found["window"]["end"]) == (T0 + timedelta(seconds=1), T0 + timedelta(seconds=2))
    assert found["feature"]["value"] == pytest.approx(1, rel=0.05)
    assert found["feature"]["formula"] == "sqrt(Σc²/N)"
    assert (found["samples"]["count"], found["samples"]["stretches"][0]["quality"]) == (4000, "Good")
    assert (found["writes"][0]["source"], found["writes"][0]["rows"]) == ("files", 12_000)
    assert found["tag"]["from"] == [
        {"section": "archive", "name": "files", "driver": "bridge.drivers.files.options", "address": "de"}
    ]
    assert found["facts"]["bearing"]["balls"] == 9
    assert found["facts"]["fault_orders"]["bpfo"] == pytest.approx(3.5848, abs=1e-4)
    assert (found["facts"]["speed_rpm"], found["facts"]["zones"]["machine"]) == (1797, "group 2, rigid support")
    assert (found["versions"]["feature_then"], found["versions"]["stale"]) == (1, False)
    assert found["again"] == {"value": pytest.approx(found["feature"]["value"]), "same": True, "why": ""}


def test_a_process_value_is_followed_to_its_samples(computed: Plant) -> None:
    """Three samples lie in the window."""
    found = explained(computed, "motor_heat:oil_mean", seconds=10)
    assert (found["samples"]["count"], found["samples"]["qualities"]) == (3, {"Good": 3})
    assert found["samples"]["last"] == T0 + timedelta(seconds=9)
    assert (found["tag"]["name"], found["facts"]["bearing"], found["again"]["same"]) == ("m1.oil", None, True)


def test_a_missing_value_is_explained_by_its_reason(computed: Plant) -> None:
    """At 4 kHz the demodulated band is too narrow for twice the frequency of the inner race."""
    found = explained(computed, "motor_shocks:de_ses_bpfi_snr", seconds=3)["feature"]
    assert (found["value"], set(found["reasons_of_row"])) == (None, {"resolution"})


def test_a_changed_bearing_shows_as_stale(computed: Plant) -> None:
    """The row was computed by facts that hold no more, and its level is the same all the same."""
    text = (computed.root / "plant.toml").read_text(encoding="utf-8")
    try:
        (computed.root / "plant.toml").write_text(text.replace(CWRU, CWRU.replace("balls = 9", "balls = 8")))
        found = explained(load_plant(computed.root), "motor_shocks:de_rms_ac", seconds=2)
    finally:
        (computed.root / "plant.toml").write_text(text, encoding="utf-8")
    assert found["facts"]["bearing"]["balls"] == 8
    assert (found["versions"]["same_facts_now"], found["versions"]["stale"]) == (False, True)
    assert found["again"]["same"]


def test_prints_the_same_as_text(computed: Plant) -> None:
    """A block for each section, in the order of the walk."""
    with as_in_a_process():
        command = ["explain", "motor_shocks:de_rms_ac", "m1", "--plant", str(computed.root), "--at", LATER.isoformat()]
        done = CliRunner().invoke(app, command)
    sections = [line.split()[0] for line in done.output.splitlines() if not line.startswith(" ")]
    assert sections == ["feature", "row", "window", "samples", "writes", "tag", "facts", "versions", "again"]
    assert "formula: sqrt(Σc²/N)" in done.output


@pytest.mark.parametrize(
    ("ref", "asset", "error", "words"),
    [
        ("motor_shock:de_rms_ac", "m1", UnknownFeature, "no view 'motor_shock'; did you mean motor_shocks"),
        (
            "motor_shocks:de_rms",
            "m1",
            UnknownFeature,
            "motor_shocks has no column 'de_rms'; did you mean de_rpm, de_rms_ac",
        ),
        ("motor_shocks:de_rms_ac", "m9", InvalidInput, "motor_shocks has no asset 'm9'"),
        ("motor_shocks:de_rms_ac", "m1", InvalidInput, "m1 has no row of motor_shocks whose window ends by 2026-02-28"),
    ],
)
def test_what_cannot_be_explained_is_an_error(
    computed: Plant, ref: str, asset: str, error: type[Exception], words: str
) -> None:
    """It names what is unknown, and what comes close to it."""
    with pytest.raises(error, match=words):
        explanation(computed, open_store(computed), ref, asset, T0 - timedelta(hours=1), now=LATER)
