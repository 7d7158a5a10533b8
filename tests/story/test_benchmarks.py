"""The figures of docs/benchmarks.md: named, measured by a script that exists, and recorded with commit and date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import results_in
from benchmarks.figures import FIGURES, SCRIPTS
from benchmarks.page import benchmarks_page
from benchmarks.results import Result, measured, read_results, write_results

ROOT = Path(__file__).parents[2]
NAMES = [figure.name for figure in FIGURES]


def test_every_figure_is_listed_with_the_script_that_measures_it() -> None:
    """No script is run or imported."""
    command = [sys.executable, "-m", "benchmarks", "--list"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in listed] == NAMES
    assert len(set(NAMES)) == len(NAMES)


def test_every_script_can_be_run_and_prints_the_expected_lines() -> None:
    """The module has a main part, and the name of each line occurs in its text."""
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
    runnable = {name for name, text in scripts.items() if '__name__ == "__main__"' in text} - {"__main__"}
    assert runnable == SCRIPTS.keys()
    for figure in FIGURES:
        # The name of a DuckDB figure is put together from its case and a suffix.
        stem, _, suffix = (figure.line or figure.name).partition("_memory_vs_")
        parts = [stem.removesuffix("_vs_duckdb"), *([f"_memory_vs_{suffix}"] if suffix else [])]
        assert [part for part in parts if part not in scripts[figure.script]] == []


def test_an_unknown_script_is_an_error() -> None:
    """The error lists the scripts."""
    command = [sys.executable, "-m", "benchmarks", "feature"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("there is no benchmark feature; known: channels, ")


def test_the_lines_of_a_script_become_results() -> None:
    """Results are found by name and by the rest of the line; one line may have several figures."""
    line = {"name": "feature_job_vs_kernels", "ratio": 0.3, "samples": 16_000_000}
    assert [(found.name, found.value) for found in results_in("jobs", line)] == [
        ("feature_job_vs_kernels_16m", (0.3, 0.3))
    ]
    line = {"name": "follow_latency", "ratio": 1.6, "p50": 0.8, "p99": 1.25, "rows": 900}
    assert {found.name: found.value[0] for found in results_in("jobs", line)} == {
        "follow_latency": 1.6,
        "follow_latency_p50": 0.8,
        "follow_latency_p99": 1.25,
    }
    assert list(results_in("features", line)) == []


def test_every_figure_has_a_result_and_the_target_of_today() -> None:
    """Each has the commit and the date of its run."""
    results = read_results()
    assert list(results) == NAMES
    for figure in FIGURES:
        found = results[figure.name]
        assert (found.target, found.unit, found.better) == (figure.target, figure.unit, figure.better)
        assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", found.commit)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.date)
        assert found.value[0] <= found.value[1]


def test_results_are_kept_from_run_to_run(tmp_path: Path) -> None:
    """A run replaces only what it has measured; figures that are no longer measured are dropped."""
    first, second = FIGURES[0], FIGURES[1]
    gone = Result("gone", (1, 1), None, "s", "lower", "0000000", "2026-01-01")
    old = {figure.name: measured(figure, 1.5, commit="0000000", date="2026-01-01") for figure in (first, second)}
    new = measured(second, 2, commit="1111111", date="2026-02-01")
    write_results({**old, second.name: new, "gone": gone}, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == {first.name: old[first.name], second.name: new}


def test_the_page_shows_value_and_target() -> None:
    """One run has a number, several have a range, and none a dash."""
    page = benchmarks_page({"follow_latency_p99": Result("", (1.0, 1.75), 2, "s", "lower", "abc1234", "2026-02-01")})
    assert (
        "| `follow_latency_p99` | the same: 99th percentile | – | 1 to 1.75 s | at most 2 s | abc1234, 2026-02-01 |"
        in page
    )
    assert (
        "| `serialise_vs_point` | the same | `influxdb-client`, one `Point` per sample | – | at least 20 | – |" in page
    )
    assert "{{" not in page
