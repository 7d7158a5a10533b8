"""A training set is logged as an MLflow data set; tests/stand_ins/mlflow stands for MLflow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from features.training.artefact import write_artefact
from features.training.mlflow_dataset import log_training_set
from features.training.training_set import Made
from historian.errors import NotOffered


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """What is logged to the stand-in."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "stand_ins")
    yield import_module("mlflow").LOGGED
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        del sys.modules[name]


def test_hash_and_schema_are_logged_with_the_manifest(
    by_time: Made, tmp_path: Path, logged: list[tuple[Any, ...]]
) -> None:
    """The digest is the beginning of the content hash; columns are in the order of training and may be missing."""
    manifest = write_artefact(by_time, tmp_path / "set")
    log_training_set(tmp_path / "set", context="fit")
    (dataset, context), artefact = logged
    assert (dataset.name, dataset.source, context) == ("set", str(tmp_path / "set"), "fit")
    assert dataset.digest == manifest["content_hash"][:36]
    assert [(each.name, each.type, each.required) for each in dataset.schema] == [
        ("compressor_vibration__de_h_rms_ac", "double", False),
        ("compressor_process__oil_temp_mean", "double", False),
    ]
    assert artefact == (str(tmp_path / "set" / "manifest.json"),)


def test_without_mlflow_it_says_how_to_get_it(by_time: Made, tmp_path: Path) -> None:
    """Nothing is imported before it is needed."""
    write_artefact(by_time, tmp_path / "set")
    with pytest.raises(NotOffered, match="MLflow is not installed here; pip install mlflow-skinny"):
        log_training_set(tmp_path / "set")
