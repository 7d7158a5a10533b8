"""The formats a training set is written in, a file or a part of an artefact: equal tables give equal bytes.

Parquet and Arrow keep the schema's metadata (units, formulas, tags); CSV has room for names and values alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from historian.errors import InvalidInput

Format = Literal["parquet", "arrow", "arrows", "csv"]
"""Name of a format, and its suffix. `arrow` is a file that can be memory-mapped, `arrows` a stream."""

_BY_SUFFIX: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".arrows": "arrows",
    ".csv": "csv",
}
_ROW_GROUP: Final = 131_072


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix stands for.

    Args:
        path: The file; need not exist.

    Raises:
        InvalidInput: it stands for none that is written.
    """
    if path.suffix.lower() not in _BY_SUFFIX:
        raise InvalidInput(f"{path.name} has no known suffix; end it in one of {', '.join(_BY_SUFFIX)}")
    return _BY_SUFFIX[path.suffix.lower()]


def save(table: pa.Table, path: Path) -> None:
    """Write a training set in the format of the path's suffix, whole or not at all.

    Args:
        table: Rows and their schema.
        path: The file; directories above it are made.

    Raises:
        InvalidInput: the suffix is unknown, the format has no room for a column, or the directory cannot be written to.
    """
    as_format = format_of(path)
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as sink:
            write(table, sink, as_format)
        draft.replace(path)
    except OSError as error:
        raise InvalidInput(f"the training set cannot be written to {path}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            draft.unlink()


def write(table: pa.Table, sink: IO[bytes], as_format: Format) -> None:
    """Write a training set to an open file.

    Args:
        table: Rows and their schema.
        sink: Open for writing bytes.
        as_format: See `Format`.

    Raises:
        InvalidInput: a label column holds lists or the like, for which CSV has no room.
    """
    if as_format == "parquet":
        _write_parquet(table, sink)
    elif as_format == "csv":
        _cells(table).write_csv(sink)
    else:
        opened = pa.ipc.new_file if as_format == "arrow" else pa.ipc.new_stream
        with opened(sink, table.schema) as writer:
            writer.write_table(_bare(table), max_chunksize=_ROW_GROUP)


def _write_parquet(table: pa.Table, sink: IO[bytes]) -> None:
    pq.write_table(
        table.combine_chunks(),
        sink,
        version="2.6",
        compression="zstd",
        compression_level=3,
        row_group_size=_ROW_GROUP,
        data_page_version="1.0",
        use_dictionary=True,
        write_statistics=True,
        store_schema=True,
    )


def _bare(table: pa.Table) -> pa.Table:
    """The same rows with nothing under their nulls: equal tables may differ there, and Arrow writes what is there."""
    return table.combine_chunks().take(pa.array(np.arange(table.num_rows)))


def _cells(table: pa.Table) -> pl.DataFrame:
    """What CSV can hold; instants with a zone in UTC, as the labels' time is."""
    frame = pl.DataFrame(table)
    if unfit := frame.select(cs.nested() | cs.binary() | cs.duration()).columns:
        raise InvalidInput(f"CSV has no room for what {', '.join(unfit)} holds; write Parquet or Arrow")
    instants = cs.datetime(time_zone="*").dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return frame.with_columns(instants.dt.to_string("iso:strict") + "Z")
