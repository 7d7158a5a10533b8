"""`benchmarks/results.json`: the last value of each figure, with its target, the commit and the date of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.figure import Better, Figure
from benchmarks.figures import FIGURES

RESULTS: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """A measured figure."""

    name: str
    value: tuple[float, float]
    """The lowest and the highest of the runs; `make bench` makes one run, in which both are the same."""
    target: float | None
    unit: str
    better: Better
    commit: str
    """Of the code that was measured; until November 2026, of the page on which the value was published."""
    date: str
    """ISO 8601."""


def read_results(path: Path = RESULTS) -> dict[str, Result]:
    """Name of a figure -> its last result."""
    records = json.loads(path.read_text(encoding="utf-8"))
    return {record["name"]: Result(**{**record, "value": tuple(record["value"])}) for record in records}


def measured(figure: Figure, value: float, *, commit: str, date: str) -> Result:
    """The result of one run.

    Args:
        figure: what was measured.
        value: in the unit of the figure.
        commit: abbreviated hash of the code.
        date: of the run, ISO 8601.
    """
    return Result(figure.name, (value, value), figure.target, figure.unit, figure.better, commit, date)


def write_results(results: Mapping[str, Result], path: Path = RESULTS) -> None:
    """Write results in the order of `FIGURES`, those of figures that are no longer measured left out."""
    known = [results[figure.name] for figure in FIGURES if figure.name in results]
    lines = ",\n".join(json.dumps(asdict(result)) for result in known)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
