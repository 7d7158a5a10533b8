"""Repeats of unchanged values: a server that answers and reports no change says that the value still holds. Pure.

A repeat is stamped on the clock of its tag, and earlier than the answer by two publishing intervals: a change that the
server has seen but not sent yet is newer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from historian.quality import BAD
from historian.samples import SCHEMA
from historian.waveforms.timing import Booleans, Integers

_UNKNOWN: Final = np.iinfo(np.int64).max
_NEVER: Final = np.iinfo(np.int64).min


class Heartbeats:
    """The newest value of each channel, and when it was last reported."""

    def __init__(self, tags: Sequence[str], every_us: Sequence[int]) -> None:
        """Start without values.

        Args:
            tags: tag of each channel.
            every_us: how often its value is repeated, in microseconds; 0 for never.
        """
        size = len(tags)
        self._tags = pl.Series("tag", tags, pl.String())
        self._every = np.array(every_us, np.int64)
        self._number, self._is_number = np.zeros(size), np.zeros(size, np.bool_)
        self._text: NDArray[Any] = np.full(size, None, object)
        self._quality = np.full(size, BAD, np.uint32)
        self._time = np.full(size, _NEVER)
        self._reported = np.zeros(size, np.int64)
        self._lag = np.full(size, _UNKNOWN)
        self.clock_lag_us = 0
        """Lag of the server's clock behind ours; for tags whose own is not known."""
        self.margin_us = 0
        """Two publishing intervals."""

    @property
    def is_active(self) -> bool:
        """Whether any channel is repeated."""
        return bool(self._every.any())

    def follow(self, handle: Integers, samples: pl.DataFrame, received: Integers) -> None:
        """Take note of samples, in the order in which they arrived.

        Args:
            handle: [n] channel of each.
            samples: [n] columns of `samples.SCHEMA`.
            received: [n] when each arrived, in microseconds since the epoch.
        """
        if not len(handle):
            return
        time = samples["timestamp"].to_physical().to_numpy()
        known = self._time[handle] != _NEVER  # a value's first report may be much older than its arrival
        np.minimum.at(self._lag, handle[known], (received - time)[known])
        # Of a channel's samples, the last one counts.
        self._number[handle] = samples["value"].fill_null(0.0).to_numpy()
        self._is_number[handle] = samples["value"].is_not_null().to_numpy()
        has_texts = samples["text"].null_count() < samples.height
        self._text[handle] = samples["text"].to_numpy() if has_texts else None
        self._quality[handle] = samples["quality"].to_numpy()
        self._time[handle], self._reported[handle] = time, received

    def due(self, heard_us: int) -> pl.DataFrame:
        """Return the repeats that are due: columns of `samples.SCHEMA`.

        Args:
            heard_us: when the server answered last, in microseconds since the epoch.
        """
        stamp = self._stamps(heard_us)
        chosen = self._is_due(heard_us) & (stamp > self._time)
        if not chosen.any():
            return SCHEMA.to_frame()
        self._reported[chosen], self._time[chosen] = heard_us, stamp[chosen]
        return self._repeats(chosen)

    def _repeats(self, chosen: Booleans) -> pl.DataFrame:
        known = pl.Series(self._is_number[chosen])
        frame = pl.DataFrame(
            {
                "tag": self._tags.filter(pl.Series(chosen)),
                "timestamp": pl.Series(self._time[chosen]),
                "value": pl.Series(self._number[chosen]),
                "text": pl.Series(self._text[chosen].tolist(), dtype=pl.String()),
                "quality": pl.Series(self._quality[chosen]),
            }
        )
        return frame.with_columns(value=pl.when(known).then("value")).cast(SCHEMA)

    def _is_due(self, heard_us: int) -> Booleans:
        usable = (self._every > 0) & (self._quality < BAD) & (self._time != _NEVER)
        due: Booleans = usable & (heard_us - self._reported >= self._every)
        return due

    def _stamps(self, heard_us: int) -> Integers:
        lag = np.where(self._lag == _UNKNOWN, self.clock_lag_us, self._lag)
        stamps: Integers = heard_us - lag - self.margin_us
        return stamps
