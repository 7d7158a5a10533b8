"""Decodes 16-bit Modbus registers to numbers: any type, any of the four word and byte orders, many values at once.

Pure. The order names say where the bytes of a big-endian value ABCD stand on the wire; 64-bit values follow the same
two rules, bytes swapped within a word or not, words reversed or not:

    order   in each word    words       32 bit   64 bit
    ABCD    high, low       in order    ABCD     ABCDEFGH
    BADC    low, high       in order    BADC     BADCFEHG
    CDAB    high, low       reversed    CDAB     GHEFCDAB
    DCBA    low, high       reversed    DCBA     HGFEDCBA
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bridge.drivers.modbus.places import NumberType, Order

_BIG_ENDIAN: Final = {
    "bool": ">u2",
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}


def decode(registers: NDArray[np.uint16], number_type: NumberType, order: Order) -> NDArray[Any]:
    """Decode registers to numbers.

    Args:
        registers: [..., width] as they arrived; `register_count` gives the width.
        number_type: type of the numbers.
        order: word and byte order.

    Returns:
        [...] numbers of the type's own dtype; for `bool` the whole words as uint16, of which `bits` selects one bit.
    """
    words = registers[..., ::-1] if order in ("CDAB", "DCBA") else registers
    octets = np.ascontiguousarray(words.astype("<u2" if order in ("BADC", "DCBA") else ">u2"))
    numbers = octets.view(_BIG_ENDIAN[number_type])[..., 0]
    return numbers.astype(numbers.dtype.newbyteorder("="))


def bits(words: NDArray[np.uint16], numbers: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return one bit of each word.

    Args:
        words: [...]
        numbers: [...] number of the bit, 0 being the least significant.
    """
    return (words >> numbers & 1).astype(bool)
