"""The notebook examples/predict-failure on the FEMTO runs; it needs scikit-learn, which the extra `compare` brings."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
import pytest

from api.cli.commands import Commands
from tests.commands import as_in_a_process
from tests.story.in_process import InProcess

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict-failure"


@pytest.fixture
def femto(shared_data: Path, tmp_path: Path) -> Path:
    """Every 20th, 8th and 4th snapshot of the three runs, and the last two of each: the same steps in less time."""
    for name, step in (("Bearing1_1", 20), ("Bearing2_1", 8), ("Bearing2_7", 4)):
        run = pl.read_parquet(shared_data / "femto" / f"{name}_acc.parquet")
        kept = pl.col("file_no").is_in(run["file_no"].tail(2).implode()) | (pl.col("file_no") % step == 0)
        run.filter(kept).write_parquet(tmp_path / f"{name}_acc.parquet")
    return tmp_path


def test_from_a_list_of_failures_to_a_served_prediction(femto: Path) -> None:
    """The prediction online is that for the same row of the training set; the score of a bearing not seen is honest."""
    directory = femto / "plant"
    directory.mkdir()
    run = runpy.run_path(str(EXAMPLE / "run.py"))["run"]
    with as_in_a_process():
        found = run(femto, directory, lambda *given: InProcess(Commands(*given)))
    scores = found.pop("scores")
    assert found.pop("prediction_s") == found.pop("prediction_offline_s") < 7200
    assert found == {
        "feature_rows": 316,
        "rows": {"train": 201, "validation": 0, "test": 115},
        "verified": True,
        "columns": 44,
        "missing_today": ["OUTSIDE_MAX_AGE"],
    }
    assert {split: each["rows"] for split, each in scores.items()} == {"train": 201, "test": 115}
    assert scores["train"]["error_s"] < 600 < scores["test"]["error_s"] < 3600
    assert (directory / "remaining-life.png").stat().st_size > 5000
