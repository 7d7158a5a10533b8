"""Plans which blocks of registers to read, so that a device receives few requests, and decodes its responses.

Pure. Tags of one device, table and schedule that lie near each other share a block. A block never exceeds the limit of
one Modbus request, and no value is split between two blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridge.drivers.modbus.places import BIT_TABLES, PARTS, Order, Place, Table, ValueType
from bridge.drivers.modbus.registers import decode, part, texts
from historian.quality import BAD_DECODING_ERROR, BAD_NO_DATA

LARGEST_BLOCK: Final = {"holding": 125, "input": 125, "coil": 2000, "discrete": 2000}
"""Largest number of registers or bits in one request (Modbus Application Protocol 1.1b3, sections 6.1 to 6.4)."""
TEXTS: Final = ("string", "int64", "uint64")
"""Types of which values may be texts."""
_EXACT: Final = 2**53
"""The largest magnitude up to which every integer is a float64."""


class Values(NamedTuple):
    """Decoded responses of a block: [polls, tags] each, tags in the order of `Block.tags`."""

    numbers: NDArray[np.float64]
    texts: NDArray[np.object_]
    """Strings, and integers that are no float64, in digits; None elsewhere."""
    absent: NDArray[np.bool_]
    """Whether there is no number."""
    quality: NDArray[np.uint32]


class _Decoder(NamedTuple):
    """Places of one type and order."""

    value_type: ValueType
    order: Order
    length: int
    positions: NDArray[np.intp]
    """[places] positions among the block's tags."""
    registers: NDArray[np.intp]
    """[places, width] positions among the block's registers."""
    bits: NDArray[np.uint16]
    """[places]"""


@dataclass(frozen=True)
class Block:
    """Addresses `first` to `first + count - 1` of one table of one device, read by one request."""

    device_id: int
    table: Table
    first: int
    count: int
    places: tuple[Place, ...]

    @property
    def every(self) -> timedelta:
        """Time between two reads of the block."""
        return self.places[0].every

    @cached_property
    def tags(self) -> list[str]:
        """The tags in the order in which `decode` returns their values."""
        return [place.tag for place in self.places]

    @cached_property
    def has_texts(self) -> bool:
        """Whether some of its values may be texts."""
        return any(place.value_type in TEXTS for place in self.places)

    @cached_property
    def _missing(self) -> NDArray[np.float64]:
        return np.array([place.missing for place in self.places])

    @cached_property
    def _decoders(self) -> list[_Decoder]:
        kinds: dict[tuple[ValueType, Order, int], list[int]] = {}
        for position, place in enumerate(self.places):
            kinds.setdefault((place.value_type, place.order, place.length), []).append(position)
        return [self._decoder(*kind, np.array(positions, np.intp)) for kind, positions in kinds.items()]

    def _decoder(self, value_type: ValueType, order: Order, length: int, positions: NDArray[np.intp]) -> _Decoder:
        places = [self.places[position] for position in positions]
        firsts = np.array([place.first - self.first for place in places], np.intp)
        bits = np.array([place.bit for place in places], np.uint16)
        return _Decoder(value_type, order, length, positions, firsts[:, None] + np.arange(places[0].width), bits)

    def decode(self, responses: NDArray[np.uint16]) -> Values:
        """Decode the responses of some polls.

        Integers beyond 2**53, which a float64 would round, are texts: normalising quarantines them where a number is
        expected.

        Args:
            responses: [polls, count] the registers or bits of each response.
        """
        shape = len(responses), len(self.places)
        found = Values(
            np.full(shape, np.nan), np.full(shape, None), np.zeros(shape, np.bool_), np.zeros(shape, np.uint32)
        )
        for decoder in self._decoders:
            _fill(found, decoder, responses[:, decoder.registers])
        no_data = found.numbers == self._missing
        found.absent[no_data], found.quality[no_data] = True, BAD_NO_DATA
        return found


def _fill(found: Values, decoder: _Decoder, words: NDArray[np.uint16]) -> None:
    """Decode the places of one type.

    Args:
        found: gets the values.
        decoder: the places.
        words: [polls, places, width] their registers.
    """
    at = np.s_[:, decoder.positions]
    if decoder.value_type == "string":
        strings = texts(words.reshape(-1, words.shape[-1]), decoder.order, decoder.length)
        found.texts[at] = np.array(strings, object).reshape(words.shape[:2])
        found.absent[at] = True
        found.quality[at] = np.where(found.texts[at] == None, BAD_DECODING_ERROR, 0)  # noqa: E711 - by element
        return
    numbers = decode(words, decoder.value_type, decoder.order)
    if decoder.value_type in PARTS:
        numbers = part(numbers, decoder.bits, decoder.value_type)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a value like any other here
        found.numbers[at] = numbers
    if decoder.value_type in ("int64", "uint64"):
        inexact = numbers > _EXACT if decoder.value_type == "uint64" else np.abs(numbers) > _EXACT
        found.absent[at] = inexact
        digits = np.full(numbers.shape, None)
        digits[inexact] = numbers[inexact].astype(str)
        found.texts[at] = digits
    elif decoder.value_type in ("bcd16", "bcd32"):
        found.absent[at] = np.isnan(numbers)
        found.quality[at] = np.where(np.isnan(numbers), BAD_DECODING_ERROR, 0)


def plan_blocks(places: Iterable[Place], *, max_gap: int, largest: int = max(LARGEST_BLOCK.values())) -> list[Block]:
    """Return the blocks to read; each place lies in exactly one.

    Args:
        places: where the tags' values are.
        max_gap: largest number of unneeded addresses to read in order to save a request.
        largest: largest number of registers in one request, if that is less than the protocol's. A value that takes
            more is still read whole.
    """

    def group(place: Place) -> tuple[int, Table, timedelta]:
        return place.device_id, place.table, place.every

    blocks = []
    ordered = sorted(places, key=lambda place: (*group(place), place.first, place.end))
    for (_, table, _), found in groupby(ordered, group):
        limit = LARGEST_BLOCK[table] if table in BIT_TABLES else min(LARGEST_BLOCK[table], largest)
        together: list[Place] = []
        for place in found:
            if together and not _fits(together, place, max_gap=max_gap, limit=limit):
                blocks.append(_block(together))
                together = []
            together.append(place)
        blocks.append(_block(together))
    return blocks


def halves(block: Block) -> list[Block]:
    """Return the same places in two blocks, to find out which of them a device refuses."""
    middle = len(block.places) // 2
    return [_block(block.places[:middle]), _block(block.places[middle:])]


def _fits(together: Sequence[Place], place: Place, *, max_gap: int, limit: int) -> bool:
    end = max(earlier.end for earlier in together)
    count = max(end, place.end) - together[0].first
    return place.first - end <= max_gap and count <= limit


def _block(places: Sequence[Place]) -> Block:
    first = places[0].first
    count = max(place.end for place in places) - first
    return Block(places[0].device_id, places[0].table, first, count, tuple(places))
