"""`penstock diagnose` prints text or JSON, and draws its evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from historian.cli.main import app
from historian.stores.open import open_store
from historian.waveforms.batch import waveform_batch
from tests.commands import as_in_a_process, record_of
from tests.features.analysis.machines import LATER, machine, recorded


def test_prints_and_draws_what_it_found(tmp_path: Path) -> None:
    """Noise has no fault; the picture is where it is wanted, and JSON has everything that the text has."""
    plant = machine(tmp_path, 10_000)
    noise = recorded(np.random.default_rng(2).normal(size=50_000), 10_000)
    for page in noise.read_waveforms(["m1.de"], LATER.replace(hour=0), LATER):
        open_store(plant).write_waveforms(waveform_batch(page), source="test", now=LATER)
    command = ["diagnose", "m1", "--plant", str(tmp_path), "--at", LATER.isoformat()]
    record = record_of(*command, "--out", tmp_path / "m1.svg")
    assert (record["points"][0]["status"], record["points"][0]["windows"]) == ("none", 5)
    assert record["points"][0]["levels"].keys() == {"rms_ac", "peak", "crest", "kurtosis", "vel_rms_10_1000"}
    assert "<svg" in (tmp_path / "m1.svg").read_text(encoding="utf-8")
    with as_in_a_process():
        done = CliRunner().invoke(app, [*map(str, command)])
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert lines[0].startswith("m1 de: no confident fault (confidence")
    assert any(line.startswith("seen 5 windows of 1 s of m1.de, 2026-03-01 00:00:00 to 00:00:05") for line in lines)
    assert any(line.startswith("surer by a measured speed") for line in lines)
    assert lines[-1].startswith("zone ")
