"""Holds a backfill back: outside its hours, above its rate, while live data is behind, or a store or source is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.run.pace import Flow, Hours, LiveBacklog, Steadiness, rest_for_rate
from historian.times import utc_now


@dataclass(frozen=True)
class Limits:
    """What a backfill may use, and what goes before it."""

    workers: int = 1
    """Number of slices read at the same time, as far as the archive allows more than one."""
    samples_per_s: float | None = None
    """Largest number of samples per second; None for as many as possible."""
    hours: Hours | None = None
    """Hours of the day in which it may run; None for all."""
    live: tuple[str, ...] = ()
    """Names of the live sources, whose samples go first."""
    patient: bool = False
    """Whether to wait for ever for an archive or a store that is away."""


class Courtesy:
    """Rests before and after each step of a backfill, and knows why it rests."""

    def __init__(
        self,
        limits: Limits,
        edge: Edge,
        *,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Create it; nothing is looked at before the first step.

        Args:
            limits: what the backfill may use.
            edge: the edge database, whose spool shows how live data fares.
            clock: returns the current time.
            sleep: rests for some seconds.
        """
        self.reason = ""
        """Why it rests; empty while it does not."""
        self._limits = limits
        self._spool = Spool(edge)
        self._live = limits.live
        self._backlog = LiveBacklog()
        self._steadiness = {"store": Steadiness(), "source": Steadiness()}
        self._clock = clock
        self._sleep = sleep
        self._began: datetime | None = None
        self._moved = 0

    async def turn(self) -> None:
        """Wait until a step may begin."""
        while reason_and_rest := self._hindrance(self._clock()):
            self.reason, rest = reason_and_rest
            self._began = None  # the rate is that of the time it may run
            await self._sleep(rest)
        self.reason = ""

    async def moved(self, what: str, samples: int, took_s: float) -> None:
        """Rest after a step, if the store or the source was slow or the rate is used up.

        Args:
            what: `store` or `source`.
            samples: number of samples that the step moved.
            took_s: seconds that it took.
        """
        if rest := self._steadiness[what].rest(samples, took_s):
            await self._resting(f"the {what} is slow", rest)
        if what == "store":
            await self._keep_rate(samples)

    async def _keep_rate(self, samples: int) -> None:
        now = self._clock()
        if self._began is None:
            self._began, self._moved = now, 0
        self._moved += samples
        elapsed = (now - self._began).total_seconds()
        if rest := rest_for_rate(self._moved, elapsed, self._limits.samples_per_s):
            await self._resting(f"{self._limits.samples_per_s:,.0f} samples/s are allowed", rest)

    async def _resting(self, reason: str, rest_s: float) -> None:
        self.reason = reason
        await self._sleep(rest_s)
        self.reason = ""

    def _hindrance(self, now: datetime) -> tuple[str, float] | None:
        """Return why no step may begin now and for how long; None if one may."""
        hours = self._limits.hours
        if hours is not None and (rest := hours.until_open(now)):
            return f"its hours begin at {hours.start:%H:%M}", min(rest, 60.0)  # a clock may be set meanwhile
        if self._live and (rest := self._backlog.rest(self._flows(), now)):
            return "live data goes first", rest
        return None

    def _flows(self) -> dict[str, Flow]:
        accepted, waiting = self._spool.accepted(), self._spool.waiting()
        return {name: Flow(accepted.get(name, 0), waiting.get(name, 0)) for name in self._live}
