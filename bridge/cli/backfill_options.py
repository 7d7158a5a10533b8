"""The options of a backfill on the command line, and the parameters that they give."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from bridge.run.backfill_job import BackfillParameters
from historian.times import parse_instant


class OrderName(StrEnum):
    """Which slice is read first."""

    oldest = "oldest"
    newest = "newest"


StartOption = Annotated[
    str | None, typer.Option("--start", help="Start of the range, such as 2026-03-01T00:00:00Z or now-7d.")
]
EndOption = Annotated[str | None, typer.Option("--end", help="End of the range, excluded.")]
AgainOption = Annotated[
    bool,
    typer.Option(
        "--again", help="Also read intervals that were read before, because an address was wrong or a file came late."
    ),
]
OrderOption = Annotated[OrderName, typer.Option("--order", help="Which slices are read first: oldest or newest.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, help="Slices read at the same time, if the archive allows several.")
]
RateOption = Annotated[
    float | None, typer.Option("--rate", min=1, help="At most so many samples a second; no limit if absent.")
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        help="Hours of the day in which it may run, such as 22:00-05:00 of this machine's time zone or "
        '"22:00-05:00 Europe/Berlin".',
    ),
]


def parameters_of(  # noqa: PLR0913 (a parameter an option)
    archives: tuple[str, ...],
    *,
    start: str | None,
    end: str | None,
    again: bool,
    order: OrderName,
    workers: int,
    rate: float | None,
    window: str | None,
    now: datetime,
) -> BackfillParameters:
    """Return the parameters that options give.

    Raises:
        InvalidInput: a time cannot be read, or the window is none.
    """
    first, last = (parse_instant(text, now=now) if text else None for text in (start, end))
    found = BackfillParameters(
        archives=archives,
        start=first,
        end=last,
        again=again,
        order=order.value,
        workers=workers,
        samples_per_s=rate,
        window=window,
    )
    found.wanted((), patient=False)  # a window that is none is a mistake now, not at night
    return found
