"""One value of a node as asyncua decodes it: a number, an array of numbers, or text. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

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


def content_of(variant: ua.Variant | None) -> float | str | NDArray[Any] | None:
    """Return a number that float64 can hold, the elements of a one-dimensional array of numbers, or text."""
    content = None if variant is None else variant.Value
    if variant is None or content is None:
        return None
    if variant.is_array and variant.VariantType.value in NUMBERS and len(variant.Dimensions or [0]) == 1:
        elements: NDArray[Any] = np.array(content, NUMBERS[variant.VariantType.value])
        return elements
    if isinstance(content, (bool, int, float)) and (content != content or float(content) == content):
        return float(content)
    return text_of(content)


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
    return str(content)
