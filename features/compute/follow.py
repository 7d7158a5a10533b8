"""Follow a store that is being written to: round after round, until stopped.

Each round takes in what the ledger says has changed since the last one, computes, appends, and writes the new rows
online. A round is a run like any other: killed anywhere, the next one repeats what is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from time import monotonic
from typing import Final

from features.compute.engines.processes import in_process
from features.compute.online_rows import Online, online_rows
from features.compute.run import MEMORY, ViewJob, ViewReport, chosen_views
from features.compute.splitting import budget
from features.feast.registry.feast_repo import open_feature_store
from historian.errors import StoreUnavailable
from historian.plant.plant import Plant
from historian.stores.protocols import Store

_LONGEST_WAIT: Final = 60.0
"""Seconds before a store that failed is tried again."""


@dataclass(frozen=True)
class RoundReport:
    """What a round did for a view."""

    view: str
    report: ViewReport
    seconds: float


@dataclass(frozen=True)
class RoundFailure:
    """A round that could not be done, and is tried again."""

    error: str


Report = Callable[[RoundReport | RoundFailure], None]


def plant_follower(
    plant: Plant, store: Store, clock: Callable[[], datetime], views: Sequence[str], *, memory: int
) -> Follower:
    """Return a follower of a plant's store that writes to the plant's online store.

    Args:
        plant: the plant.
        store: where the samples are.
        clock: returns the time.
        views: names of views; all if empty.
        memory: bytes that samples and rows of a partition may take.

    Raises:
        UnknownFeature: there is no such view.
        NotEnoughData: no features are registered.
    """
    return Follower(plant, store, clock, views, online_rows(open_feature_store(plant), clock), memory=memory)


def wait_after(failures: int) -> float:
    """Return seconds to wait after so many failures in a row: 0, 1, 3, 7, to a minute at most."""
    return min(2.0 ** min(failures, 16) - 1, _LONGEST_WAIT)


class Follower:
    """Keeps feature tables and the online store up to date with a store that is being written to."""

    def __init__(
        self,
        plant: Plant,
        store: Store,
        clock: Callable[[], datetime],
        views: Sequence[str],
        online: Online,
        *,
        memory: int = MEMORY,
    ) -> None:
        self._open: Callable[[], list[ViewJob]] = lambda: [
            ViewJob(plant, view, store, clock) for view in chosen_views(plant, views)
        ]
        self._jobs = self._open()
        self._online = online
        self._engine = in_process(store)
        self._budget = budget(memory, 1)

    def run(self, stop: Event, *, pause: float, report: Report) -> None:
        """Do a round every `pause` seconds, or as fast as it goes, until `stop` is set.

        Args:
            stop: checked after each round.
            pause: seconds from the start of a round to that of the next.
            report: called after each round that did something or failed.
        """
        failures, behind = 0, True
        while not stop.is_set():
            begun = monotonic()
            try:
                self._jobs = self._jobs or self._open()
                if behind:  # what was stored before, or when writing online failed
                    self._online.catch_up()
                    behind = False
                for done in self.round():
                    report(done)
                failures = 0
            except StoreUnavailable as error:
                # A store may be restarting, or another compute running; nothing is lost.
                failures, behind, self._jobs = failures + 1, True, []
                report(RoundFailure(str(error)))
            stop.wait(max(pause - (monotonic() - begun), wait_after(failures)))

    def round(self) -> list[RoundReport]:
        """Compute what is new for each view, and write it online; return what was done for views with new windows.

        Raises:
            StoreUnavailable: a store cannot be used, or another run was faster.
        """
        return list(self._views())

    def _views(self) -> Iterator[RoundReport]:
        for job in self._jobs:
            begun = monotonic()
            plan = job.plan(self._budget)
            if plan.progress is None:
                continue
            done = job.run(plan, self._engine, appended=self._online.write)
            if done.windows:
                yield RoundReport(job.view.name, done, round(monotonic() - begun, 3))
