"""The demo and the examples of the README, on the simulator and on real data."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from api.cli.commands import Commands
from api.cli.run_demo import run_demo
from tests.commands import as_in_a_process
from tests.servers import Server
from tests.story.in_process import InProcess

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_demo_runs_every_step_without_leakage() -> None:
    """One object has every step's count, and a leakage check that does not use the join."""
    command = [str(Path(sys.executable).with_name("penstock")), "demo", "--stream-for", "4s", "--json"]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert list(result) == [
        "samples_backfilled", "samples_streamed", "feature_rows", "training_rows", "leakage_rows", "online", "seconds",
    ]  # fmt: skip
    check_demo(result, bursts=720)


def test_the_demo_does_the_same_on_influxdb(
    tmp_path: Path, warm: Path, influx1_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples go to InfluxDB 1.6, a quarter of them; commands that end run in this process."""
    monkeypatch.setenv("PENSTOCK_HISTORIAN", f"influxdb://127.0.0.1:{influx1_server.port}/demo")
    runner = InProcess(Commands(tmp_path, print, program=warm / "penstock"))
    with as_in_a_process():
        result = run_demo(runner, tmp_path, stream_for="4s", report=print, history="30m")
    check_demo(result, bursts=180)
    assert not (tmp_path / ".penstock" / "lake").exists()


def check_demo(result: dict[str, Any], *, bursts: int) -> None:
    """Checks that every step of the demo ran, with any store and so many bursts of history."""
    assert result["samples_backfilled"] > bursts * 2 * 2560
    assert result["samples_streamed"] > 2 * 2560
    assert result["feature_rows"] > bursts
    assert (result["training_rows"], result["leakage_rows"]) == (43, 0)
    assert result["online"]["asset"] == "c101"
    assert result["online"]["de_h_rms_ac"] > 2  # the fault has grown; a sound bearing of this machine has 0.4 g


def test_the_bearing_rig_gives_the_same_on_influxdb(shared_data: Path, tmp_path: Path, influx1_server: Server) -> None:
    """It uses the first and the last snapshots of each bearing, as five million samples take the server a minute."""
    for name in ("Bearing1_1_acc.parquet", "Bearing2_1_acc.parquet"):
        run = pl.read_parquet(shared_data / "femto" / name)
        pl.concat([run.head(60), run.tail(20)]).write_parquet(tmp_path / name)
    in_the_lake = bearing_rig(tmp_path, tmp_path / "lake", None)
    assert in_the_lake["bearing1_1"]["windows"] == in_the_lake["bearing2_1"]["windows"] == 80
    url = f"influxdb://127.0.0.1:{influx1_server.port}/rig"
    assert bearing_rig(tmp_path, tmp_path / "influx", url) == in_the_lake


def bearing_rig(data: Path, directory: Path, historian: str | None) -> Any:
    """What the example finds in the data; its commands run in this process."""
    directory.mkdir()
    return example("bearing-rig")(data, directory, historian, lambda *given: InProcess(Commands(*given)))


def example(name: str) -> Callable[..., Any]:
    """The function that runs an example."""
    run: Callable[..., Any] = runpy.run_path(str(ROOT / "examples" / name / "run.py"))["run"]
    return run


def test_the_bearing_rig_finds_when_each_bearing_began_to_fail(shared_data: Path, tmp_path: Path) -> None:
    """On real data a conflict does not overwrite, and verification confirms that a bearing is held out."""
    result = bearing_rig(shared_data / "femto", tmp_path / "rig", None)
    assert result == {
        "bearing1_1": {
            "snapshots": 2803,
            "windows": 2802,
            "conflicts": 1,
            "first_alarm_snapshot": 2296,
            "rms_first_100_g": 0.482,
            "rms_last_10_g": 5.194,
            "training_rows": 2803,
        },
        "bearing2_1": {
            "snapshots": 911,
            "windows": 911,
            "conflicts": 0,
            "first_alarm_snapshot": 895,
            "rms_first_100_g": 0.452,
            "rms_last_10_g": 2.065,
            "training_rows": 911,
        },
        "failing_soon": {
            "rows": {"train": 2802, "validation": 0, "test": 911},
            "failing": {"train": 180, "test": 180},  # the last half hour of each, a snapshot every 10 s
            "values_not_known_at_their_label": 0,
            "rows_shared_between_splits": 0,
            "suspects": [],
            "verified": True,
        },
    }


def test_the_pump_loop_reports_windows_without_data(shared_data: Path, tmp_path: Path) -> None:
    """Windows over the recorder's gaps have no features; every label keeps its row."""
    result = example("pump-loop")(shared_data / "skab", tmp_path, None, lambda *given: InProcess(Commands(*given)))
    assert result == {
        "samples": 108_728,
        "holes": 627,
        "longest_hole_s": 76,
        "windows": 1438,
        "undefined_windows": 30,
        "training_rows": 454,
        "training_rows_without_features": 6,
        "anomalous_training_rows": 156,
    }
