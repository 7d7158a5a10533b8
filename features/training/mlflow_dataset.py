"""A training set as an MLflow data set: the hash of its content and the schema of its columns, logged in a run.

MLflow is no dependency of Penstock, and its 3.x requires older libraries than the tests are pinned to. Where it is
installed, a run says which data its model was trained with. The tests use a stand-in with the few names that are used
here.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from features.training.artefact import MANIFEST, read_manifest
from features.training.signature import Signature
from historian.errors import NotOffered

_DIGEST: Final = 36
"""MLflow's limit of a digest's length."""


def log_training_set(path: Path, *, context: str = "training") -> None:
    """Log a training set as an input of the active MLflow run, and its manifest as an artefact of it.

    The data set's digest is the beginning of the content hash, its source the artefact's directory, and its schema that
    of the columns a model takes, in order; each may be missing.

    Args:
        path: A manifest or its directory.
        context: What the run uses the data for.

    Raises:
        NotOffered: MLflow is not installed.
        InvalidInput: there is no manifest.
    """
    manifest, directory = read_manifest(path)
    mlflow = _module("mlflow")
    place = directory.resolve()
    dataset = _module("mlflow.data.meta_dataset").MetaDataset(
        source=_module("mlflow.data.dataset_source_registry").resolve_dataset_source(str(place)),
        name=place.name,
        digest=manifest["content_hash"][:_DIGEST],
        schema=_schema(Signature.model_validate(manifest["signature"])),
    )
    mlflow.log_input(dataset, context=context)
    mlflow.log_artifact(str(directory / MANIFEST))


def _schema(signature: Signature) -> Any:
    types = _module("mlflow.types")
    return types.Schema([types.ColSpec(each.type, each.name, required=False) for each in signature.inputs])


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise NotOffered("MLflow is not installed here; pip install mlflow-skinny, or leave this step out") from None
