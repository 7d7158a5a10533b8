"""`penstock compute --follow`: round after round, until it is told to stop.

Each round takes in what the ledger says has changed since the last one, computes, appends, and writes the new rows
online. A round is a run like any other: killed anywhere, the next one repeats what is not stored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from threading import Event
from time import monotonic
from typing import Final

from features.compute.engines.processes import here
from features.compute.online_rows import Online, online_rows
from features.compute.plan import budget
from features.compute.run import MEMORY, ViewJob, chosen_views
from features.feast.registry.feast_repo import open_feature_store
from historian.cli.console import answer
from historian.errors import InvalidInput, StoreUnavailable
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.stores.protocols import Reader
from historian.times import parse_duration, utc_now

_LONGEST_WAIT: Final = 60.0
"""Seconds before a store that failed is asked again."""


def follow_plant(plant: Plant, views: Sequence[str], *, every: str, memory: int, as_json: bool) -> None:
    """Follows the plant's own stores until SIGINT or SIGTERM; the round then under way is finished.

    Args:
        plant: whose.
        views: only these feature views; all if empty.
        every: how often to look, as a duration.
        memory: bytes that samples and rows of a part may take.
        as_json: whether to tell what was done for machines.

    Raises:
        InvalidInput: `every` is no duration.
        NotEnoughData: no features are registered.
    """
    try:
        pause = parse_duration(every).total_seconds()
    except ValueError as error:
        raise InvalidInput(f"--every: {error}") from None
    stop = Event()
    online = online_rows(open_feature_store(plant), utc_now)
    follower = Follower(plant, open_store(plant), utc_now, views, online, memory=memory)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    follower.run(stop, pause=pause, tell=partial(answer, as_json=as_json))


def wait_after(failures: int) -> float:
    """Seconds after so many failures in a row: 0, 1, 3, 7, to a minute at most, however long it lasts."""
    return min(2.0 ** min(failures, 16) - 1, _LONGEST_WAIT)


class Follower:
    """Keeps feature tables and the online store up to date with a store that is being written to."""

    def __init__(
        self,
        plant: Plant,
        store: Reader,
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
        self._engine = here(store)
        self._budget = budget(memory, 1)

    def run(self, stop: Event, *, pause: float, tell: Callable[[Mapping[str, object], str], None]) -> None:
        """Does a round every `pause` seconds, or as fast as it goes, until `stop` is set.

        Args:
            stop: looked at after each round.
            pause: seconds from the start of a round to that of the next.
            tell: called with what a round did, for machines and for people; not where it had nothing to do.
        """
        failures, behind = 0, True
        while not stop.is_set():
            begun = monotonic()
            try:
                self._jobs = self._jobs or self._open()
                if behind:  # what was stored before, or when writing online failed
                    self._online.catch_up()
                    behind = False
                for record, text in self._round():
                    tell(record, text)
                failures = 0
            except StoreUnavailable as error:
                # A store may be restarting, or another compute be at work; nothing is lost.
                failures, behind, self._jobs = failures + 1, True, []
                tell({"error": str(error)}, f"{error}; trying again")
            stop.wait(max(pause - (monotonic() - begun), wait_after(failures)))

    def _round(self) -> list[tuple[Mapping[str, object], str]]:
        said: list[tuple[Mapping[str, object], str]] = []
        for job in self._jobs:
            begun = monotonic()
            due = job.due(self._budget)
            if due.progress is None:
                continue
            report = job.run(due, self._engine, appended=self._online.write)
            seconds = round(monotonic() - begun, 3)
            if report.windows:
                text = f"{job.view.name}: {report.feature_rows} new rows of {report.windows} windows in {seconds:.2f} s"
                said.append(({"view": job.view.name, **asdict(report), "seconds": seconds}, text))
        return said
