"""The bearing diagnosis example on real records with known faults."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "examples" / "bearing-diagnosis" / "run.py"


def printed(*options: str | Path) -> str:
    """The output of the example."""
    command = [sys.executable, "-W", "error", RUN, *options]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, text=True, timeout=90).stdout


@pytest.fixture(scope="module")
def verdicts(shared_data: Path) -> list[dict[str, Any]]:
    """The verdicts of the example."""
    verdicts: list[dict[str, Any]] = json.loads(printed("--data", shared_data, "--json"))
    return verdicts


def test_names_every_fault_that_can_be_seen_and_no_other(verdicts: list[dict[str, Any]]) -> None:
    """It names races in ten records, and nothing for the healthy bearing and two ball faults that do not show."""
    fault = {Path(one["file"]).stem: one["verdict"] for one in verdicts}
    none, inner, outer = "no confident fault", "inner race", "outer race"
    assert fault == {
        "97_Normal_0": none,
        "12k_DE_IR007_105_0": inner,
        "12k_DE_IR007_108_3": inner,
        "12k_DE_IR021_209_0": inner,
        "48k_DE_IR007_109_0": inner,
        "12k_DE_OR007@6_130_0": outer,
        "12k_DE_OR021@6_234_0": outer,
        "12k_DE_B007_118_0": none,
        "12k_DE_B014_185_0": none,
        "InnerRaceFault_vload_1": inner,
        "InnerRaceFault_vload_3": inner,
        "OuterRaceFault_vload_1": outer,
        "OuterRaceFault_vload_4": outer,
    }
    assert [one["outcome"] for one in verdicts].count("right") == 11
    assert [one["outcome"] for one in verdicts].count("missed") == 2


def test_finds_the_lines_where_they_were_published(verdicts: list[dict[str, Any]]) -> None:
    """Within 0.1 % of the frequencies known of the long records, and 1.5 % of those expected."""
    named = {Path(one["file"]).stem: one for one in verdicts if one["verdict"] != "no confident fault"}
    known = {
        "12k_DE_IR007_105_0": 161.70,
        "12k_DE_IR007_108_3": 154.93,
        "12k_DE_IR021_209_0": 161.82,
        "48k_DE_IR007_109_0": 161.75,
        "12k_DE_OR007@6_130_0": 107.61,
        "12k_DE_OR021@6_234_0": 107.53,
    }
    assert {name: named[name]["found_hz"] for name in known} == pytest.approx(known, rel=1e-3)
    assert all(one["found_hz"] == pytest.approx(one["expected_hz"], rel=0.015) for one in named.values())
    assert min(one["snr"] for one in named.values()) > 7


def test_ignores_an_impossible_cage_frequency(verdicts: list[dict[str, Any]]) -> None:
    """MFPT's stored FTF is its complement; the verdicts use the geometry."""
    refused = {one["file"].split("/")[0]: one["refused_metadata"] for one in verdicts}
    assert refused["cwru"] == []
    assert refused["mfpt"] == ["FTF is 0.5935 x shaft but must be BPFO / rolling elements = 0.4056"]


def test_prints_a_table(shared_data: Path) -> None:
    """Each record has a line; ignored metadata are listed below."""
    lines = printed("--data", shared_data).splitlines()
    assert len(lines) == 1 + 13 + 1 + 1
    assert (
        " ".join(lines[2].split()) == "cwru/12k_DE_IR007_105_0.mat inner race inner race right 161.68 162.19 53.4 1.05"
    )
    assert lines[-1].startswith("Not believed: FTF is 0.5935 x shaft")


def test_a_record_without_a_line_has_dashes_in_the_table() -> None:
    """A line that was not found has no numbers."""
    names = ("found_hz", "expected_hz", "snr", "depth")
    one = {"file": "short.mat", "truth": "no fault", "verdict": "no confident fault", "outcome": "right"}
    table = runpy.run_path(str(RUN))["table"]
    record = table([{**one, **dict.fromkeys(names), "refused_metadata": []}]).splitlines()[1]
    assert record.split()[-5:] == ["right", "-", "-", "-", "-"]
