"""One value of a node as asyncua decodes it: a number, an array of numbers, text, or something made of these. Pure."""

from __future__ import annotations

from dataclasses import is_dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

NUMBERS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("i1"),
    3: np.dtype("u1"),
    4: np.dtype("<i2"),
    5: np.dtype("<u2"),
    6: np.dtype("<i4"),
    7: np.dtype("<u4"),
    8: np.dtype("<i8"),
    9: np.dtype("<u8"),
    10: np.dtype("<f4"),
    11: np.dtype("<f8"),
}
"""Number of a built-in type (OPC UA Part 6, 5.1.2) -> its bytes, of those that a waveform may have."""


_WORDS: Final = (ua.LocalizedText, ua.QualifiedName, ua.NodeId, ua.StatusCode, ua.DateTime, ua.ExtensionObject)
"""Classes of asyncua that are one thing, although they have fields."""
EXACT: Final = 2**53
"""Largest integer up to which float64 holds every one."""


class Composed(NamedTuple):
    """A value that is neither a number nor text: a structure, a list of anything, nested lists."""

    content: Any


Content = float | str | NDArray[Any] | Composed | None


def content_of(variant: ua.Variant | None) -> Content:
    """Return a number that float64 can hold, the elements of a one-dimensional array of numbers, text, or more."""
    content = None if variant is None else variant.Value
    if variant is None or content is None:
        return None
    if variant.is_array and variant.VariantType.value in NUMBERS and len(variant.Dimensions or [0]) == 1:
        elements: NDArray[Any] = np.array(content, NUMBERS[variant.VariantType.value])
        return elements
    return plain(content)


def plain(content: object) -> float | str | Composed:
    """Return a value that is not an array of numbers: as a number if float64 holds it exactly, or as text."""
    if isinstance(content, (bool, int, float)) and is_exact(content):
        return float(content)
    is_composed = isinstance(content, list) or (is_dataclass(content) and not isinstance(content, _WORDS))
    return Composed(content) if is_composed else text_of(content)


def is_exact(number: float) -> bool:
    """Return whether float64 holds a number; an integer beyond 2**53 may be the neighbour of one that it holds."""
    return not isinstance(number, int) or abs(number) <= EXACT


def are_exact(array: NDArray[Any]) -> bool:
    """Return whether float64 holds all elements of an array."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8:
        return True
    return not bool(((array > EXACT) | (array < -EXACT)).any())


def field_of(content: object, path: str) -> float | str | Composed | None:
    """Return a field of a structure; None if it has none of that name.

    Args:
        content: the structure.
        path: names of fields, separated by dots.
    """
    for name in path.split("."):
        content = getattr(content, name, None)
    return None if content is None else plain(content)


def element_of(content: object, place: str) -> float | str | Composed | None:
    """Return one element of a list, or of lists in it; None if it is not there.

    Args:
        content: the list: the element alone, or all, if the server has ignored that one was requested.
        place: indices of the element, separated by commas.
    """
    for index in map(int, place.split(",")):
        if not isinstance(content, list) or not content or 1 < len(content) <= index:
            return None
        content = content[index if len(content) > 1 else 0]
    return None if content is None else plain(content)


def range_of(array: NDArray[Any], wanted: str) -> NDArray[Any]:
    """Return part of an array, which may be that part already.

    Args:
        array: one-dimensional; all of it, if the server has ignored that a part was requested.
        wanted: first and last index, as `2:5`.
    """
    first, _, last = wanted.partition(":")
    size = int(last or first) - int(first) + 1
    return array[int(first) : int(first) + size] if len(array) > size else array


def text_of(content: object) -> str:
    """Return a value as text that is valid UTF-8: asyncua marks invalid bytes by lone surrogates."""
    return _words(content).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _words(content: object) -> str:
    match content:
        case datetime():
            return content.isoformat()
        case bytes():
            return content.hex()
        case ua.LocalizedText():
            return str(content.Text or "")
        case ua.QualifiedName():
            return str(content.Name or "")
        case ua.NodeId():
            return str(content.to_string())
        case ua.StatusCode():
            return str(content.name)
    return str(content)
