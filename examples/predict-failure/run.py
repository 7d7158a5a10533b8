"""From a list of failures to a served prediction on real run-to-failure data: the notebook next to this file.

    python examples/predict-failure/run.py --data DIRECTORY_OF_THE_FEMTO_FILES

Runs the code of `predict-failure.ipynb` without Jupyter, so that there is one text of it, and prints one JSON object.
Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from api.cli.commands import Commands, Runner

HERE = Path(__file__).parent
NOTEBOOK = HERE / "predict-failure.ipynb"


def report(text: str) -> None:
    """Print progress to standard error; only the result is written to standard output."""
    print(text, file=sys.stderr)


def main() -> None:
    """Run the example in a temporary directory, unless `--dir` names one."""
    arguments = argparse.ArgumentParser(description="Three FEMTO bearings, from their failures to a prediction.")
    arguments.add_argument(
        "--data", type=Path, required=True, help="directory of Bearing1_1_acc.parquet and the others"
    )
    arguments.add_argument("--dir", type=Path, help="keep plant, state, training set and plot in this directory")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = given.dir or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(given.data.resolve(), directory), indent=2))


def run(data: Path, directory: Path, commands: Callable[..., Runner] = Commands) -> dict[str, Any]:
    """Run the notebook's code; return what it found.

    Args:
        data: directory of the data.
        directory: for plant, state, training set and plot.
        commands: makes what runs `penstock` from directory, report and environment.
    """
    penstock = commands(directory, report, {"FEMTO_DIR": str(data)}).run
    names: dict[str, Any] = {"here": HERE, "directory": directory, "penstock": penstock}
    for number, source in code_cells():
        exec(compile(source, f"{NOTEBOOK.name} cell {number}", "exec"), names)  # noqa: S102 - the notebook is ours
    return {
        "feature_rows": names["computed"]["feature_rows"],
        "rows": names["made"]["rows"]["split"],
        "verified": names["made"]["verified"],
        "columns": len(names["columns"]),
        "scores": names["scores"],
        "missing_today": sorted(set(names["today"]["missing"].values())),
        "prediction_s": round(names["prediction_s"]),
        "prediction_offline_s": round(float(names["predicted"][names["rows"]["event_timestamp"] == names["last"]][0])),
    }


def code_cells() -> Iterator[tuple[int, str]]:
    """Yield number and source of each code cell, but for the one that is tagged as parameters."""
    for number, cell in enumerate(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            yield number, "".join(cell["source"])


if __name__ == "__main__":
    main()
