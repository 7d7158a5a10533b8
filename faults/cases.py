"""The combinations: source, order, workers, sizes, and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, get_args

from bridge.run.slices import Order

SourceName = Literal["frames", "files", "clock-change"]
Fault = Literal[
    "none", "interrupted", "archive lost", "store away", "edge disk full", "streamed meanwhile", "job paused"
]


@dataclass(frozen=True)
class Case:
    """One run of a backfill."""

    source: SourceName
    """`frames`: an archive by pages, with a sample repeated at each border; `files`: text, some of the same time;
    `clock-change`: a file of local times in the night in which the clock is set back."""
    fault: Fault
    order: Order
    workers: int
    page: int
    """Samples in a page, or in a file."""
    slices: int
    """Number of slices that the archive proposes; files are a slice each."""

    def __str__(self) -> str:
        """Return the case in words."""
        sizes = f"{self.workers} workers, pages of {self.page}, {self.slices} slices"
        return f"{self.source}, {self.fault}, {self.order} first, {sizes}"


CASES: Final[Sequence[Case]] = [
    Case(*each) for each in product(get_args(SourceName), get_args(Fault), get_args(Order), (1, 3), (9, 40), (2, 7))
]
"""All of them: 336 runs."""


def drawn(every: int = 10) -> list[Case]:
    """Return one case of each `every`, spread over all axes."""
    return [CASES[(number * 97) % len(CASES)] for number in range(len(CASES) // every)]
