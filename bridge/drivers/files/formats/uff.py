"""Universal files: a tag a data set 58 of a response in time; the sample rate in its header. Read by pyuff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import polars as pl

from bridge.drivers.files.formats.signals import Held, Signals
from bridge.drivers.files.opening import ArchiveFile, whole
from historian.errors import SourceError

_FUNCTION: Final = 58
_TIME_RESPONSES: Final = (0, 1)
"""Types of function: general, time response. Others, such as spectra, are no waveforms."""
_TIME: Final = 17
_UNKNOWN: Final = 0
"""Types of abscissa: time, and none said."""


class UffSignals:
    """The `SignalFile` in universal files; an address is the number of the data set 58 among these, from 1."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    def held(self, addresses: Sequence[str]) -> Held:
        """See `SignalFile.held`."""
        with self._sets() as (_, places):
            names = [str(number + 1) for number in range(len(places))]
            return Held(names, set(addresses) - set(names), self._file.most_bytes)

    def signals(self, addresses: Sequence[str]) -> Signals:
        """See `SignalFile.signals`; what is no response at even times is a problem."""
        values, rates, problems = dict[str, pl.Series](), dict[str, float](), list[str]()
        with self._sets() as (file, places):
            for address in addresses:
                if not address.isdecimal() or not 1 <= int(address) <= len(places):
                    continue
                found = file.read_sets(places[int(address) - 1])
                if problem := _problem(found):
                    problems.append(f"data set {address} {problem}")
                    continue
                values[address] = pl.Series(np.ascontiguousarray(found["data"]))
                rates[address] = 1 / float(found["abscissa_inc"])
        return Signals(values, rates, problems)

    @contextmanager
    def _sets(self) -> Iterator[tuple[Any, list[int]]]:
        import pyuff

        source = whole(self._file)
        with TemporaryDirectory() as directory:  # pyuff reads paths only
            path = source if isinstance(source, Path) else Path(directory) / "unpacked.uff"
            if not isinstance(source, Path):
                path.write_bytes(source.getvalue())
            file = pyuff.UFF(str(path))
            places = [place for place, kind in enumerate(file.get_set_types()) if int(kind) == _FUNCTION]
            if not places:
                raise SourceError("it holds no data set 58")
            yield file, places


def _problem(found: dict[str, Any]) -> str:
    """Return why a data set is no waveform; empty if it is one."""
    if found["func_type"] not in _TIME_RESPONSES or found["abscissa_spec_data_type"] not in (_TIME, _UNKNOWN):
        return f"is no response in time: its function is of type {found['func_type']}"
    if np.iscomplexobj(found["data"]):
        return "holds complex numbers"
    if not found["abscissa_spacing"] or not found["abscissa_inc"]:
        return "has uneven times"
    return ""
