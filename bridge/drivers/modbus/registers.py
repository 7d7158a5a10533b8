"""Decodes 16-bit Modbus registers to values: any type, any of the four word and byte orders, many values at once.

Pure. The order names say where the bytes of a big-endian value ABCD stand on the wire; 64-bit values follow the same
two rules, bytes swapped within a word or not, words reversed or not:

    order   in each word    words       32 bit   64 bit
    ABCD    high, low       in order    ABCD     ABCDEFGH
    BADC    low, high       in order    BADC     BADCFEHG
    CDAB    high, low       reversed    CDAB     GHEFCDAB
    DCBA    low, high       reversed    DCBA     HGFEDCBA

Binary coded decimals follow them too. Of a string only the order within each word matters.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bridge.drivers.modbus.places import Order, ValueType

_BIG_ENDIAN: Final[dict[ValueType, str]] = {
    "bool": ">u2",
    "int8": ">u2",
    "uint8": ">u2",
    "bcd16": ">u2",
    "bcd32": ">u4",
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}


def decode(registers: NDArray[np.uint16], value_type: ValueType, order: Order) -> NDArray[Any]:
    """Decode registers to numbers.

    Args:
        registers: [..., width] as they arrived; `register_count` gives the width.
        value_type: type of the numbers; not string, for which there is `texts`.
        order: word and byte order.

    Returns:
        [...] numbers of the type's own dtype; for binary coded decimals float64, NaN where a digit is above 9. For
        types that are a part of a register the whole words as uint16, of which `part` selects the bits.
    """
    words = registers[..., ::-1] if order in ("CDAB", "DCBA") else registers
    octets = np.ascontiguousarray(words.astype("<u2" if order in ("BADC", "DCBA") else ">u2"))
    numbers = octets.view(_BIG_ENDIAN[value_type])[..., 0]
    native = numbers.astype(numbers.dtype.newbyteorder("="))
    return _decimals(native) if value_type in ("bcd16", "bcd32") else native


def part(words: NDArray[np.uint16], first: NDArray[np.uint16], value_type: ValueType) -> NDArray[Any]:
    """Return one bit or eight bits of each word.

    Args:
        words: [...]
        first: [...] number of the least significant bit to take, 0 being that of the word.
        value_type: bool, int8 or uint8.
    """
    shifted = words >> first
    if value_type == "bool":
        return (shifted & 1).astype(bool)
    octets = (shifted & 0xFF).astype(np.uint8)
    return octets.view(np.int8) if value_type == "int8" else octets


def texts(registers: NDArray[np.uint16], order: Order, length: int) -> list[str | None]:
    """Decode registers to strings, without the blanks and NULs at their ends.

    Args:
        registers: [n, width] as they arrived.
        order: BADC and DCBA have the first character in the low byte.
        length: number of characters.

    Returns:
        [n] strings; None for one that is not UTF-8.
    """
    octets = registers.astype("<u2" if order in ("BADC", "DCBA") else ">u2", order="C").view(np.uint8)[:, :length]
    found = np.ascontiguousarray(octets).view(f"S{length}")[:, 0]  # drops the NULs at the end
    return [_text(value) for value in found.tolist()]


def _text(value: bytes) -> str | None:
    try:
        return value.partition(b"\0")[0].decode().strip()
    except UnicodeDecodeError:
        return None


def _decimals(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the hexadecimal digits say when read as decimal ones; NaN if one of them is above 9."""
    places = np.arange(numbers.dtype.itemsize * 2)
    digits = (numbers[..., None] >> (4 * places).astype(numbers.dtype)) & 15
    return np.where((digits > 9).any(axis=-1), np.nan, digits @ 10.0**places)
