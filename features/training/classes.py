"""Targets that take few values, and splits in which a model can learn nothing of them. Pure."""

from __future__ import annotations

from typing import Final

import polars as pl

from features.training.splits import SPLIT
from historian.errors import InvalidInput

_MOST_CLASSES: Final = 20


def is_classes(target: pl.Series) -> bool:
    """Return whether the target takes few values rather than being a quantity.

    Args:
        target: A label column.
    """
    return not target.dtype.is_float() and target.drop_nulls().n_unique() <= _MOST_CLASSES


def check_train(labels: pl.DataFrame, target: str) -> None:
    """Check that the train split, if there is one, has a positive label: one that is neither false nor 0.

    Words have no positive one: there the train split needs two different ones.

    Args:
        labels: The target, and perhaps `split`.
        target: The column to be predicted.

    Raises:
        InvalidInput: it has none.
    """
    if SPLIT not in labels.columns or not is_classes(labels[target]):
        return
    train = labels.filter(pl.col(SPLIT) == "train")[target]
    if not (train.is_empty() or _has_positive(train)):
        raise InvalidInput(_refusal(train))


def _refusal(train: pl.Series) -> str:
    found = train.drop_nulls().unique().to_list()
    holds = f"is {str(found[0]).lower()} in all of them" if found else "is missing in all of them"
    return (
        f"the train split has {train.len()} rows, and {train.name} {holds}: a model learns nothing from that. Choose "
        f"other --shares, --hold-out or --seed, or a longer horizon; or accept it with --accept-one-class"
    )


def _has_positive(target: pl.Series) -> bool:
    values = target.drop_nulls()
    if values.dtype == pl.Boolean() or values.dtype.is_numeric():
        return bool(values.cast(pl.Float64).ne(0).any())
    return values.n_unique() > 1
