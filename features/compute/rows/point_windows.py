"""The windows of a point on all assets that are computed together.

A live second of an asset has one window of a point; what is done for each window by itself costs more than its
arithmetic. So windows are placed tag by tag, and everything after that is done for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.compute.rows.page_arrays import PageArrays, TagSamples, TagStretches
from features.compute.rows.side_by_side import placed_windows
from features.compute.rows.speed import ShaftSpeed, Speeds, joined_speeds
from features.define.history import Fact
from features.define.point_plan import PointPlan
from features.define.reasons import Reason
from features.define.spec import Floats
from features.define.view_plan import PointTag
from features.kernels.process import HeldWindows, Holds, held_windows, holds, joined_windows, process_windows
from features.kernels.states import StateWindows, coded
from features.windows.stretches import Booleans, Integers, Stretches
from features.windows.tiling import EndRange, Tiling, Windows, burst_windows, touched_ends
from historian.stated import RATE_TOLERANCE

_BATCH_WINDOWS: Final = 1024
"""Windows of a batch of held values: overlapping windows use each sample many times."""
_EXPLAINED: Final[tuple[Reason, Reason]] = ("gap", "length")
"""What windows seem to lack where a stretch has another rate."""


class Due(NamedTuple):
    """The tag that fills a point of an asset, and which windows of it are wanted."""

    asset: int
    """Number of the asset."""
    tag: PointTag
    ends: EndRange
    speed: ShaftSpeed


@dataclass(frozen=True)
class HeldBatch:
    """What the kernels of process and state points take."""

    holds: HeldWindows
    states: StateWindows

    def __len__(self) -> int:
        return len(self.holds.count)


@dataclass(frozen=True)
class PointWindows:
    """The windows of a point, asset by asset."""

    plan: PointPlan
    asset: Integers
    """[windows] number of each one's asset."""
    windows: Windows
    """`first` counts the samples of the tag."""
    resume: tuple[tuple[str, int], ...]
    """Each tag, and `Windows.resume` of its windows."""
    changed: frozenset[Fact]
    """The facts that change within each of the windows."""


@dataclass(frozen=True)
class HeldPoint(PointWindows):
    """The windows of a process or state point."""

    batches: tuple[HeldBatch, ...]
    """All windows, in their order."""


@dataclass(frozen=True)
class WaveformPoint(PointWindows):
    """The windows of a vibration point; `windows.first` counts the samples of all tags of the page."""

    tiling: Tiling
    speeds: Speeds
    """[windows]"""
    has_geometry: Booleans
    """[windows] whether there is a bearing whose geometry is possible."""
    bearing: npt.NDArray[np.object_]
    """[windows] the bearing at the point; None where unknown."""
    courses: npt.NDArray[np.object_]
    """[windows] the `SpeedCourse` of each one's asset; None where the speed is fixed."""


def point_windows(page: PageArrays, plan: PointPlan, due: Sequence[Due]) -> HeldPoint | WaveformPoint:
    """Find the windows of a point.

    Args:
        page: samples and stretches; all from `Windows.resume` of the range before.
        plan: the point.
        due: the tags that fill it, by asset; one at least.
    """
    if plan.point.sample_rate is None:
        return _held_point(page, plan, due)
    return _waveform_point(page, plan, due)


def _waveform_point(page: PageArrays, plan: PointPlan, due: Sequence[Due]) -> WaveformPoint:
    tiling = Tiling(plan.length, plan.hop, plan.point.sample_rate or 0.0)
    place = _of_bursts if plan.settings.align == "burst" else _of_the_grid
    windows, counts, resume = place([page.stretches(each.tag.name) for each in due], tiling, due)
    ends = np.split(windows.end, np.cumsum(counts)[:-1])
    return WaveformPoint(
        plan,
        np.repeat([each.asset for each in due], counts),
        _of_one_tag(windows, due[0].tag.changed),
        tuple((each.tag.name, instant) for each, instant in zip(due, resume, strict=True)),
        due[0].tag.changed,
        tiling,
        joined_speeds([each.speed.at(end) for each, end in zip(due, ends, strict=True)]),
        np.repeat([each.tag.has_geometry for each in due], counts),
        np.repeat(np.array([each.tag.bearing for each in due], np.object_), counts),
        np.repeat(np.array([each.speed.course for each in due], np.object_), counts),
    )


class _OfTags(NamedTuple):
    """The windows of several tags, tag by tag; `first` counts the samples of the page."""

    windows: Windows
    counts: Sequence[int]
    """[tags] number of windows."""
    resume: Sequence[int]
    """[tags] `Windows.resume`."""


def _of_bursts(tags: Sequence[TagStretches], tiling: Tiling, due: Sequence[Due]) -> _OfTags:
    found = []
    for (stretches, offset), each in zip(tags, due, strict=True):
        windows = _of_its_rate(burst_windows(stretches, tiling, each.ends), stretches, tiling, by_bursts=True)
        found.append(replace(windows, first=windows.first + offset))
    return _OfTags(_joined(found), [len(each.end) for each in found], [each.resume for each in found])


