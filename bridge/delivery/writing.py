"""Writes samples and stretches to a sink except for those that it rejects, which go to quarantine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import polars as pl

from bridge.drivers.raw_rows import number_of_samples
from bridge.edge.batches import Batches
from bridge.edge.quarantine import Quarantine
from bridge.edge.quarantine_rows import rejected
from historian.errors import InvalidBatch
from historian.samples import SampleBatch
from historian.stores.protocols import Sink
from historian.waveforms.batch import WaveformBatch

REFUSED: Final = "the store refused it"

_Write = Callable[[pl.DataFrame, str, datetime], None]
"""Writes rows of one kind, given the source and the time."""


class Writer:
    """Writes to one sink; what it rejects is found by halves, so that one invalid sample holds up no other."""

    def __init__(self, sink: Sink, quarantine: Quarantine, *, name: str) -> None:
        """Create a writer.

        Args:
            sink: the sink to write to.
            quarantine: where rejected rows go.
            name: name of the sink, the origin of rejected rows.
        """
        self._sink = sink
        self._quarantine = quarantine
        self._name = name

    def write(self, batches: Batches, *, source: str, now: datetime) -> int:
        """Write both kinds and return how many samples the sink has accepted.

        Raises:
            StoreUnavailable: some of it may have been written; write it again later.
            AccessDenied: the sink does not let us write.
            SpoolFull: the quarantine cannot be written.
        """
        samples, waveforms = batches
        return self._write(samples, self._samples, source, now) + self._write(waveforms, self._waveforms, source, now)

    def _write(self, rows: pl.DataFrame, write: _Write, source: str, now: datetime) -> int:
        if rows.is_empty():
            return 0
        try:
            write(rows, source, now)
        except InvalidBatch as error:
            if rows.height in (1, error.dropped):
                refused = rejected(rows, REFUSED, detail=str(error))
                self._quarantine.add(refused, source=source, origin=self._name, now=now)
                return 0
            half = rows.height // 2
            return sum(self._write(part, write, source, now) for part in (rows[:half], rows[half:]))
        return number_of_samples(rows)

    def _samples(self, rows: pl.DataFrame, source: str, now: datetime) -> None:
        self._sink.write(SampleBatch(rows), source=source, now=now)

    def _waveforms(self, rows: pl.DataFrame, source: str, now: datetime) -> None:
        self._sink.write_waveforms(WaveformBatch(rows), source=source, now=now)
