"""A train split in which a model can learn nothing is refused."""

from __future__ import annotations

import polars as pl
import pytest

from features.training.classes import check_train
from features.training.verdicts import one_class
from historian.errors import InvalidInput


def labels(target: list[object], split: list[str] | None = None) -> pl.DataFrame:
    """Labels, all but the last in train."""
    splits = split or [*["train"] * (len(target) - 1), "test"]
    return pl.DataFrame({"y": target, "split": splits})


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        ([False, False, True], "2 rows, and y is false in all of them"),
        ([0, 0, 1], "2 rows, and y is 0 in all of them"),
        ([False, None, True], "2 rows, and y is false in all of them"),
        ([None, None, True], "2 rows, and y is missing in all of them"),
        (["well", "well", "worn"], "2 rows, and y is well in all of them"),
    ],
)
def test_a_train_split_without_a_positive_is_refused(target: list[object], holds: str) -> None:
    """The message says what its rows hold, and how to go on."""
    with pytest.raises(InvalidInput, match=f"^the train split has {holds}: .* --accept-one-class$"):
        check_train(labels(target), "y")


@pytest.mark.parametrize("target", [[True, True, False], [False, True, False], [0.0, 0.0, 1.5], ["a", "b", "a"]])
def test_other_train_splits_are_accepted(target: list[object]) -> None:
    """All positive is a finding, and a quantity has no classes; without a train split there is nothing to learn."""
    check_train(labels(target), "y")
    check_train(labels([False, False], ["test", "test"]), "y")
    check_train(labels(target).drop("split"), "y")


def test_splits_of_one_class_are_findings() -> None:
    """Those of a quantity are none; an empty split is none either."""
    balance = {"train": {"false": 3, "true": 0}, "validation": {}, "test": {"false": 2, "true": 1, "missing": 1}}
    target = {"column": "y", "kind": "classes", "balance": balance}
    assert one_class(target) == ["y is only false in the train split"]
    assert one_class({**target, "balance": {"all": {"missing": 4}}}) == ["y is nothing in all rows"]
    assert one_class({**target, "kind": "quantity"}) == one_class({}) == []
