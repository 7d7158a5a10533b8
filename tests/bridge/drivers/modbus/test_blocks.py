"""Blocks: planned within the protocol's limits, each tag in exactly one, decoded as if read alone."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final, get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.modbus.blocks import LARGEST_BLOCK, Block, halves, plan_blocks
from bridge.drivers.modbus.places import BIT_TABLES, Place, Table, ValueType
from historian.quality import BAD_DECODING_ERROR, BAD_NO_DATA, GOOD

TABLES: Final[tuple[Table, ...]] = get_args(Table)
TYPES: Final[tuple[ValueType, ...]] = get_args(ValueType)
INTERVALS: Final = (timedelta(seconds=1), timedelta(seconds=10))


@st.composite
def _places(draw: st.DrawFn) -> list[Place]:
    count = draw(st.integers(1, 60))
    near = draw(st.sampled_from([50, 400, 65_000]))
    places = []
    for number in range(count):
        table = draw(st.sampled_from(TABLES))
        value_type = draw(st.sampled_from(("bool",) if table in BIT_TABLES else TYPES))
        device_id, first = draw(st.integers(1, 2)), draw(st.integers(0, near))
        bit = 8 if table not in BIT_TABLES else 0
        length = draw(st.integers(1, 9)) if value_type == "string" else 0
        every = draw(st.sampled_from(INTERVALS))
        places.append(Place(f"t{number}", device_id, table, first, value_type, "CDAB", bit, length, every=every))
    return places


@settings(max_examples=40)
@given(places=_places(), max_gap=st.integers(0, 40))
def test_each_tag_lies_whole_in_exactly_one_block_within_the_limits(places: list[Place], max_gap: int) -> None:
    """Planned blocks hold every place once, whole, in its own device and table, and stay readable by one request."""
    blocks = plan_blocks(places, max_gap=max_gap)

    assert Counter(place for block in blocks for place in block.places) == Counter(places)
    for block in blocks:
        assert 1 <= block.count <= LARGEST_BLOCK[block.table]
        assert all(block.first <= place.first and place.end <= block.first + block.count for place in block.places)
        of_block = (block.device_id, block.table, block.every)
        assert {(place.device_id, place.table, place.every) for place in block.places} == {of_block}


@settings(max_examples=40)
@given(places=_places(), max_gap=st.integers(0, 40))
def test_a_block_has_at_most_max_gap_unused_addresses_in_a_row(places: list[Place], max_gap: int) -> None:
    """Between two values of a block lie at most `max_gap` unused addresses."""
    for block in plan_blocks(places, max_gap=max_gap):
        wanted = {address for place in block.places for address in range(place.first, place.end)}
        unwanted = 0
        for address in range(block.first, block.first + block.count):
            unwanted = 0 if address in wanted else unwanted + 1
            assert unwanted <= max_gap


@settings(max_examples=40)
@given(places=_places(), seed=st.integers(0, 9))
def test_a_value_decodes_the_same_from_a_shared_block_as_alone(places: list[Place], seed: int) -> None:
    """Sharing a request changes no value."""
    memory = np.random.default_rng(seed).integers(0, 2**16, 66_000, np.uint16)

    def values(block: Block) -> list[tuple[str, ...]]:
        answer = memory[block.first : block.first + block.count]
        shown = (answer & 1 if block.table in BIT_TABLES else answer).astype(np.uint16)
        found = block.decode(shown[None])
        return [tuple(map(repr, each)) for each in zip(*(part[0].tolist() for part in found), strict=True)]

    together = {
        tag: value for b in plan_blocks(places, max_gap=16) for tag, value in zip(b.tags, values(b), strict=True)
    }
    alone = {place.tag: values(plan_blocks([place], max_gap=0)[0])[0] for place in places}
    assert together == alone


@settings(max_examples=40)
@given(places=_places(), largest=st.integers(1, 60))
def test_a_block_is_no_larger_than_a_device_can_take(places: list[Place], largest: int) -> None:
    """Unless a single value is."""
    blocks = plan_blocks(places, max_gap=16, largest=largest)

    assert Counter(place for block in blocks for place in block.places) == Counter(places)
    for block in blocks:
        assert block.table in BIT_TABLES or block.count <= max(largest, max(place.width for place in block.places))


def test_what_is_no_number_is_said_so() -> None:
    """The number that means no value, digits that are no decimal, and an integer that a float64 would round."""
    places = [
        Place("none", 1, "holding", 0, "int16", missing=-32768),
        Place("decimal", 1, "holding", 1, "bcd16"),
        Place("counter", 1, "holding", 2, "uint64"),
        Place("name", 1, "holding", 6, "string", length=4),
    ]
    (block,) = plan_blocks(places, max_gap=0)
    big = 2**53 + 1
    words = [big >> 48, big >> 32 & 0xFFFF, big >> 16 & 0xFFFF, big & 0xFFFF]

    found = block.decode(np.array([[0x8000, 0xABCD, *words, 0x4F4B, 0], [7, 0x1234, 0, 0, 0, 5, 0xFF00, 1]], np.uint16))

    assert found.quality.tolist() == [
        [BAD_NO_DATA, BAD_DECODING_ERROR, GOOD, GOOD],
        [GOOD, GOOD, GOOD, BAD_DECODING_ERROR],
    ]
    assert found.absent.tolist() == [[True] * 4, [False, False, False, True]]
    assert found.texts.tolist() == [[None, None, str(big), "OK"], [None] * 4]
    assert found.numbers[1, :3].tolist() == [7, 1234, 5]


def test_a_signalling_nan_is_just_nan() -> None:
    """A device's not-a-number, of whichever of its many patterns, decodes without complaint."""
    block = plan_blocks([Place("t", 1, "holding", 0, "float32")], max_gap=0)[0]

    assert np.isnan(block.decode(np.array([[0x7F80, 0x0001]], np.uint16)).numbers).all()


def test_halving_keeps_the_places_and_ends_at_single_ones() -> None:
    """Splitting a block again and again isolates each of its tags."""
    block = plan_blocks([Place(f"t{n}", 1, "holding", 3 * n, "float32") for n in range(5)], max_gap=4)[0]

    def isolated(block: Block) -> list[Block]:
        return [block] if len(block.places) == 1 else [leaf for half in halves(block) for leaf in isolated(half)]

    assert [(leaf.tags, leaf.first, leaf.count) for leaf in isolated(block)] == [
        ([f"t{n}"], 3 * n, 2) for n in range(5)
    ]
