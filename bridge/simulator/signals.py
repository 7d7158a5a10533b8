"""The compressor's signals as pure functions of time.

Every value, noise included, is a function of its instant and the seed alone: live bursts, history files and labels
agree at every instant, in whatever order they are computed. Instants are int64 arrays of microseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from historian.times import micros

Instants = NDArray[np.int64]
Values = NDArray[np.float64]
Direction = Literal["de_h", "de_v"]

SAMPLE_RATE: Final = 25_600.0
BURST_SAMPLES: Final = 2_560
BURST: Final = timedelta(seconds=BURST_SAMPLES / SAMPLE_RATE)
BALLS, BALL_DIAMETER, PITCH_DIAMETER = 9, 7.94, 39.04
BPFO: Final = BALLS / 2 * (1 - BALL_DIAMETER / PITCH_DIAMETER)
"""Ball passes over a point of the outer race per turn of the shaft, at contact angle 0."""

_RPM: Final = 1_480.0
_SPEED_WANDER: Final = ((6.0, 600.0), (2.0, 83.0))
"""Slow changes of speed: (amplitude in rpm, period in s)."""
_HARMONICS: Final = ((1, 0.25), (2, 0.12), (3, 0.06))
"""Imbalance and misalignment: (order of the shaft, amplitude in g)."""
_NOISE_G: Final = 0.35
_IMPACT_G: Final = 27.0
"""First peak of the ringing after an impact at severity 1: about 4 g RMS."""
_RINGING_S: Final = 1e-3
_RESONANCE_HZ: Final[dict[Direction, float]] = {"de_h": 3_200.0, "de_v": 3_150.0}
_GAIN: Final[dict[Direction, float]] = {"de_h": 1.0, "de_v": 0.7}
_LAG: Final[dict[Direction, float]] = {"de_h": 0.0, "de_v": 0.4 * np.pi}
_CYCLE_S, _RUNNING_S, _IDLE_S = 1_200.0, 960.0, 180.0
_LOADED_BAR, _UNLOADED_BAR = 8.2, 6.9


@dataclass(frozen=True)
class Compressor:
    """One compressor whose outer race begins to fail at `fault_from` and is as bad as it gets at `fault_until`."""

    fault_from: datetime
    fault_until: datetime
    seed: int = 0

    def severity(self, at: Instants) -> Values:
        """Return the severity of the fault, 0 for a healthy bearing to 1; labels are made from it."""
        grown = micros(self.fault_until) - micros(self.fault_from)
        grade: Values = np.clip((at - micros(self.fault_from)) / grown, 0.0, 1.0)
        return grade

    def acceleration(self, direction: Direction, at: Instants) -> Values:
        """Return the vibration in g. Both directions have the same impacts and part of the noise in common."""
        turns = self._turns(at)
        lag, gain = _LAG[direction], _GAIN[direction]
        shaft: Values = np.sum([size * np.sin(2 * np.pi * order * turns - lag) for order, size in _HARMONICS], axis=0)
        noise = self._noise("common", at)
        if direction == "de_v":
            noise = 0.6 * noise + 0.8 * self._noise("vertical", at)
        return gain * (shaft + self._ringing(direction, turns, at)) + _NOISE_G * noise

    def speed(self, at: Instants) -> Values:
        """Return the shaft speed in rpm."""
        seconds = self._seconds(at)
        wander: Values = np.sum([size * np.cos(2 * np.pi * seconds / period) for size, period in _SPEED_WANDER], axis=0)
        return _RPM + wander

    def oil_temp(self, at: Instants) -> Values:
        """Return the oil temperature in degC: a slow oscillation and the heat of the failing bearing."""
        swing = 4.0 * np.sin(2 * np.pi * self._seconds(at) / 3_600.0)
        return 58.0 + swing + 8.0 * self.severity(at) + 0.03 * self._noise("oil", at)

    def discharge_pressure(self, at: Instants) -> Values:
        """Return the discharge pressure in bar: rises while running, falls while idle."""
        place = self._place_in_cycle(at)
        span = _LOADED_BAR - _UNLOADED_BAR
        running = _LOADED_BAR - span * np.exp(-place / 30.0)
        idle = _UNLOADED_BAR + span * np.exp(-(place - _RUNNING_S).clip(0) / 20.0)
        return np.where(place < _RUNNING_S, running, idle) + 0.01 * self._noise("pressure", at)

    def state(self, at: Instants) -> NDArray[np.str_]:
        """Return the state of the controller: running, idle (turning unloaded) or starting (loading again)."""
        place = self._place_in_cycle(at)
        return np.where(place < _RUNNING_S, "running", np.where(place < _RUNNING_S + _IDLE_S, "idle", "starting"))

    def _seconds(self, at: Instants) -> Values:
        # Counted from near the instants given: float64 seconds since the epoch would blur a resonance's phase.
        seconds: Values = (at - micros(self.fault_from)) / 1e6
        return seconds

    def _turns(self, at: Instants) -> Values:
        """Return the turns of the shaft: the integral of its speed."""
        seconds = self._seconds(at)
        wander: Values = np.sum(
            [size * period * np.sin(2 * np.pi * seconds / period) for size, period in _SPEED_WANDER], axis=0
        )
        turns: Values = (_RPM * seconds + wander / (2 * np.pi)) / 60.0
        return turns

    def _ringing(self, direction: Direction, turns: Values, at: Instants) -> Values:
        """Return the resonance of the race, excited by each ball that rolls over the fault."""
        passes = BPFO * turns
        strike = np.floor(passes)
        since = (passes - strike) / (BPFO * _RPM / 60.0)
        strength = 1.0 + 0.25 * self._noise("strike", strike.astype(np.int64))
        ring = np.exp(-since / _RINGING_S) * np.sin(2 * np.pi * _RESONANCE_HZ[direction] * since)
        ringing: Values = _IMPACT_G * self.severity(at) * strength * ring
        return ringing

    def _place_in_cycle(self, at: Instants) -> Values:
        return (at / 1e6 + 97.0 * self.seed) % _CYCLE_S

    def _noise(self, channel: str, keys: Instants) -> Values:
        """Return Gaussian noise, mean 0 and deviation 1, as a function of its keys."""
        salt = int.from_bytes(channel.encode()[:6], "big") * 2_654_435_761 + self.seed
        hashed = _splitmix(keys.astype(np.uint64) ^ _splitmix(np.array([salt % 2**64], np.uint64)))
        high, low = (hashed >> np.uint64(32)) + np.uint64(1), hashed & np.uint64(0xFFFFFFFF)
        radius = np.sqrt(-2.0 * np.log(high / 2.0**32))
        noise: Values = radius * np.cos(2 * np.pi * (low / 2.0**32))
        return noise


def _splitmix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring keys give independent bits."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def burst_instants(start: datetime) -> Instants:
    """Return the instants of the samples of the burst that starts at `start`, rounded as the drivers round them."""
    offsets: Instants = np.rint(np.arange(BURST_SAMPLES) * 1e6 / SAMPLE_RATE).astype(np.int64)
    return offsets + micros(start)