def _of_the_grid(tags: Sequence[TagStretches], tiling: Tiling, due: Sequence[Due]) -> _OfTags:
    found, counts, resume = list[Windows](), list[int](), list[int]()
    for each in placed_windows(tags, tiling, [one.ends for one in due]):
        windows = _of_its_rate(each.windows, each.signal, tiling, by_bursts=False)
        found.append(replace(windows, first=windows.first + each.shift))
        counts += each.counts.tolist()
        resume += each.resume
    return _OfTags(_joined(found), counts, resume)


def _of_one_tag(windows: Windows, changed: frozenset[Fact]) -> Windows:
    """Return the windows, not valid if another tag fills the point from some instant in them on."""
    if "tag" not in changed:
        return windows
    return replace(windows, faults={**windows.faults, "changed": np.ones(len(windows.end), np.bool_)})


def _of_its_rate(windows: Windows, signal: Stretches, tiling: Tiling, *, by_bursts: bool) -> Windows:
    """Return the windows, not valid where a stretch has a rate that contradicts the plant file's.

    Of bursts, such a stretch has at most the window at its beginning: else each of its samples would have one.
    """
    other = np.abs(signal.rate - tiling.sample_rate) > RATE_TOLERANCE * tiling.sample_rate
    if not other.any():
        return windows
    touched = signal.touches(other, windows.first, windows.first + windows.found)
    gap, length = (windows.faults[code] & ~touched for code in _EXPLAINED)
    marked = replace(windows, faults={**windows.faults, "gap": gap, "length": length, "rate": touched})
    begins = signal.offsets[:-1][signal.first == 0]
    return marked.only(~touched | np.isin(windows.first, begins)) if by_bursts else marked


def _held_point(page: PageArrays, plan: PointPlan, due: Sequence[Due]) -> HeldPoint:
    samples = [page.samples(each.tag.name) for each in due]
    codes, names = _codes(page, plan, due, samples)
    found = [_held_windows(*each, plan) for each in zip(samples, codes, due, strict=True)]
    windows = [each.windows for each in found]
    return HeldPoint(
        plan,
        np.repeat([each.asset for each in due], [len(each.end) for each in windows]),
        _of_one_tag(_joined(windows), due[0].tag.changed),
        tuple((each.tag.name, its.resume) for each, its in zip(due, windows, strict=True)),
        due[0].tag.changed,
        tuple(_held_batches(found, names, plan.length)),
    )


def _codes(
    page: PageArrays, plan: PointPlan, due: Sequence[Due], samples: Sequence[TagSamples]
) -> tuple[list[Floats], tuple[str, ...]]:
    """Return the states of each tag's samples as numbers, and their names; the values of a point without states."""
    if "text" not in due[0].tag.columns:
        return [each.values for each in samples], ()
    codes, names = coded(page.sample_rows([each.tag.name for each in due]), plan.point.states)
    return np.split(codes, np.cumsum([len(each.times) for each in samples])[:-1]), names


class _Held(NamedTuple):
    """The windows of one tag, and what held in them."""

    windows: Windows
    numbers: Holds
    states: Holds


def _held_windows(samples: TagSamples, codes: Floats, due: Due, plan: PointPlan) -> _Held:
    times, values, good = samples
    lookback, known = plan.length + plan.max_staleness, due.ends.without_pending
    end = touched_ends(times, times, hop=plan.hop, lookback=lookback, wanted=known)
    usable = ~np.isnan(codes if plan.kind == "state" else values) & good
    held, lost = (holds(times, values, which, staleness=plan.max_staleness) for which in (usable, ~usable))
    windows = process_windows(times, held, lost, end, length=plan.length, resume=known.until - lookback)
    return _Held(windows, held, replace(held, values=codes[usable]))


def _held_batches(found: Sequence[_Held], names: tuple[str, ...], length: int) -> Iterator[HeldBatch]:
    """Yield batches of about `_BATCH_WINDOWS` windows, of one tag or of several."""
    waiting: list[tuple[HeldWindows, HeldWindows]] = []
    for windows, *held in found:
        for start in range(0, len(windows.end), _BATCH_WINDOWS):
            place = slice(start, start + _BATCH_WINDOWS)
            end, valid = windows.end[place], windows.valid[place]
            numbers, states = (held_windows(each, end, valid, length=length) for each in held)
            waiting.append((numbers, states))
            if sum(len(each.count) for each, _ in waiting) >= _BATCH_WINDOWS:
                yield _batch(waiting, names)
                waiting = []
    if waiting:
        yield _batch(waiting, names)


def _batch(parts: Sequence[tuple[HeldWindows, HeldWindows]], names: tuple[str, ...]) -> HeldBatch:
    numbers, states = (joined_windows(each) for each in zip(*parts, strict=True))
    return HeldBatch(numbers, StateWindows(states, names))


def _joined(found: Sequence[Windows]) -> Windows:
    """Return the windows of several tags, one tag after the other."""
    if len(found) == 1:
        return found[0]
    return Windows(
        np.concatenate([each.end for each in found]),
        np.concatenate([each.first for each in found]),
        np.concatenate([each.found for each in found]),
        {code: np.concatenate([_fault(each, code) for each in found]) for each in found for code in each.faults},
        min(each.resume for each in found),
        sum(each.partial_windows for each in found),
    )


def _fault(windows: Windows, code: Reason) -> Booleans:
    """Return [windows] whether a fault holds; a code that is only looked for where it may hold is false elsewhere."""
    return windows.faults[code] if code in windows.faults else np.zeros(len(windows.end), np.bool_)
