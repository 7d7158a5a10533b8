"""What a model in service gets: one call from a training set's signature to the same columns, looked up online.

A value is missing (null, NaN in NumPy and pandas) online exactly where it is missing in the training set: the asset has
no row of the view, the row is older than the ttl that the training set was made with, or the row has no value. It is
never 0, and never the last value that was known. The model, or the pipeline in front of it, decides what that means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from pydantic import ValidationError

from features.feast.feature_refs import column_of, meaning_of, views_of
from features.feast.online.lookup import response_by_ttls
from features.training.artefact import read_manifest
from features.training.signature import DTYPES, SIGNATURE_KEY, Input, Signature
from historian.errors import FeatureError, InvalidInput, UnknownFeature

_IPC: Final = {".arrow": pa.ipc.open_file, ".feather": pa.ipc.open_file, ".arrows": pa.ipc.open_stream}
Vector = GetOnlineFeaturesResponse.FeatureVector


@dataclass(frozen=True)
class ModelInput:
    """The columns of a training set for assets as they are now."""

    assets: tuple[str, ...]
    """The asset of each row."""
    frame: pl.DataFrame
    """[assets, columns] The columns of the training set in its order and types; null where a value is missing."""
    status: pl.DataFrame
    """[assets, columns] `PRESENT`, or why a value is missing: `NOT_FOUND`, `OUTSIDE_MAX_AGE` or `NULL_VALUE`."""


def read_signature(path: Path) -> Signature:
    """Return the signature of a training set.

    Args:
        path: A manifest, an artefact's directory, or a Parquet or Arrow file of rows.

    Raises:
        InvalidInput: there is none, or the file was not written by `penstock training-set`.
    """
    try:
        if path.suffix.lower() in (".parquet", *_IPC):
            return Signature.model_validate_json(_schema(path).metadata[SIGNATURE_KEY])
        return Signature.model_validate(read_manifest(path)[0]["signature"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValidationError) as error:
        raise InvalidInput(
            f"{path} has no signature of a training set ({error}); name a manifest, its directory, or a Parquet or "
            f"Arrow file that penstock training-set has written"
        ) from None


def model_input(store: FeatureStore, signature: Signature, assets: Sequence[str], *, now: datetime) -> ModelInput:
    """Look up the columns of a training set online.

    Args:
        store: Feast over the plant's repository.
        signature: See `read_signature`.
        assets: Names of assets; an unknown one has no values.
        now: The current time, with a zone, from which the age of a feature is counted.

    Returns:
        A row for each asset, in their order.

    Raises:
        UnknownFeature: a feature is no longer registered.
        FeatureError: a feature is computed by another definition, or in another unit, than when the set was made.
        StoreUnavailable: the online store cannot be read.
    """
    refs = _refs(signature)
    _check_meaning(store, signature, refs)
    answer = response_by_ttls(store, refs, assets, ttls=signature.ttl, now=now)
    vectors = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    found = [(each, vectors[column_of(_ref(each, refs))]) for each in signature.inputs]
    values = [pl.Series(each.name, _cells(each, vector, now), dtype=DTYPES[each.type]) for each, vector in found]
    status = {each.name: [_status(each, code) for code in vector.statuses] for each, vector in found}
    return ModelInput(tuple(assets), pl.DataFrame(values), pl.DataFrame(status, dict.fromkeys(status, pl.String)))


def _schema(path: Path) -> pa.Schema:
    if path.suffix.lower() == ".parquet":
        return pq.read_schema(path)
    with pa.OSFile(str(path)) as file:
        return _IPC[path.suffix.lower()](file).schema


def _refs(signature: Signature) -> list[str]:
    refs = [f"{each.view}:{each.feature}" for each in signature.inputs if each.feature]
    if not refs:
        raise InvalidInput(f"the signature names no feature: it has only {', '.join(signature.ttl) or 'no views'}")
    return refs


def _ref(column: Input, refs: Sequence[str]) -> str:
    """The feature whose row gives a column its value; for an age any of the view, as all of a row have one time."""
    return next(
        ref for ref in refs if ref.startswith(f"{column.view}:") and column.feature in ("", ref.partition(":")[2])
    )


def _check_meaning(store: FeatureStore, signature: Signature, refs: Sequence[str]) -> None:
    try:
        views = views_of(store, refs)
    except UnknownFeature as error:
        raise UnknownFeature(f"the training set has features that are not registered now: {error}") from None
    trained = {f"{each.view}:{each.feature}": each for each in signature.inputs if each.feature}
    problems = [text for ref, view in views.items() if (text := _difference(trained[ref], meaning_of(ref, view), ref))]
    if problems:
        advice = "the model would get other numbers than it was trained with: retrain it"
        raise FeatureError("\n".join([*problems, advice]))


def _difference(trained: Input, now: Mapping[str, str], ref: str) -> str:
    was = {"version": trained.version, "unit": trained.unit}
    pairs = [(key, old, now.get(key, "")) for key, old in was.items()]
    other = [f"{key} {new or 'none'} (was {old or 'none'})" for key, old, new in pairs if new != old]
    return f"{ref} has {', '.join(other)} now" if other else ""


def _cells(column: Input, vector: Vector, now: datetime) -> list[Any]:
    if not column.feature:
        return _ages(vector, now)
    kinds = [value.WhichOneof("val") for value in vector.values]
    return [getattr(value, kind) if kind else None for value, kind in zip(vector.values, kinds, strict=True)]


def _ages(vector: Vector, now: datetime) -> list[float | None]:
    known = (FieldStatus.PRESENT, FieldStatus.NULL_VALUE)
    both = zip(vector.event_timestamps, vector.statuses, strict=True)
    return [(now - at.ToDatetime(UTC)).total_seconds() if status in known else None for at, status in both]


def _status(column: Input, code: int) -> str:
    """The status of a value; a row without a value of a feature still has an age."""
    name = str(FieldStatus.Name(code))
    return "PRESENT" if not column.feature and name == "NULL_VALUE" else name
