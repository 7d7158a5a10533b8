"""Plans which blocks of registers to read, so that a device receives few requests, and decodes its responses.

Pure. Tags of one device and table that lie near each other share a block. A block never exceeds the limit of one Modbus
request, and no value is split between two blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.drivers.modbus.places import NumberType, Order, Place, Table, register_count
from bridge.drivers.modbus.registers import bits, decode

LARGEST_BLOCK: Final = {"holding": 125, "input": 125, "coil": 2000, "discrete": 2000}
"""Largest number of registers or bits in one request (Modbus Application Protocol 1.1b3, sections 6.1 to 6.4)."""


@dataclass(frozen=True)
class Block:
    """Addresses `first` to `first + count - 1` of one table of one device, read by one request."""

    device_id: int
    table: Table
    first: int
    count: int
    places: tuple[Place, ...]

    @cached_property
    def tags(self) -> list[str]:
        """The tags in the order in which `numbers` returns their values."""
        return [place.tag for place in self.places]

    @cached_property
    def _decoders(self) -> list[tuple[NumberType, Order, NDArray[np.intp], NDArray[np.intp], NDArray[np.uint16]]]:
        """For each type and order: positions among `places`, registers `[positions, width]`, bit numbers."""
        kinds: dict[tuple[NumberType, Order], list[int]] = {}
        for position, place in enumerate(self.places):
            kinds.setdefault((place.number_type, place.order), []).append(position)
        decoders = []
        for (number_type, order), positions in kinds.items():
            firsts = np.array([self.places[position].first - self.first for position in positions], np.intp)
            registers = firsts[:, None] + np.arange(register_count(number_type))
            numbers = np.array([self.places[position].bit for position in positions], np.uint16)
            decoders.append((number_type, order, np.array(positions, np.intp), registers, numbers))
        return decoders

    def numbers(self, answer: Sequence[int] | Sequence[bool]) -> NDArray[np.float64]:
        """Decode a response to one number per tag, in the order of `tags`.

        64-bit integers above 2**53 are rounded: a sample's value is a float64.

        Args:
            answer: [count] the registers or bits of the response.
        """
        words = np.asarray(answer, np.uint16)
        found = np.empty(len(self.places))
        for number_type, order, positions, registers, numbers in self._decoders:
            values = decode(words[registers], number_type, order)
            with np.errstate(invalid="ignore"):  # a signalling NaN is a value like any other here
                found[positions] = bits(values, numbers) if number_type == "bool" else values
        return found


def plan_blocks(places: Iterable[Place], *, max_gap: int) -> list[Block]:
    """Return the blocks to read; each place lies in exactly one.

    Args:
        places: where the tags' values are.
        max_gap: largest number of unneeded addresses to read in order to save a request.
    """

    def table(place: Place) -> tuple[int, Table]:
        return place.device_id, place.table

    blocks = []
    for _, found in groupby(sorted(places, key=lambda place: (*table(place), place.first, place.end)), table):
        together: list[Place] = []
        for place in found:
            if together and not _fits(together, place, max_gap):
                blocks.append(_block(together))
                together = []
            together.append(place)
        blocks.append(_block(together))
    return blocks


def halves(block: Block) -> list[Block]:
    """Return the same places in two blocks, to find out which of them a device refuses."""
    middle = len(block.places) // 2
    return [_block(block.places[:middle]), _block(block.places[middle:])]


def _fits(together: Sequence[Place], place: Place, max_gap: int) -> bool:
    end = max(earlier.end for earlier in together)
    count = max(end, place.end) - together[0].first
    return place.first - end <= max_gap and count <= LARGEST_BLOCK[place.table]


def _block(places: Sequence[Place]) -> Block:
    first = places[0].first
    count = max(place.end for place in places) - first
    return Block(places[0].device_id, places[0].table, first, count, tuple(places))
