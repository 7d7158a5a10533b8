"""Blocks: planned within the protocol's limits, each tag in exactly one, decoded as if read alone."""

from __future__ import annotations

from collections import Counter
from typing import Final, cast, get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.modbus.blocks import LARGEST_BLOCK, Block, halves, plan_blocks
from bridge.drivers.modbus.places import BIT_TABLES, NumberType, Place, Table

TABLES: Final[tuple[Table, ...]] = get_args(Table)
TYPES: Final[tuple[NumberType, ...]] = get_args(NumberType)


@st.composite
def _places(draw: st.DrawFn) -> list[Place]:
    count = draw(st.integers(1, 60))
    near = draw(st.sampled_from([50, 400, 65_000]))
    places = []
    for number in range(count):
        table = draw(st.sampled_from(TABLES))
        number_type = draw(st.sampled_from(("bool",) if table in BIT_TABLES else TYPES))
        device_id, first = draw(st.integers(1, 2)), draw(st.integers(0, near))
        bit = 3 if table not in BIT_TABLES else 0
        places.append(Place(f"t{number}", device_id, table, first, number_type, "CDAB", bit))
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
        assert {(place.device_id, place.table) for place in block.places} == {(block.device_id, block.table)}


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

    def numbers(block: Block) -> list[float]:
        answer = memory[block.first : block.first + block.count]
        shown = answer & 1 if block.table in BIT_TABLES else answer
        return cast(list[float], block.numbers(shown.tolist()).tolist())

    together = {
        tag: repr(n) for b in plan_blocks(places, max_gap=16) for tag, n in zip(b.tags, numbers(b), strict=True)
    }
    alone = {place.tag: repr(numbers(plan_blocks([place], max_gap=0)[0])[0]) for place in places}
    assert together == alone


def test_a_signalling_nan_is_just_nan() -> None:
    """A device's not-a-number, of whichever of its many patterns, decodes without complaint."""
    block = plan_blocks([Place("t", 1, "holding", 0, "float32")], max_gap=0)[0]

    assert np.isnan(block.numbers([0x7F80, 0x0001])[0])


def test_halving_keeps_the_places_and_ends_at_single_ones() -> None:
    """Splitting a block again and again isolates each of its tags."""
    block = plan_blocks([Place(f"t{n}", 1, "holding", 3 * n, "float32") for n in range(5)], max_gap=4)[0]

    def isolated(block: Block) -> list[Block]:
        return [block] if len(block.places) == 1 else [leaf for half in halves(block) for leaf in isolated(half)]

    assert [(leaf.tags, leaf.first, leaf.count) for leaf in isolated(block)] == [
        ([f"t{n}"], 3 * n, 2) for n in range(5)
    ]
