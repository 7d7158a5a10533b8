"""Segment files: where the spool keeps large batches, next to the edge database.

A database would write their bytes twice, to its log and to its pages, and free these again a second later. A segment
is a file that is only appended to; the database has where each frame lies. A frame has reached the disk before a row
refers to it, and a segment is deleted only when no row refers to it any more. What a crash leaves behind the last frame
that a row refers to is cut off when the segments are opened again. See docs/decisions/0036.

A writer holds a lock on its segment, which the kernel releases when the process dies: any process may then reclaim it.
A file has its final name only once it is locked, so that none is taken for one that was left behind.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple
from uuid import uuid4

from historian.errors import SpoolFull

SEGMENT_BYTES: Final = 64 << 20
"""Size above which a new segment is begun: about ten seconds of 64 channels of 25.6 kHz in float32."""
_MAGIC: Final = b"PSF1"
_HEAD: Final = struct.Struct("<4s3Q")
"""Magic number and the length of each part."""

Ends = Callable[[str], int]
"""Returns where the last frame of a segment ends that a row refers to; 0 if there is none."""


class Place(NamedTuple):
    """Where a frame is."""

    segment: str
    """Name of the file."""
    position: int
    """Offset of the frame's first byte."""
    length: int


class _Writer(NamedTuple):
    """A segment that is being written to; the open file holds the lock."""

    name: str
    descriptor: int


class Segments:
    """The segment files in one directory. Several threads and processes may use them."""

    def __init__(self, directory: Path, ends: Ends) -> None:
        """Use a directory, which need not exist yet, and reclaim what no writer holds and no row refers to.

        Args:
            directory: where the files are; nothing else is in it, and no other database has it.
            ends: looks into the database.
        """
        self._directory = directory
        self._ends = ends
        self._lock = Lock()
        self._writers: dict[str, _Writer] = {}
        if directory.is_dir():
            self.reclaim([path.name for path in directory.iterdir()])

    def append(self, source: str, parts: Sequence[bytes], *, segment_bytes: int = SEGMENT_BYTES) -> Place:
        """Write a frame of three parts to the source's segment; when this returns, it has reached the disk.

        Raises:
            SpoolFull: the disk is full or cannot be written; the frame may be tried again.
        """
        left = list[str]()
        try:
            with self._lock:
                if self._size(source) >= segment_bytes:
                    left += self._leave(source)
                return self._append(source, parts)
        except OSError as error:
            left += self._leave(source)  # after a failed flush nobody knows what of the file is on disk
            raise SpoolFull(f"a segment in {self._directory} cannot be written ({error}); free some space") from None
        finally:
            self.reclaim(left)

    def take_back(self, source: str, place: Place) -> None:
        """Cut off the source's last frame, to which no row will refer; if that fails, reclaiming does it."""
        with self._lock, suppress(OSError):
            writer = self._writers.get(source)
            if writer is not None and writer.name == place.segment and self._size(source) == sum(place[1:]):
                os.ftruncate(writer.descriptor, place.position)

    def read(self, place: Place) -> bytes:
        """Return the bytes of a frame.

        Raises:
            OSError: the file is not there or cannot be read.
        """
        with (self._directory / place.segment).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), place.length, place.position)

    def reclaim(self, names: Sequence[str]) -> None:
        """Delete those of some segments that no row refers to, and cut off what lies behind the last frame of others.

        Segments that a writer holds stay as they are. To be called when the deletion of rows is durable.
        """
        for name in names:
            with suppress(OSError, SpoolFull):  # it is gone, or a writer holds it, or the database is busy: next time
                self._reclaim(self._directory / name)

    def close(self) -> None:
        """Stop writing; delete the segments of which nothing is needed any more."""
        self.reclaim([name for source in list(self._writers) for name in self._leave(source)])

    def _size(self, source: str) -> int:
        writer = self._writers.get(source)
        return 0 if writer is None else os.fstat(writer.descriptor).st_size

    def _append(self, source: str, parts: Sequence[bytes]) -> Place:
        writer = self._writers.get(source) or self._begin(source)
        begin = end = self._size(source)
        for part in (_HEAD.pack(_MAGIC, *map(len, parts)), *parts):
            end = _write(writer.descriptor, part, end)
        os.fsync(writer.descriptor)
        return Place(writer.name, begin, end - begin)

    def _begin(self, source: str) -> _Writer:
        self._directory.mkdir(parents=True, exist_ok=True)
        draft = self._directory / f"{uuid4().hex}.new"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._writers[source] = writer = _Writer(draft.with_suffix(".seg").name, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(self._directory / writer.name)
        for each in (self._directory, *self._directory.parents[:2]):
            _sync_directory(each)
        return writer

    def _leave(self, source: str) -> list[str]:
        """Close a source's segment, if it has one; return its name, to be reclaimed."""
        writer = self._writers.pop(source, None)
        if writer is None:
            return []
        os.close(writer.descriptor)
        return [writer.name]

    def _reclaim(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            end = self._ends(path.name)  # now that nobody can add a frame
            if not end:
                path.unlink()
            elif os.fstat(descriptor).st_size > end:
                os.ftruncate(descriptor, end)
        finally:
            os.close(descriptor)


def parts_of(frame: bytes) -> list[bytes]:
    """Return the three parts of a frame.

    Raises:
        ValueError: it is none, or not all of one.
    """
    if len(frame) < _HEAD.size or not frame.startswith(_MAGIC):
        raise ValueError("there is no frame at its place in the segment")
    _, *lengths = _HEAD.unpack_from(frame)
    if _HEAD.size + sum(lengths) != len(frame):
        raise ValueError("its frame in the segment has another length")
    first, second, _ = (_HEAD.size + sum(lengths[:number]) for number in (1, 2, 3))
    return [frame[_HEAD.size : first], frame[first:second], frame[second:]]


def _write(descriptor: int, data: bytes, position: int) -> int:
    """Write all of some bytes, and return where they end."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, position)
        left, position = left[written:], position + written
    return position


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
