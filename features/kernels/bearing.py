"""Fault frequencies of a rolling bearing from its geometry, and checks of stated fault frequencies.

The inner ring turns with the shaft and the outer ring stands still; balls or rollers roll without slip. With n rolling
elements, r = (ball diameter/pitch diameter)·cos(contact angle) and everything in multiples of the shaft's speed:

    BPFO = n/2·(1 - r)    BPFI = n/2·(1 + r)    FTF = (1 - r)/2    2xBSF = (D/d)·(1 - r²)

Hence BPFO + BPFI = n and BPFO = n·FTF for every geometry, which reveals most wrong entries. Source: Randall and
Antoni, "Rolling element bearing diagnostics", MSSP 25 (2011) 485. Real bearings slip by 1 to 2 %.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import cos, isclose, pi, radians, sin
from typing import Final

from historian.plant.model import Bearing

_AGREE: Final = 0.01
"""Relative tolerance of stated orders: catalogues round to three digits, and wrong entries differ by far more."""


@dataclass(frozen=True)
class FaultOrders:
    """The fault frequencies of a bearing in multiples of the shaft's speed."""

    bpfo: float
    """Outer race (BPFO): rolling elements that pass a point of it per turn."""
    bpfi: float
    """Inner race (BPFI): rolling elements that pass a point of it per turn."""
    bsf2: float
    """Rolling element (2xBSF): twice its spin frequency, since a flaw strikes both races in one turn."""
    ftf: float
    """Cage (FTF): its turns per turn of the shaft."""


def fault_orders(bearing: Bearing) -> FaultOrders:
    """Return the fault frequencies that follow from the geometry, by the formulas of this module."""
    slenderness = bearing.ball_diameter / bearing.pitch_diameter
    r = slenderness * cos(radians(bearing.contact_angle))
    half = bearing.balls / 2
    return FaultOrders(bpfo=half * (1 - r), bpfi=half * (1 + r), bsf2=(1 - r * r) / slenderness, ftf=(1 - r) / 2)


def misfits(bearing: Bearing) -> list[str]:
    """Return why the geometry is impossible, or where stated orders contradict it; an empty list if all is possible."""
    ball, pitch = bearing.ball_diameter, bearing.pitch_diameter
    if ball >= pitch:
        return [f"ball_diameter {ball:g} is not smaller than pitch_diameter {pitch:g}; are they exchanged?"]
    room = pitch * sin(pi / bearing.balls)  # neighbours on the pitch circle, centre to centre
    if ball > room:
        return [
            f"{bearing.balls} balls of {ball:g} do not fit a pitch circle of {pitch:g}: each has room for {room:.4g}"
        ]
    return _contradictions(bearing)


def _contradictions(bearing: Bearing) -> list[str]:
    """Return which of the stated orders are impossible or belong to another geometry."""
    if bearing.orders is None:
        return []
    stated = bearing.orders
    given = FaultOrders(bpfo=stated.bpfo, bpfi=stated.bpfi, bsf2=2 * stated.bsf, ftf=stated.ftf)
    pairs = zip(astuple(given), astuple(fault_orders(bearing)), ("BPFO", "BPFI", "2xBSF", "FTF"), strict=True)
    return implausible(given, bearing.balls) or [
        f"{name} is stated as {stated_order:.4g} x shaft, but the geometry gives {computed:.4g}"
        for stated_order, computed, name in pairs
        if not isclose(stated_order, computed, rel_tol=_AGREE)
    ]


def implausible(given: FaultOrders, balls: int) -> list[str]:
    """Return why given fault frequencies cannot be those of a bearing with that many rolling elements.

    Args:
        given: stated frequencies divided by the shaft's frequency.
        balls: number of rolling elements.
    """
    rules = [
        ("BPFO + BPFI", given.bpfo + given.bpfi, "the number of rolling elements", balls),
        ("FTF", given.ftf, "BPFO / rolling elements", given.bpfo / balls),
    ]
    return [
        f"{name} is {value:.4g} x shaft but must be {what} = {expected:.4g}"
        for name, value, what, expected in rules
        if not isclose(value, expected, rel_tol=_AGREE)
    ]
