"""What is known of each device on a connection: whether it responds, and how much of it one request may read.

Pure: seconds on any clock that never jumps are passed in. On a serial line a request to a silent device keeps all the
others waiting. So a silent one is asked for a single value, and more and more rarely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from bridge.drivers.modbus.blocks import LARGEST_BLOCK, Block, plan_blocks
from bridge.drivers.modbus.places import BIT_TABLES, Place

SHARE: Final = 10
"""A silent device takes at most one part in so many of the time."""
LONGEST_WAIT_S: Final = 60.0
SEARCH_AGAIN_S: Final = 60.0


@dataclass
class Unit:
    """One device."""

    device_id: int
    blocks: list[Block]
    greeting: Block
    """Its smallest request: a single value."""
    largest: int = max(LARGEST_BLOCK.values())
    """Largest number of registers that it is asked for at once."""
    responds: bool | None = None
    """None until it has been asked."""
    next_at: float = 0.0
    """When to ask a silent device again."""
    search_at: float = 0.0
    """When to search again for the registers that make a device fail."""
    _wait_s: float = field(default=0.0, repr=False)

    def heard(self) -> bool:
        """Record that it has responded; return whether it was silent before."""
        was_silent = self.responds is False
        self.responds, self._wait_s = True, 0.0
        return was_silent

    def silent(self, now: float, *, cost_s: float) -> bool:
        """Record that it has not responded; return whether that is news.

        Args:
            now: the current time.
            cost_s: how long the request kept the connection busy.
        """
        news = self.responds is not False
        self.responds = False
        longest = max(LONGEST_WAIT_S, SHARE * cost_s)
        self._wait_s = min(longest, 2 * self._wait_s or SHARE * cost_s)
        self.next_at = now + self._wait_s
        return news

    def smaller(self, block: Block, *, max_gap: int) -> list[Block]:
        """Return the same places in blocks that the device can take; the block alone if it can take that."""
        if block.table in BIT_TABLES or block.count <= self.largest:
            return [block]
        return plan_blocks(block.places, max_gap=max_gap, largest=self.largest)

    def replace(self, block: Block, parts: Sequence[Block]) -> None:
        """Read a block in parts from now on."""
        at = self.blocks.index(block)
        self.blocks[at : at + 1] = parts


def units_of(places: Iterable[Place], *, max_gap: int, largest: Mapping[int, int]) -> list[Unit]:
    """Return the devices that the places are in.

    Args:
        places: where the tags' values are.
        max_gap: see `plan_blocks`.
        largest: device -> largest number of registers to ask it for at once, where that is configured.
    """
    found = []
    for device_id, own in groupby(sorted(places, key=lambda place: place.device_id), lambda place: place.device_id):
        listed = list(own)
        unit = Unit(device_id, [], plan_blocks([min(listed, key=lambda place: place.width)], max_gap=0)[0])
        unit.largest = largest.get(device_id, unit.largest)
        unit.blocks = plan_blocks(listed, max_gap=max_gap, largest=unit.largest)
        found.append(unit)
    return found
