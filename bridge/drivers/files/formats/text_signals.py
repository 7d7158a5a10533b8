"""Waveforms in text: a tag a column of numbers; a column of seconds is compared with the sample rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from bridge.drivers.files.fields import numbers
from bridge.drivers.files.formats.signals import Held, Signals
from bridge.drivers.files.formats.text import TextTable
from bridge.drivers.files.names import place_of
from bridge.drivers.files.opening import ArchiveFile
from bridge.drivers.files.options import Options
from bridge.drivers.files.times import FAULT, GIVEN, ROW
from historian.errors import SourceError

_ELAPSED: Final = "#elapsed"
_LEAST: Final = 3
"""Fewest rows in which a column can be seen to rise evenly."""
_UNEVEN: Final = 0.5
"""How far a rounded time may be from its place, in steps."""


class TextSignals:
    """The `SignalFile` in text; an address is the column's number from 1, or its name if there is a header."""

    def __init__(self, file: ArchiveFile, options: Options) -> None:
        self._file = file
        self._options = options
        self._table = TextTable(file, options)

    def held(self, addresses: Sequence[str]) -> Held:
        """See `SignalFile.held`."""
        names = self._table.names
        absent = {address for address in addresses if place_of(names, address) is None}
        return Held(names, absent, self._file.most_bytes)

    def signals(self, addresses: Sequence[str]) -> Signals:
        """See `SignalFile.signals`; a cell that is no number is a problem of its column, an empty one is NaN."""
        names = self._table.names
        places = {address: place for address in addresses if (place := place_of(names, address)) is not None}
        timed = self._timed(places)
        rows = self._rows({**places, **({} if timed is None else {_ELAPSED: timed})})
        values, problems = dict[str, pl.Series](), list[str]()
        for address in places:
            values[address] = self._numbers(rows, address)
            if problem := _not_a_number(rows, address, values[address]):
                del values[address]
                problems.append(problem)
        if timed is None or rows.is_empty():
            return Signals(values, problems=problems)
        rate = rate_of(self._numbers(rows, _ELAPSED), declared=bool(self._options.elapsed))
        return Signals(values, {} if rate is None else dict.fromkeys(values, rate), problems)

    def _timed(self, places: Mapping[str, int]) -> int | None:
        """Return the place of the column of seconds: the declared one, or the first one if it is no tag's."""
        elapsed = self._options.elapsed
        if elapsed is None:
            return None if 0 in places.values() else 0
        place = place_of(self._table.names, elapsed) if elapsed else None
        if elapsed and place is None:
            raise SourceError(f"there is no column {elapsed}; see elapsed")
        return place

    def _rows(self, columns: Mapping[str, int]) -> pl.DataFrame:
        pieces = list(self._table.pieces(columns))
        malformed = pl.concat([piece.malformed for piece in pieces])
        if malformed.height:  # a row left out would shift all that follow
            row, given, fault = malformed.sort(ROW).select(ROW, GIVEN, FAULT).row(0)
            raise SourceError(f'row {row}: {fault}: "{given[:100]}"')
        return pl.concat([piece.rows for piece in pieces])

    def _numbers(self, rows: pl.DataFrame, column: str) -> pl.Series:
        return rows.select(numbers(pl.col(column).str.strip_chars(), self._options)).to_series()


def _not_a_number(rows: pl.DataFrame, address: str, values: pl.Series) -> str:
    """Return the message for the first cell that is no number; empty if there is none."""
    wrong = rows.filter(values.is_null() & (rows[address].str.strip_chars() != "")).select(ROW, address).head(1)
    if wrong.is_empty():
        return ""
    row, cell = wrong.row(0)
    return f'row {row}, column {address}: "{cell}" is not a number; see skip_rows, header and decimal'


def rate_of(times: pl.Series, *, declared: bool) -> float | None:
    """Return the sample rate in Hz that a column of seconds has; None if it does not rise evenly, or counts rows.

    Raises:
        SourceError: the column is declared to be one of seconds, and does not rise evenly.
    """
    count = len(times)
    known = count >= _LEAST and not times.null_count()
    step = (times[-1] - times[0]) / (count - 1) if known else 0.0
    even = step > 0 and bool(np.all(np.abs(times.to_numpy() - times[0] - step * np.arange(count)) < _UNEVEN * step))
    if declared and not even:
        raise SourceError("the times of the column that elapsed names do not rise evenly")
    return 1 / step if even and (declared or step != 1) else None
