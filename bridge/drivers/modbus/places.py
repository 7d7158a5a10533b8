"""Where a tag's value is in a device: its table, address and type, as the tag list gives them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

Table = Literal["holding", "input", "coil", "discrete"]
Order = Literal["ABCD", "BADC", "CDAB", "DCBA"]
ValueType = Literal[
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
    "bool",
    "string",
]
AddressBase = Literal[0, 1, 40001]

BIT_TABLES: Final = ("coil", "discrete")
PARTS: Final = {"bool": 1, "int8": 8, "uint8": 8}
"""Types that are a part of one register, and their number of bits; the column `bit` says where it begins."""
REFERENCES: Final[dict[str, Table]] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
"""First digit of a reference such as 40108 -> table."""
_REGISTERS: Final[dict[ValueType, int]] = {
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "bcd32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}
_LAST: Final = 65535


def register_count(value_type: ValueType) -> int:
    """Return the number of registers that a number of this type takes: 1, 2 or 4."""
    return _REGISTERS.get(value_type, 1)


@dataclass(frozen=True)
class Place:
    """Where one tag's value is in a device, and how to decode it."""

    tag: str
    device_id: int
    table: Table
    first: int
    value_type: ValueType
    order: Order = "ABCD"
    bit: int = 0
    """Of a bool or an 8-bit integer in a register: its least significant bit."""
    length: int = 0
    """Of a string: its number of characters, two in each register."""
    missing: float = math.nan
    """The number that the device shows when it has no value; NaN if there is none."""
    every: timedelta = timedelta(seconds=1)

    @property
    def width(self) -> int:
        """Number of registers of the value; 1 for a coil or discrete input."""
        if self.table in BIT_TABLES:
            return 1
        return -(-self.length // 2) if self.value_type == "string" else register_count(self.value_type)

    @property
    def end(self) -> int:
        """The first address after the value."""
        return self.first + self.width

    @property
    def reference(self) -> str:
        """The value's address in messages, in both ways of counting: `holding 107 (40108 in some manuals)`."""
        digit = next(digit for digit, table in REFERENCES.items() if table == self.table)
        return f"{self.table} {self.first} ({digit}{self.first + 1:04d} in some manuals)"


def parse_address(address: str, base: AddressBase) -> tuple[Table | None, int]:
    """Return the table, if the address names it, and the 0-based number of a register or bit.

    Args:
        address: the text in the tag list.
        base: what the first register is called: 0, 1 or, with its table, 40001.

    Raises:
        ValueError: it is no such number.
    """
    if not address.isdecimal() or not address.isascii():
        raise ValueError(f"the address {address!r} is not a register number; write a number, such as 107")
    if base != 40001:
        number = int(address) - base
        if number < 0:
            raise ValueError(f"the address {address} is below {base}, which address_base says is the first one")
        return None, number
    if len(address) not in (5, 6) or address[0] not in REFERENCES or int(address[1:]) == 0:
        raise ValueError(
            f"the address {address!r} is not a reference of five or six digits, the first of which names the table, "
            "such as 40108 or 400108; for plain numbers set address_base = 0 or 1"
        )
    return REFERENCES[address[0]], int(address[1:]) - 1


def check_end(place: Place) -> None:
    """Raise `ValueError` if the value goes beyond the last address of a table."""
    if place.end > _LAST + 1:
        raise ValueError(f"the address {place.first} is too large: the last {place.table} is number {_LAST}")
