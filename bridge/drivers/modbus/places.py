"""Where a tag's value is in a device: its table, address and type, as the tag list gives them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Table = Literal["holding", "input", "coil", "discrete"]
Order = Literal["ABCD", "BADC", "CDAB", "DCBA"]
NumberType = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bool"]

BIT_TABLES: Final = ("coil", "discrete")
_REGISTERS: Final[dict[NumberType, int]] = {
    "bool": 1,
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}


def register_count(number_type: NumberType) -> int:
    """Return the number of registers that a value of this type takes: 1, 2 or 4."""
    return _REGISTERS[number_type]


@dataclass(frozen=True)
class Place:
    """Where one tag's value is in a device, and how to decode it."""

    tag: str
    device_id: int
    table: Table
    first: int
    number_type: NumberType
    order: Order = "ABCD"
    bit: int = 0

    @property
    def width(self) -> int:
        """Number of registers of the value; 1 for a coil or discrete input."""
        return 1 if self.table in BIT_TABLES else register_count(self.number_type)

    @property
    def end(self) -> int:
        """The first address after the value."""
        return self.first + self.width
