"""Schemas of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ColSpec:
    """A column."""

    type: str
    name: str | None = None
    required: bool = True


class Schema(tuple[ColSpec, ...]):
    """Columns in order."""

    __slots__ = ()

    def __new__(cls, inputs: Sequence[ColSpec]) -> Schema:
        """Make it of a list, as MLflow does."""
        return super().__new__(cls, inputs)
