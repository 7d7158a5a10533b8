"""Where the time of the vibration features goes: the cost of each intermediate and kernel, relative to the bare FFT.

For each window length, prints a JSON line with the shares of the time of `scipy.fft.rfft` over the same windows,
largest first. A kernel is charged with what it adds to the intermediates. Run it with `python -m benchmarks.kernels`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
from scipy.fft import rfft

from features.define.catalogue import SPECTRAL, TIME
from features.define.spec import FeatureSpec, Floats
from features.kernels.scratch import Scratch
from features.kernels.spectrum import Spectra, spectra
from features.kernels.vibration import Waveforms

_ROUNDS: Final = 101
_SAMPLE_RATE: Final = 25_600.0

Step = tuple[str, Callable[[], object]]


def _steps(windows: Floats, scratch: Scratch) -> Iterator[Step]:
    """What makes the features of the windows, in an order in which nothing is charged for another."""
    batch = Waveforms(windows, _SAMPLE_RATE, "g", scratch)
    yield "rfft", partial(rfft, windows)
    yield from _costs(batch, TIME)
    yield "spectra", partial(spectra, batch)
    yield from _costs(spectra(batch), SPECTRAL)


def _costs(batch: Waveforms | Spectra, specs: tuple[FeatureSpec[Any], ...]) -> Iterator[Step]:
    for name, attribute in vars(type(batch)).items():
        if isinstance(attribute, cached_property):
            yield f"{type(batch).__name__}.{name}", partial(getattr, batch, name)
    for spec in specs:
        yield spec.name, partial(spec.kernel, batch)


def _shares(windows: Floats) -> dict[str, float]:
    scratch, seconds = Scratch(), dict[str, list[float]]()
    for _ in range(_ROUNDS):
        for name, step in _steps(windows, scratch):
            start = perf_counter()
            step()
            seconds.setdefault(name, []).append(perf_counter() - start)
    typical = {name: median(times) for name, times in seconds.items()}
    bare = typical.pop("rfft")
    return {name: round(time / bare, 3) for name, time in sorted(typical.items(), key=lambda item: -item[1])}


if __name__ == "__main__":
    for windows, size in ((128, 2_048), (10, 25_600)):
        shares = _shares(np.random.default_rng(0).normal(size=(windows, size)))
        print(json.dumps({"name": f"kernels_{size}", "rffts": round(sum(shares.values()), 3), "shares": shares}))
