"""The speed of a window comes from its tag, with a reason where none can be used."""

from __future__ import annotations

import pytest

from features.compute.rows.pages import in_step
from historian.plant.model import Bearing, StatedOrders
from historian.samples import SampleBatch
from historian.stores.memory import MemoryStore
from historian.times import from_micros
from historian.waveforms.packing import pack
from tests.features.compute.rows.signals import (
    CWRU,
    ONE,
    SPEED,
    START,
    TURNING,
    dial,
    only,
    rows,
    rows_of,
    tag,
    view,
    waveform,
)

EVER = from_micros(START), from_micros(2 * START)


@pytest.mark.parametrize(
    ("speeds", "unit", "rpm", "reason"),
    [
        ([1800, 1800, 1820, 1800], "rpm", 1805, None),
        ([30, 30, 30, 30], "Hz", 1800, None),
        ([1800, 1800, 1800, 1840], "rpm", None, "speed_varies"),
        ([0, 0, 0, 0], "rpm", None, "no_speed"),
        ([None, None, 1500, 1500], "rpm", None, "no_speed"),
    ],
    ids=["steady", "in Hz", "varies", "stands", "half unknown"],
)
def test_the_speed_of_a_window_is_that_of_its_tag(
    speeds: list[float], unit: str, rpm: float | None, reason: str | None
) -> None:
    """It is the time-weighted mean in rpm; without one, the features that need it are missing with a reason."""
    de_h, speed = tag("de_h", bearing=CWRU), tag("speed", "speed", unit=unit, max_staleness=ONE)
    of_view = view("de_h", features=TURNING, speed="speed")
    row = only(rows(of_view, waveform(de_h), dial(speed, speeds), tags=(de_h, speed)))
    assert (row["de_h_rpm"], row["de_h_rpm_source"]) == (pytest.approx(rpm) if rpm else None, "tag" if rpm else None)
    assert row["de_h_reason"] == reason
    assert (row["de_h_order_1x"] is None, row["de_h_ses_bpfi_amp"] is None) == (rpm is None, rpm is None)
    assert row["de_h_sk_max"] is not None


def test_a_speed_that_is_too_old_is_not_used() -> None:
    """A sample holds for max_staleness, as for process tags; the asset's fixed speed is not used instead."""
    de_h, speed = tag("de_h", bearing=CWRU), tag("speed", "speed", unit="rpm", max_staleness=ONE)
    of_view = view("de_h", features=("orders",), speed="speed")
    found = rows(of_view, waveform(de_h, 3), dial(speed, [1500]), tags=(de_h, speed))
    assert found["de_h_rpm"].to_list() == [1500, None, None]
    assert found["de_h_reason"].to_list() == [None, "no_speed", "no_speed"]


@pytest.mark.parametrize(("speed", "rpm"), [(1528, 1528), (1532, None), (1469, None), (3000, None)])
def test_a_measured_speed_is_compared_with_the_fixed_one(speed: float, rpm: float | None) -> None:
    """A file that states 1,732 rpm and a plant file of 1,500 cannot both be right: what needs the speed is missing."""
    de_h = tag("de_h", bearing=CWRU)
    of_view = view("de_h", features=TURNING, speed="speed")
    known = dial(SPEED, [speed] * 4)
    row = only(rows(of_view, waveform(de_h), known, tags=(de_h, SPEED), facts={"speed_rpm": 1500}))
    assert row["de_h_rpm"] == (pytest.approx(rpm) if rpm else None)
    assert row["de_h_reason"] == (None if rpm else "speed_contradicted")
    assert (row["de_h_order_1x"] is None, row["de_h_ses_bpfi_amp"] is None) == (rpm is None, rpm is None)


def test_a_window_uses_no_speed_of_its_future() -> None:
    """A speed reported at or after its end changes nothing."""
    de_h = tag("de_h", bearing=CWRU)
    of_view = view("de_h", features=("orders",), speed="speed")
    past, future = dial(SPEED, [1500] * 4), dial(SPEED, [1500] * 4 + [3000] * 4)
    known = rows(of_view, waveform(de_h), past, tags=(de_h, SPEED))
    assert rows(of_view, waveform(de_h), future, tags=(de_h, SPEED)).equals(known)


def test_an_impossible_bearing_is_reported_and_not_used() -> None:
    """Without a valid geometry there are no fault lines; orders do not need one."""
    misfit = Bearing(balls=20, ball_diameter=9, pitch_diameter=39)
    stated = StatedOrders(bpfo=3.585, bpfi=5.415, bsf=2.357, ftf=0.602)
    for bearing in (None, misfit, CWRU.model_copy(update={"orders": stated})):
        de_h = tag("de_h", bearing=bearing)
        of_view = view("de_h", features=("orders", "envelope"))
        row = only(rows(of_view, waveform(de_h), tags=(de_h,), facts={"speed_rpm": 1772}))
        assert row["de_h_reason"] == "geometry"
        assert (row["de_h_order_1x"] is None, row["de_h_ses_bpfo_amp"]) == (False, None)


def test_pages_give_what_a_single_page_gives() -> None:
    """The speed is carried from page to page as far back as a window may need it."""
    de_h = tag("de_h", bearing=CWRU)
    of_view = view("de_h", features=("orders",), speed="speed")
    store, speeds = MemoryStore(page_rows=5000), dial(SPEED, [1500, 1480, 1510], every=0.9)
    store.write_waveforms(pack(waveform(de_h, 4), {de_h.name: 12_000}).batch, source="test", now=EVER[0])
    at_once = rows(of_view, waveform(de_h, 4), speeds, tags=(de_h, SPEED))
    few = (SampleBatch(speeds[number : number + 1]) for number in range(3))
    assert rows_of(of_view, in_step(few, store.read_waveforms([de_h.name], *EVER)), (de_h, SPEED)).equals(at_once)
    assert at_once["de_h_reason"].to_list() == [None, "speed_varies", None, "no_speed"]
