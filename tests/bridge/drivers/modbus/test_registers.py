"""Register decoding agrees with `struct`, for every type and order."""

from __future__ import annotations

import struct
from typing import Final, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.modbus.places import Order, ValueType, register_count
from bridge.drivers.modbus.registers import decode, part, texts

FORMATS: Final[dict[ValueType, str]] = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
WIRE: Final[dict[Order, dict[int, str]]] = {
    "ABCD": {2: "AB", 4: "ABCD", 8: "ABCDEFGH"},
    "BADC": {2: "BA", 4: "BADC", 8: "BADCFEHG"},
    "CDAB": {2: "AB", 4: "CDAB", 8: "GHEFCDAB"},
    "DCBA": {2: "BA", 4: "DCBA", 8: "HGFEDCBA"},
}


def _on_the_wire(value: float, value_type: ValueType, order: Order) -> list[int]:
    """The registers a device with this order shows for `value`, by the letters of the order's name."""
    octets = struct.pack(f">{FORMATS[value_type]}", value)
    sent = bytes(octets["ABCDEFGH".index(letter)] for letter in WIRE[order][len(octets)])
    return list(struct.unpack(f">{len(sent) // 2}H", sent))


@st.composite
def _typed_values(draw: st.DrawFn) -> tuple[ValueType, list[float]]:
    value_type = draw(st.sampled_from(sorted(FORMATS)))
    width = struct.calcsize(FORMATS[value_type]) * 8
    if value_type.startswith("float"):
        numbers = st.floats(width=32 if width == 32 else 64)
        return value_type, draw(st.lists(numbers, min_size=1, max_size=8))
    signed = value_type.startswith("int")
    low, high = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if signed else (0, 2**width - 1)
    return value_type, list(draw(st.lists(st.integers(low, high), min_size=1, max_size=8)))


@settings(max_examples=60)
@given(typed=_typed_values(), order=st.sampled_from(get_args(Order)))
def test_decode_gives_back_what_struct_packed(typed: tuple[ValueType, list[float]], order: Order) -> None:
    """Every type in every order decodes to what `struct` packed, in a dtype of its own."""
    value_type, values = typed
    registers = np.array([_on_the_wire(value, value_type, order) for value in values], np.uint16)

    decoded = decode(registers, value_type, order)

    expected = np.array(values, dtype=FORMATS[value_type])
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == expected.dtype
    assert registers.shape[-1] == register_count(value_type)


def test_many_polls_of_many_values_decode_in_one_call() -> None:
    """Leading axes are kept: polls by tags by registers become polls by tags."""
    polls = np.array([[_on_the_wire(poll + tag / 8, "float32", "CDAB") for tag in range(3)] for poll in range(4)])

    decoded = decode(polls.astype(np.uint16), "float32", "CDAB")

    np.testing.assert_array_equal(decoded, np.arange(4)[:, None] + np.arange(3) / 8)


@settings(max_examples=60)
@given(word=st.integers(0, 0xFFFF), bit=st.integers(0, 15))
def test_a_bit_is_counted_from_the_least_significant(word: int, bit: int) -> None:
    """Bit 0 of a register is its least significant one."""
    picked = part(np.array([word], np.uint16), np.array([bit], np.uint16), "bool")

    assert picked.tolist() == [bool(word & 1 << bit)]


@settings(max_examples=60)
@given(word=st.integers(0, 0xFFFF))
def test_a_register_holds_two_bytes(word: int) -> None:
    """The low byte begins at bit 0 and the high one at bit 8, with a sign or without."""
    words, first = np.array([word, word], np.uint16), np.array([0, 8], np.uint16)
    octets = bytes([word & 0xFF, word >> 8])

    assert part(words, first, "uint8").tolist() == list(octets)
    assert part(words, first, "int8").tolist() == list(struct.unpack("bb", octets))


@settings(max_examples=60)
@given(number=st.integers(0, 99_999_999), order=st.sampled_from(get_args(Order)))
def test_a_decimal_has_a_digit_in_each_half_byte(number: int, order: Order) -> None:
    """1234 in a register reads 0x1234; eight digits follow the order of words and bytes."""
    wire = np.array([_on_the_wire(int(str(number), 16), "uint32", order)], np.uint16)

    assert decode(wire, "bcd32", order).tolist() == [number]
    assert decode(np.array([[0x1234]], np.uint16), "bcd16", "ABCD").tolist() == [1234]
    assert np.isnan(decode(np.array([[0x12A4]], np.uint16), "bcd16", "ABCD")).all()


@pytest.mark.parametrize(("order", "sent"), [("ABCD", b"PUMP-07 "), ("CDAB", b"PUMP-07 "), ("BADC", b"UPPM0- 7")])
def test_a_string_has_two_characters_in_a_register(order: Order, sent: bytes) -> None:
    """The first in the high byte, or in the low one; blanks and NULs at the end are not part of it."""
    registers = np.array([struct.unpack(">4H", sent), [0x5000, 0, 0, 0], [0x50FF] * 4], np.uint16)

    assert texts(registers, order, 8)[0] == "PUMP-07"
    assert texts(registers, "ABCD", 8)[1:] == ["P", None]
    assert texts(registers[:1], "ABCD", 3)[0] == sent[:3].decode()


@pytest.mark.parametrize(("order", "registers"), [("ABCD", [0x42F6, 0xE979]), ("DCBA", [0x79E9, 0xF642])])
def test_the_float_every_vendor_shows_in_its_manual(order: Order, registers: list[int]) -> None:
    """123.456 is 42F6 E979 in ABCD and its mirror image in DCBA."""
    decoded = decode(np.array(registers, np.uint16), "float32", order)

    assert float(decoded) == np.float32(123.456)
