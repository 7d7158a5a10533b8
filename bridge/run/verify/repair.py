"""Reads again what differs, through the path of every backfill; a policy decides about what contradicts the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from bridge.edge.database import Edge
from bridge.run.backfills import Wanted, run_backfills
from bridge.run.verify.comparison import Day, Key
from bridge.run.verify.holding_back import Spans, holding_back, spans_of
from historian.plant.connections import ConnectionConfig
from historian.stores.protocols import Store
from historian.times import from_micros

Policy = Literal["source-wins", "keep-first", "quarantine"]
"""What becomes of a sample of which both sides have different values. `source-wins`: that of the source replaces it;
`keep-first`: that of the store stays; `quarantine`: it stays, and that of the source goes to quarantine."""


@dataclass(frozen=True)
class Reread:
    """A range of time that is read again, and its tags."""

    tags: tuple[str, ...]
    start: datetime
    end: datetime
    day: datetime
    """The first instant of the day that it belongs to."""


def rereads(days: Mapping[Key, Day], slacks: Mapping[str, int], policy: Policy) -> list[Reread]:
    """Return what is to be read again, a range a day, in the order of time.

    What the source lacks is not among it: reading cannot bring it, and nothing in the store is ever deleted.

    Args:
        days: what was found.
        slacks: tag -> microseconds by which the times of a sample may be apart.
        policy: says whether changed samples are read again.
    """
    wanted: dict[datetime, list[tuple[str, Day]]] = {}
    for key, day in sorted(days.items(), key=lambda item: (item[0].start, item[0].tag)):
        if day.missing or (day.changed and policy != "keep-first"):
            wanted.setdefault(key.start, []).append((key.tag, day))
    return [_reread(start, found, slacks) for start, found in wanted.items()]


def _reread(start: datetime, found: Sequence[tuple[str, Day]], slacks: Mapping[str, int]) -> Reread:
    spans = [(day.span[0] - slacks[tag], day.span[1] + slacks[tag]) for tag, day in found if day.span]
    first, last = min(low for low, _ in spans), max(high for _, high in spans)
    return Reread(tuple(tag for tag, _ in found), from_micros(first), from_micros(last + 1), start)


def contradictions(days: Mapping[Key, Day], slacks: Mapping[str, int]) -> dict[str, Spans]:
    """Return tag -> the spans in which samples of the source contradict the store."""
    found: dict[str, list[Day]] = {}
    for key, day in sorted(days.items()):
        if day.changed:
            found.setdefault(key.tag, []).append(day)
    return {
        tag: spans_of([times for day in some for times in day.changed_at], slacks[tag]) for tag, some in found.items()
    }


async def read_again(
    connection: ConnectionConfig,
    edge: Edge,
    store: Store,
    ranges: Sequence[Reread],
    *,
    policy: Policy,
    contrary: Mapping[str, Spans],
) -> list[str]:
    """Read ranges of an archive into the store once more.

    Args:
        connection: the archive.
        edge: the edge database.
        store: the store to write to.
        ranges: what to read.
        policy: what becomes of samples that contradict the store.
        contrary: tag -> the spans in which there are such samples.

    Returns:
        What could not be read.

    Raises:
        AccessDenied: the store does not let us write.
    """
    failures = []
    for each in ranges:
        few = replace(connection, tags=tuple(tag for tag in connection.tags if tag.name in each.tags))
        if policy != "source-wins":
            few = holding_back(few, contrary, to_quarantine=policy == "quarantine")
        reports = await run_backfills(
            [few], edge, store, wanted=Wanted(each.start, each.end, again=True), dry_run=False, progress=_silent
        )
        failures += [report.failure for report in reports.values() if report.failure]
    return failures


def _silent(_: object, slices: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _: None)
