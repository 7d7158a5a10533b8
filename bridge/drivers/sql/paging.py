"""Reads a range of time in pages of bounded size, each sample exactly once, however many share a time. Pure.

A page is what a window of time holds. The windows follow the density of the samples, so that the server finds each by
its index and never sorts more than a page. Of a page that is full, the samples of its last time are held back: there
may be more of them, and the next page begins with this time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from historian.errors import SourceError

TIME: Final = "#time"
"""Column of times in microseconds, by which pages follow one another."""
_FIRST_US: Final = 60_000_000
_FILL: Final = 0.7
"""Share of a page that a window is to fill, so that it seldom overflows."""
_MOST_GROWTH: Final = 16

Fetch = Callable[[int, int, int], pl.DataFrame]
"""Given start, end and a number of rows: returns the first so many rows of start <= time < end in order of `TIME`."""


def pages(fetch: Fetch, start: int, end: int, rows: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of start <= time < end, in order of time.

    Args:
        fetch: reads the rows; see `Fetch`.
        start: in microseconds.
        end: in microseconds.
        rows: largest number of rows in a page; more only if more have the same time.

    Raises:
        SourceError: a row is outside the window that it was read for.
    """
    at, limit, window = start, rows, _FIRST_US
    while at < end:
        until = min(at + window, end)
        found = fetch(at, until, limit)
        _check(found, at, until)
        if found.height < limit:
            if found.height:
                yield found
            at, window, limit = until, _next(window, found.height, rows), rows
            continue
        last = found[TIME][-1]
        complete = found.filter(pl.col(TIME) < last)
        if complete.is_empty():
            limit *= 2  # more samples of one time than a page holds
            continue
        yield complete
        at, window, limit = last, max(_next(last - at, complete.height, rows), 1), rows


def _next(window: int, height: int, rows: int) -> int:
    """Return the length of the next window, given how many rows the one before had."""
    growth = _FILL * rows / height if height else _MOST_GROWTH
    return max(int(window * min(growth, _MOST_GROWTH)), 1)


def _check(found: pl.DataFrame, start: int, end: int) -> None:
    if found.is_empty():
        return
    times = found[TIME]
    if times.null_count():
        raise SourceError("the query returns rows without a timestamp; leave them out in it")
    if not times.is_between(start, end, closed="left").all():
        raise SourceError("the query returns rows outside its range; write timestamp >= :start AND timestamp < :end")
