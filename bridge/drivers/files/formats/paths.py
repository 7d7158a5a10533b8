"""Addresses within MATLAB files: variables, fields of structs, cells, columns of matrices, parts of complex numbers.

    vib            a variable                          bearing.gs     a field of a struct
    vib[:,1]       the first column of a matrix        run{2}.de      the second cell, and a field in it
    shaft[3].x     the third struct of an array        F.real F.imag  parts of complex numbers

Numbers count from 1, as in MATLAB; parentheses do as brackets do.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.errors import SourceError

_STEP: Final = re.compile(r"\.(\w+)|\{(\d+)\}|[\[(]([\d:, ]+)[\])]")
_KEPT: Final = ("i1", "i2", "f4")
"""Kind and bytes of the numbers that keep their type; others become float64."""
PARTS: Final = ("real", "imag")


class Step(NamedTuple):
    """One step of a path: exactly one of the three."""

    field: str = ""
    cell: int = 0
    places: tuple[int | None, ...] = ()
    """Places counted from 1; None is a colon."""


class Path(NamedTuple):
    """An address, taken apart."""

    root: str
    """The variable."""
    steps: tuple[Step, ...]


def root_of(address: str) -> str:
    """Return the variable of an address."""
    return re.split(r"[.{\[(]", address, maxsplit=1)[0]


def path_of(address: str) -> Path:
    """Take an address apart. Raises `SourceError` for one that is no path."""
    root = root_of(address)
    steps, position = [], len(root)
    while position < len(address):
        found = _STEP.match(address, position)
        if found is None:
            raise SourceError(f"the address {address} is no path: write vib, bearing.gs, run{{2}}.de or vib[:,1]")
        field, cell, index = found.groups()
        places = tuple(None if each.strip() == ":" else int(each) for each in index.split(",")) if index else ()
        steps.append(Step(field or "", int(cell or 0), places))
        position = found.end()
    return Path(root, tuple(steps))


def indexed(array: npt.NDArray[Any], step: Step, address: str) -> npt.NDArray[Any]:
    """Return the elements of an array; the places of a vector may be given by one number."""
    try:
        if len(step.places) == 1:
            flat = array.ravel(order="F")
            return flat if step.places[0] is None else flat[[_place(step.places[0])]]
        return array[tuple(slice(None) if place is None else [_place(place)] for place in step.places)]
    except IndexError:
        raise SourceError(f"{address}: it is {size_of(array)}, so there is no such element") from None


def _place(number: int) -> int:
    if number < 1:
        raise IndexError
    return number - 1


def size_of(array: npt.NDArray[Any]) -> str:
    """Return the size in words, such as 3 x 2."""
    return " x ".join(map(str, array.shape))


def signal(array: npt.NDArray[Any], address: str) -> pl.Series:
    """Return a vector of numbers as a series.

    Raises:
        SourceError: it is a matrix, complex, or not numbers.
    """
    if array.dtype.kind == "c":
        raise SourceError(f"{address} holds complex numbers; choose a part, {address}.real or {address}.imag")
    if array.dtype.names:
        raise SourceError(f"{address} is a struct; choose a field, {address}.{array.dtype.names[0]} or the like")
    if array.dtype.kind == "O":
        raise SourceError(f"{address} is a cell array; choose a cell, {address}{{1}} or the like")
    if array.dtype.kind not in "iufb":
        raise SourceError(f"{address} holds no numbers")
    if sum(length > 1 for length in array.shape) > 1:
        raise SourceError(f"{address} is {size_of(array)}; an address must choose one column, such as {address}[:,1]")
    numbers = np.ravel(array)
    kept = numbers.dtype.newbyteorder("=") if numbers.dtype.kind + str(numbers.itemsize) in _KEPT else float
    return pl.Series(numbers.astype(kept))
