"""When a backfill may go on: hours of the day, a rate, and live data that goes first. Pure.

Everything takes the time as an argument and returns how many seconds to rest.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from historian.errors import InvalidInput

LOOK_S: Final = 1.0
"""Seconds between two looks at whether it may go on, while it may not."""
BEHIND_S: Final = 5.0
"""Seconds of live samples that may wait in the spool; with more, live data is behind and a backfill rests."""
SLOWED: Final = 3.0
"""How many times longer than usual a step takes when the other side is busy."""

_STEPS: Final = 32
"""Number of the last steps among which the usual time of one is found."""
_FEWEST: Final = 5
"""Number of steps before which it is unknown what is usual."""
_LONGEST_REST_S: Final = 30.0
_HOURS: Final = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)(?: (\S+))?")


@dataclass(frozen=True)
class Hours:
    """Hours of the day in which a backfill may run; those from 22:00 to 05:00 go over midnight."""

    start: time
    end: time
    zone: ZoneInfo | None = None
    """The time zone; that of this machine if None."""

    def until_open(self, now: datetime) -> float:
        """Return the seconds until the hours begin; 0 within them."""
        local = now.astimezone(self.zone)
        inside = self.start <= (clock := local.time()) < self.end
        over_midnight = self.start > self.end and not self.end <= clock < self.start
        if inside or over_midnight:
            return 0.0
        today = local.replace(hour=self.start.hour, minute=self.start.minute, second=0, microsecond=0)
        opens = today if today > local else today + timedelta(days=1)
        return max(LOOK_S, opens.timestamp() - now.timestamp())


def parse_hours(text: str) -> Hours:
    """Parse `22:00-05:00`, perhaps with a time zone: `22:00-05:00 Europe/Berlin`.

    Raises:
        InvalidInput: it is none, or the zone is unknown.
    """
    found = _HOURS.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError("no hours")
        first, second, third, fourth = map(int, found.groups()[:4])
        hours = Hours(time(first, second), time(third, fourth), ZoneInfo(found[5]) if found[5] else None)
    except (ValueError, OSError, LookupError):
        raise InvalidInput(
            f"--window: {text!r} is not hours of a day; write 22:00-05:00 or 22:00-05:00 Europe/Berlin"
        ) from None
    if hours.start == hours.end:
        raise InvalidInput(f"--window: {text!r} begins when it ends; leave it out to run at any hour")
    return hours


def rest_for_rate(samples: int, elapsed_s: float, per_second: float | None) -> float:
    """Return the seconds to rest so that `samples` in `elapsed_s` seconds are no more than a rate; 0 without one."""
    return max(0.0, samples / per_second - elapsed_s) if per_second else 0.0


@dataclass
class Steadiness:
    """Notices when a store or a source becomes slow: then every step is followed by a rest as long as the step."""

    _per_sample: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS))

    def rest(self, samples: int, took_s: float) -> float:
        """Return the seconds to rest after a step that moved some samples; 0 while it takes the usual time."""
        if samples <= 0:
            return 0.0
        each, known = took_s / samples, sorted(self._per_sample)
        self._per_sample.append(each)
        slow = len(known) >= _FEWEST and each > SLOWED * known[len(known) // 2]
        return min(took_s, _LONGEST_REST_S) if slow else 0.0


class Flow(NamedTuple):
    """What a live source has brought so far, and what of it waits."""

    accepted: int
    """Number of samples that the spool has accepted."""
    waiting: int
    """Number of them that the store has not."""


class LiveBacklog:
    """Notices when live samples wait in the spool for longer than usual, while the bridge runs."""

    def __init__(self) -> None:
        self._seen: Mapping[str, Flow] = {}
        self._at: datetime | None = None
        self._behind = False

    def rest(self, flows: Mapping[str, Flow], now: datetime) -> float:
        """Return `LOOK_S` while live data is behind, otherwise 0. The first look only remembers.

        Args:
            flows: live source -> its flow.
            now: the time of the look.
        """
        if self._at is None or not timedelta(0) <= now - self._at < timedelta(seconds=LOOK_S):
            elapsed = (now - self._at).total_seconds() if self._at is not None else 0.0
            self._behind = elapsed > 0 and any(
                _is_behind(self._seen.get(name, flow), flow, elapsed) for name, flow in flows.items()
            )
            self._seen, self._at = dict(flows), now
        return LOOK_S if self._behind else 0.0


def _is_behind(before: Flow, now: Flow, elapsed_s: float) -> bool:
    """Return whether more samples wait than arrive, or than are delivered, in `BEHIND_S`; no if nothing moves."""
    arrived = now.accepted - before.accepted
    delivered = arrived - (now.waiting - before.waiting)
    moved = max(arrived, delivered)
    return moved > 0 and now.waiting > BEHIND_S * moved / elapsed_s
