"""Finds and opens the files of an archive. Members of zips are files too, and what is compressed is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

import pyarrow as pa

from bridge.drivers.files.options import suffixes
from historian.errors import SourceError

_MOST_PER_BYTE: Final = 1032
"""Upper bound on bytes per compressed byte: the largest ratio of deflate (zlib, "Technical Details")."""


class ArchiveFile(NamedTuple):
    """A file of the archive."""

    path: Path
    name: str
    """Its path relative to the directory of `plant.toml`, for messages; that of a member of a zip follows."""
    member: str = ""
    """Name within the zip at `path`; empty if that is the file itself."""

    @property
    def is_packed(self) -> bool:
        """Whether the file must be unpacked before it can be read."""
        return bool(self.member or suffixes(self.path)[1])

    @property
    def most_bytes(self) -> int:
        """Upper bound on the number of bytes in it."""
        return self.path.stat().st_size * (_MOST_PER_BYTE if self.is_packed else 1)

    @property
    def plain_name(self) -> str:
        """The path without the suffixes of format and compression, parts separated by slashes."""
        name = self.name.replace("\\", "/")
        for suffix in reversed(suffixes(name)):
            name = name[: len(name) - len(suffix)]
        return name


def members(file: ArchiveFile) -> list[ArchiveFile]:
    """Return the files in a zip; the file itself if it is none.

    Raises:
        SourceError: it is called a zip, and is none.
    """
    if suffixes(file.path)[1] != ".zip":
        return [file]
    try:
        with zipfile.ZipFile(file.path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise SourceError(f"cannot be read: {error}") from None
    return [ArchiveFile(file.path, f"{file.name}/{name}", name) for name in sorted(names)]


@contextmanager
def opened(file: ArchiveFile) -> Iterator[IO[bytes]]:
    """Open a file for reading from its beginning to its end, unpacked."""
    if file.member:
        with zipfile.ZipFile(file.path) as archive, archive.open(file.member) as stream:
            yield stream
        return
    packed = suffixes(file.path)[1]
    if packed == ".gz":
        with gzip.open(file.path) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif packed == ".bz2":
        with bz2.open(file.path) as plain:
            yield cast(IO[bytes], plain)
    elif packed == ".zst":
        with pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd") as stream:
            yield stream
    else:
        with file.path.open("rb") as stream:
            yield stream


def whole(file: ArchiveFile) -> Path | io.BytesIO:
    """Return what libraries of binary formats read: the path, or the content of a file that is packed."""
    if not file.is_packed:
        return file.path
    with opened(file) as stream:
        return io.BytesIO(stream.read())
