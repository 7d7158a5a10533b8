"""The columns of a training set that a model can take: numbers, apart from what only says how good a row is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from features.define.quality_columns import PROCESS, WAVEFORM
from features.define.view_plan import view_plan
from historian.errors import InvalidInput
from historian.plant.plant import Plant

_QUALITY: Final = {spec.name for spec in (*PROCESS, *WAVEFORM)}
"""Counts, coverage, resolution, validity and reason: they describe the samples, not the machine."""


def model_refs(plant: Plant, refs: Sequence[str]) -> list[str]:
    """Return those references whose features are numbers and no quality columns, in their order.

    Args:
        plant: Its views say what a feature is.
        refs: `view:feature`

    Raises:
        InvalidInput: none is left.
    """
    known = set(_numbers(plant))
    found = [ref for ref in refs if ref in known]
    if not found:
        raise InvalidInput(
            f"none of {', '.join(refs)} is a number that a model can take; name others, or leave out --model-columns"
        )
    return found


def _numbers(plant: Plant) -> Iterator[str]:
    for view in plant.views.values():
        for column in view_plan(plant, view).columns:
            if column.dtype.is_numeric() and column.spec.name not in _QUALITY:
                yield f"{view.name}:{column.name}"
