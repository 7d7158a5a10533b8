"""Frames as bytes in the edge database: small where there are few rows, fast where there are many.

An Arrow IPC stream: compressed column by column with zstd where it is long, and as a whole where the schema would
outweigh the rows. One sample takes some 400 bytes, a tenth of a million 0.4 MB.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Final

import polars as pl

_FEW: Final = 500
"""Largest number of rows for which compressing the stream as a whole gives the smaller result."""
_ZLIB: Final = b"\x78"
_IPC_FILE: Final = b"ARROW1"
"""First bytes of an Arrow IPC file, the format in version 1 of the database."""


def pack(frame: pl.DataFrame) -> bytes:
    """Return a frame as bytes."""
    stream = BytesIO()
    if frame.height > _FEW:
        frame.write_ipc_stream(stream, compression="zstd")
        return stream.getvalue()
    frame.write_ipc_stream(stream, compression="uncompressed")
    return zlib.compress(stream.getvalue(), level=1)


def unpack(blob: bytes) -> pl.DataFrame:
    """Return the frame that `pack` was given. Bytes of any other kind raise whatever the decoder raises."""
    if blob.startswith(_IPC_FILE):
        return pl.read_ipc(blob)
    return pl.read_ipc_stream(zlib.decompress(blob) if blob.startswith(_ZLIB) else blob)
