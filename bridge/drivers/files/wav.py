"""WAV files: a burst a file, a tag a channel, the sample rate in the header. Read by SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.errors import SourceError

_MIDDLE: Final = 128
"""What samples of 8 bits, which have no sign, are counted from."""
_UNUSED_BITS: Final = 8
"""SciPy returns samples of 24 bits as int32 with these bits empty."""


class _Audio(NamedTuple):
    rate: int
    samples: npt.NDArray[Any]
    """[samples, channels], or [samples] of a single channel."""


def wav_rate(path: Path) -> int:
    """Return the sample rate in the header, in Hz."""
    return _opened(path).rate


def wav_channels(path: Path, addresses: Sequence[str]) -> dict[str, pl.Series]:
    """Return channels as a series each; an address is the channel's number, counted from 1.

    Integers are counts of the converter; the tag list's `scale` makes units of them. Floats are as they are.
    """
    samples = _opened(path).samples
    channels = samples.reshape(len(samples), -1)
    if channels.dtype == np.uint8:
        channels = channels.astype(np.int16) - _MIDDLE
    present = [address for address in addresses if 1 <= int(address) <= channels.shape[1]]
    return {address: pl.Series(np.ascontiguousarray(channels[:, int(address) - 1])) for address in present}


def _opened(path: Path) -> _Audio:
    """Map the samples to memory, so that only what is used is read; samples of 24 bits are converted instead."""
    from scipy.io import wavfile  # a third of the start of every command, for one format of several

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that are not samples, such as `bext`
        try:
            return _Audio(*wavfile.read(path, mmap=True))
        except ValueError as error:
            if "greater than file size" in str(error):
                raise SourceError("it is truncated: its header announces more samples than it holds") from None
            if "3-byte" not in str(error):
                raise
        rate, samples = wavfile.read(path)
        return _Audio(rate, samples >> _UNUSED_BITS)
