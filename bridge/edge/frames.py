"""Frames as bytes in the edge database: small where there are few rows, fast where there are many.

An Arrow IPC stream: compressed column by column with zstd where it is long, and as a whole where it is short. Its
schema takes some 350 bytes, so few samples have a form of their own: their columns one after the other, without those
that are empty. Ten samples then take 15 bytes each, and a tenth of a million 0.4 MB.

Of stretches only the columns beside the values are packed so. The values follow as they are, one stretch after the
other: they are in their smallest encoding already, and noise compresses badly.
"""

from __future__ import annotations

import json
import struct
import zlib
from io import BytesIO
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from historian.samples import SCHEMA
from historian.waveforms.batch import WAVEFORM_SCHEMA, item_bytes

_FEW: Final = 500
"""Largest number of rows for which compressing the stream as a whole gives the smaller result."""
_FEW_SAMPLES: Final = b"\x01"
"""First byte of the form for few samples."""
_HEAD: Final = struct.Struct("<IIIB")
"""Number of samples, bytes of their tags and of their texts, and whether any quality is not Good."""
_ZLIB: Final = b"\x78"
_IPC_FILE: Final = b"ARROW1"
"""First bytes of an Arrow IPC file, the format in version 1 of the database."""
_LENGTH: Final = 4
"""Bytes of the length of packed columns, little-endian."""


def pack_samples(frame: pl.DataFrame) -> bytes:
    """Return samples, columns of `samples.SCHEMA` without null times and qualities, as bytes."""
    if frame.height > _FEW:
        return pack(frame)
    has_text, has_quality = frame["text"].null_count() < frame.height, bool((frame["quality"] != 0).any())
    names = json.dumps(frame["tag"].to_list()).encode()
    texts = json.dumps(frame["text"].to_list()).encode() if has_text else b""
    parts = (
        _HEAD.pack(frame.height, len(names), len(texts), has_quality),
        names,
        texts,
        np.diff(frame["timestamp"].to_physical().to_numpy(), prepend=0).astype("<i8").tobytes(),
        frame["value"].to_numpy().astype("<f8").tobytes(),  # null is NaN, which no batch has
        frame["quality"].to_numpy().astype("<u4").tobytes() if has_quality else b"",
    )
    return _FEW_SAMPLES + zlib.compress(b"".join(parts), level=1)


def unpack_samples(blob: bytes) -> pl.DataFrame:
    """Return the samples that `pack_samples` was given. Bytes of any other kind raise whatever the decoder raises."""
    if not blob.startswith(_FEW_SAMPLES):
        return unpack(blob)
    body = zlib.decompress(blob[len(_FEW_SAMPLES) :])
    count, names, texts, has_quality = _HEAD.unpack_from(body)
    times = _HEAD.size + names + texts
    values = times + 8 * count
    known = np.frombuffer(body, "<f8", count, values)
    columns = {
        "tag": json.loads(body[_HEAD.size : _HEAD.size + names]),
        "timestamp": np.cumsum(np.frombuffer(body, "<i8", count, times)),
        "value": pl.Series(known).fill_nan(None),
        "text": json.loads(body[times - texts : times]) if texts else [None] * count,
        "quality": np.frombuffer(body, "<u4", count, values + 8 * count) if has_quality else [0] * count,
    }
    return pl.DataFrame(columns, schema_overrides={"text": pl.String()}).cast(SCHEMA)


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


def pack_waveforms(frame: pl.DataFrame) -> bytes:
    """Return stretches, columns of `WAVEFORM_SCHEMA`, as bytes."""
    columns = pack(frame.drop("values"))
    array = frame["values"].rechunk().to_arrow()
    _, offsets, values = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    data = memoryview(values)[bounds[0] : bounds[-1]] if values is not None else b""
    return b"".join((len(columns).to_bytes(_LENGTH, "little"), columns, data))


def unpack_waveforms(blob: bytes) -> pl.DataFrame:
    """Return the stretches that `pack_waveforms` was given; their values are not copied.

    Raises:
        ValueError: there are more or fewer bytes than the columns say. Bytes of any other kind raise whatever the
            decoder raises.
    """
    start = _LENGTH + int.from_bytes(blob[:_LENGTH], "little")
    columns = unpack(blob[_LENGTH:start])
    sizes = columns.select(pl.col("count") * item_bytes()).to_series().to_numpy().astype(np.int64)
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    if start + bounds[-1] != len(blob):
        raise ValueError(f"it has {len(blob) - start:,} bytes of values, and its stretches have {bounds[-1]:,}")
    data = pa.py_buffer(blob).slice(start)
    values = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), [None, pa.py_buffer(bounds), data])
    return columns.with_columns(values=pl.Series(values)).select(WAVEFORM_SCHEMA.names())
