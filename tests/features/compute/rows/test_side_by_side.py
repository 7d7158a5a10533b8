"""Windows placed on several tags in one go are those of each tag by itself."""

from __future__ import annotations

from dataclasses import fields

import hypothesis.strategies as st
import numpy as np
from hypothesis import Phase, example, given, settings

from features.compute.rows.page_arrays import TagStretches
from features.compute.rows.side_by_side import placed_windows
from features.windows.stretches import Stretches
from features.windows.tiling import EndRange, Tiling, Windows, epoch_windows
from tests.features.stretches import packed, read

START = 1_700_000_000_000_000
RATE = 1_000.0
TILING = Tiling(20_000, 10_000, RATE)
FAR = 40 * 365 * 86_400 * 1_000_000
"""So far from everything that signals cannot all be moved apart together."""

tags = st.tuples(
    st.integers(0, 40_000),  # begin of the samples
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30_000)), max_size=3),  # samples and the pause after them
    st.integers(0, 30),  # a sample that is not good, if there are so many
    st.tuples(st.integers(-20_000, 60_000), st.integers(0, 100_000), st.integers(-30_000, 30_000)),
)
Tag = tuple[int, list[tuple[int, int]], int, tuple[int, int, int]]

TWO: list[Tag] = [(0, [(60, 0)], 99, (0, 60_000, 0)), (0, [(60, 0)], 99, (30_000, 30_000, 0))]
"""The same signal twice, of which other windows are wanted."""


def signal_of(begin: int, parts: list[tuple[int, int]], bad: int) -> Stretches:
    """Runs of samples with pauses between them."""
    times, at = [], START + begin
    for count, pause in parts:
        times.append(at + 1_000 * np.arange(count))
        at += 1_000 * count + pause
    instants = np.concatenate([np.zeros(0, np.int64), *times]).astype(np.int64)
    quality = np.where(np.arange(len(instants)) == bad, 0x80000000, 0)
    return read(packed("a", instants, np.where(quality, np.nan, 1.0), RATE, quality=quality))


def same(found: Windows, wanted: Windows, shift: int) -> None:
    """Assert that windows are the same, but for the numbers of their samples."""
    for field in fields(Windows):
        ours, theirs = getattr(found, field.name), getattr(wanted, field.name)
        if field.name == "faults":
            assert {code: holds.tolist() for code, holds in ours.items()} == {
                code: holds.tolist() for code, holds in theirs.items()
            }
        elif field.name == "first":
            filled = wanted.found > 0  # of a window without samples nobody needs the first one
            assert (ours[filled]).tolist() == (theirs[filled] + shift).tolist()
        elif field.name != "resume":
            assert np.array_equal(ours, theirs), field.name


@given(st.lists(tags, min_size=1, max_size=5), st.sampled_from([0, FAR]))
@example(TWO, 0)
@example(TWO, FAR)
@settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_windows_are_those_of_each_tag_by_itself(drawn: list[Tag], reach: int) -> None:
    """Whatever gaps and ranges they have; also where the ranges reach too far to be moved apart together."""
    signals = [signal_of(begin, parts, bad) for begin, parts, bad, _ in drawn]
    edges = [(START + after, START + after + length) for *_, (after, length, _) in drawn]
    wanted = [
        EndRange(after, until + reach, until + late)
        for (after, until), (*_, (_, _, late)) in zip(edges, drawn, strict=True)
    ]
    offsets = np.cumsum([7, *map(len, signals)]).tolist()
    places = [TagStretches(signal, offset) for signal, offset in zip(signals, offsets, strict=False)]
    number = 0
    for placed in placed_windows(places, TILING, wanted):
        edge = np.concatenate(([0], np.cumsum(placed.counts)))
        for which, resume in enumerate(placed.resume):
            alone = epoch_windows(signals[number], TILING, wanted[number])
            chosen = np.zeros(len(placed.windows.end), np.bool_)
            chosen[edge[which] : edge[which + 1]] = True
            first = placed.windows.first + placed.shift
            mine = placed.windows.only(chosen)
            assert resume == alone.resume
            same(Windows(mine.end, first[chosen], mine.found, mine.faults, resume), alone, offsets[number])
            number += 1
    assert number == len(drawn)
