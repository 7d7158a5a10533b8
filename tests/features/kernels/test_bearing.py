"""Fault orders follow from the geometry, and an impossible bearing is reported with the reason."""

from __future__ import annotations

from math import pi, sin
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from scipy.io import loadmat

from features.kernels.bearing import FaultOrders, fault_orders, implausible, misfits
from historian.plant.model import Bearing, StatedOrders

CWRU = Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)


@st.composite
def bearings(draw: st.DrawFn) -> Bearing:
    """Bearings whose balls fit."""
    balls = draw(st.integers(3, 40))
    slenderness = draw(st.floats(0.02, 0.98)) * sin(pi / balls)  # neighbours touch at 1
    return Bearing(balls=balls, ball_diameter=slenderness * 50, pitch_diameter=50, contact_angle=draw(st.floats(0, 45)))


@given(bearings())
def test_the_identities_hold_for_every_geometry(bearing: Bearing) -> None:
    """BPFO + BPFI = n, BPFO = n FTF, the cage turns slower than half the shaft, and nothing is implausible."""
    orders = fault_orders(bearing)
    assert orders.bpfo + orders.bpfi == pytest.approx(bearing.balls)
    assert orders.bpfo == pytest.approx(bearing.balls * orders.ftf)
    assert 0 < orders.ftf < 0.5
    assert orders.bsf2 > 0
    assert misfits(bearing) == implausible(orders, bearing.balls) == []


def test_gives_the_published_orders_of_the_6205() -> None:
    """The multiples the data's publisher prints, where "rolling element" is twice the ball's spin."""
    orders = fault_orders(CWRU)
    assert (orders.bpfo, orders.bpfi, orders.ftf, orders.bsf2) == pytest.approx(
        (3.5848, 5.4152, 0.39828, 4.7135), rel=1e-4
    )


def test_gives_the_published_orders_of_a_bearing_with_contact_angle() -> None:
    """Rexnord ZA-2115 at 2000 rpm: 236.4, 296.9, 279.8 and 14.8 Hz."""
    bearing = Bearing(balls=16, ball_diameter=0.331, pitch_diameter=2.815, contact_angle=15.17)
    orders, shaft = fault_orders(bearing), 2000 / 60
    found = (orders.bpfo * shaft, orders.bpfi * shaft, orders.bsf2 * shaft, orders.ftf * shaft)
    assert found == pytest.approx((236.4, 296.9, 279.8, 14.8), rel=3e-3)


def test_an_impossible_geometry_is_reported_with_the_reason() -> None:
    """Diameters are exchanged, or balls would overlap."""
    exchanged = Bearing(balls=9, ball_diameter=39, pitch_diameter=7.9)
    assert misfits(exchanged) == ["ball_diameter 39 is not smaller than pitch_diameter 7.9; are they exchanged?"]
    crowded = Bearing(balls=19, ball_diameter=7.94, pitch_diameter=39.04)
    assert misfits(crowded) == ["19 balls of 7.94 do not fit a pitch circle of 39.04: each has room for 6.426"]


def test_what_a_maker_states_must_agree_with_the_geometry() -> None:
    """Stated orders that are impossible or of another bearing are refused; rounded to three digits they agree."""
    stated = StatedOrders(bpfo=3.58, bpfi=5.42, bsf=2.36, ftf=0.398)
    assert misfits(CWRU.model_copy(update={"orders": stated})) == []
    complement = stated.model_copy(update={"ftf": 0.602})
    expected = ["FTF is 0.602 x shaft but must be BPFO / rolling elements = 0.3978"]
    assert misfits(CWRU.model_copy(update={"orders": complement})) == expected
    thicker = CWRU.model_copy(update={"orders": stated, "ball_diameter": 0.33})
    assert misfits(thicker)[0] == "BPFO is stated as 3.58 x shaft, but the geometry gives 3.534"


def test_wrong_fault_frequencies_in_a_file_are_found(shared_data: Path) -> None:
    """MFPT's records store the complement of the cage's frequency; their other figures agree."""
    record = loadmat(shared_data / "mfpt" / "InnerRaceFault_vload_1.mat", squeeze_me=True)
    stored = {name: float(record[name]) / 25 for name in ("BPFO", "BPFI", "BSF", "FTF")}
    given = FaultOrders(bpfo=stored["BPFO"], bpfi=stored["BPFI"], bsf2=2 * stored["BSF"], ftf=stored["FTF"])
    assert implausible(given, 8) == ["FTF is 0.5935 x shaft but must be BPFO / rolling elements = 0.4056"]
    assert implausible(given, 9)[0] == "BPFO + BPFI is 8 x shaft but must be the number of rolling elements = 9"
