"""WAV files: a tag a channel, the sample rate in the header. Read by SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from bridge.drivers.files.formats.signals import Held, Signals
from bridge.drivers.files.opening import ArchiveFile, whole
from historian.errors import SourceError

_MIDDLE: Final = 128
"""What samples of 8 bits, which have no sign, are counted from."""
_UNUSED_BITS: Final = 8
"""SciPy returns samples of 24 bits as int32 with these bits empty."""


class WavFile:
    """The `SignalFile` in WAV; an address is the channel's number, counted from 1.

    Integers are counts of the converter, of which the tag list's `scale` makes units. Floats are as they are.
    """

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    def held(self, addresses: Sequence[str]) -> Held:
        """See `SignalFile.held`."""
        _, channels = self._opened()
        names = [str(number + 1) for number in range(channels.shape[1])]
        return Held(names, set(addresses) - set(names), len(channels))

    def signals(self, addresses: Sequence[str]) -> Signals:
        """See `SignalFile.signals`."""
        rate, channels = self._opened()
        if channels.dtype == np.uint8:
            channels = channels.astype(np.int16) - _MIDDLE
        present = [address for address in addresses if address.isdecimal() and 1 <= int(address) <= channels.shape[1]]
        values = {address: pl.Series(np.ascontiguousarray(channels[:, int(address) - 1])) for address in present}
        return Signals(values, dict.fromkeys(present, float(rate)))

    def _opened(self) -> tuple[int, npt.NDArray[Any]]:
        """Return the rate and [samples, channels], mapped to memory, so that only what is used is read."""
        from scipy.io import wavfile  # a third of the start of every command, for one format of several

        source, packed = whole(self._file), self._file.is_packed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that are not samples, such as `bext`
            try:
                rate, samples = wavfile.read(source, mmap=not packed)
            except ValueError as error:
                if "greater than file size" in str(error):
                    raise SourceError("it is truncated: its header announces more samples than it holds") from None
                if "3-byte" not in str(error):
                    raise
                rate, samples = wavfile.read(source)
                samples = samples >> _UNUSED_BITS
        return rate, samples.reshape(len(samples), -1)
