"""What was accepted last, in memory: a copy of what is on disk, for the sinks that keep up."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, Final, NamedTuple

RECENT_BYTES: Final = 32 << 20
"""Largest size of what is held: two seconds of 150 channels of 25.6 kHz in float32."""


class _Held(NamedTuple):
    checksum: int
    contents: Any
    memory: int


class Recent:
    """The newest rows of the spool, by id; the oldest go first. Several threads may use it."""

    def __init__(self, max_bytes: int = RECENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._held: dict[int, _Held] = {}
        self._bytes = 0

    def hold(self, number: int, checksum: int, contents: Any, memory: int) -> None:
        """Hold a row, as long as there is room for it."""
        with self._lock:
            self._held[number] = _Held(checksum, contents, memory)
            self._bytes += memory
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._held)))

    def of(self, number: int, checksum: int | None) -> Any:
        """Return a row's contents; None unless it is held and has this checksum."""
        held = self._held.get(number)
        return held.contents if held is not None and held.checksum == checksum else None

    def forget(self, numbers: Sequence[int]) -> None:
        """Drop rows that are no longer needed."""
        with self._lock:
            for number in numbers:
                if number in self._held:
                    self._drop(number)

    def _drop(self, number: int) -> None:
        self._bytes -= self._held.pop(number).memory
