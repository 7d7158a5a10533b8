"""Vocabularies of quality: what is declared is translated, and what cannot be of its kind is nothing."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.drivers.files.qualities import graded
from bridge.drivers.files.vocabulary import Kind, Quality
from historian.quality import (
    BAD,
    BAD_COMMUNICATION_ERROR,
    BAD_NOT_CONNECTED,
    BAD_TIMEOUT,
    GOOD,
    UNCERTAIN,
)


def codes(kind: Kind, texts: list[str | None]) -> list[int | None]:
    """The StatusCodes of some texts."""
    frame = pl.DataFrame({"q": texts}, schema={"q": pl.String})
    return frame.select(graded(Quality(column="q", kind=kind), "q")).to_series().to_list()


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("names", {"Good": GOOD, "bad": BAD, "0x800A0000": BAD_TIMEOUT, "0": None, "192": None, "": None}),
        ("opc-ua", {"0": GOOD, "-2147483648": BAD, "1024": 1024, "192": None, "24": None, "3221225472": None}),
        ("opc-da", {"192": GOOD, "0": BAD, "24": BAD_COMMUNICATION_ERROR, "64": UNCERTAIN, "193": GOOD, "448": GOOD}),
        ("opc-da", {"128": None, "100": None, "Good (Non-Specific)": GOOD, "Bad - Not Connected": BAD_NOT_CONNECTED}),
        ("ignition", {"192": GOOD, "0": BAD, "500": BAD, "-2147483137": BAD, "Bad_Stale": BAD, "Error_X": BAD}),
        ("pi", {"True": GOOD, "False": BAD, "0": GOOD, "-253": BAD, "Questionable": UNCERTAIN, "192": None}),
        ("proficy", {"100": GOOD, "0": BAD, "50": UNCERTAIN, "100.0": GOOD, "50 %": UNCERTAIN, "192": None}),
    ],
)
def test_each_kind_has_its_codes(kind: Kind, texts: dict[str, int | None]) -> None:
    """The same number means something else, or nothing, in another vocabulary."""
    assert codes(kind, list(texts)) == list(texts.values())


@settings(max_examples=50)
@given(st.lists(st.integers(-(2**31), 2**33), min_size=1, max_size=20))
def test_no_number_becomes_a_code_with_reserved_bits(numbers: list[int]) -> None:
    """Severity 3 does not exist, and info bits need their type (OPC 10000-4, 7.39)."""
    for given_number, code in zip(numbers, codes("opc-ua", [str(number) for number in numbers]), strict=True):
        assert code is None or (code == given_number % 2**32 and code < 0xC0000000 and not code & 0x3000)


def test_a_map_names_known_qualities() -> None:
    """A misspelt name is found when the plant file is checked."""
    with pytest.raises(ValidationError, match="unknown quality 'Goood'; there are Good, Uncertain"):
        Quality(column="q", kind="map", map={"1": "Goood"})
