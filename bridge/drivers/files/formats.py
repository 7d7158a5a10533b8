"""Opens files of waveforms: Parquet with one burst per row; MATLAB, WAV and text with one burst per file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from bridge.drivers.files.layout import PAGE_CELLS
from bridge.drivers.files.options import Options, suffix
from bridge.drivers.files.values import FAULT, GIVEN, INSTANT, ROW, with_instants
from bridge.drivers.files.wav import wav_channels, wav_rate
from historian.errors import SourceError

GROUP: Final = "#group"
LONGEST: Final = "#longest"
_KEPT: Final = ("i1", "i2", "f4")
"""Kind and bytes of the numbers that MATLAB variables keep; others become float64."""
_SAMPLES_PER_BYTE: Final = 1032
"""Upper bound on a file's samples per byte, from the largest ratio of deflate (zlib, "Technical Details")."""


def burst_times(path: Path, addresses: Sequence[str], options: Options) -> pl.DataFrame:
    """Return the bursts of a file without their samples: ROW, INSTANT, FAULT, GIVEN, GROUP and LONGEST.

    GROUP is the number of the row group, and LONGEST an upper bound on the number of samples.

    Args:
        path: the file.
        addresses: columns or variables of the tags.
        options: the archive's.
    """
    if suffix(path) != ".parquet":
        started = pl.DataFrame({ROW: ["1"], "started": [_start(path, options)]})
        bound = {GROUP: pl.lit(0), LONGEST: pl.lit(path.stat().st_size * _SAMPLES_PER_BYTE)}
        return with_instants(started, "started", zone=options.timezone).select(ROW, INSTANT, FAULT, GIVEN, **bound)
    columns = [options.timestamp, *([options.row] if options.row else [])]
    known = pl.read_parquet_schema(path)
    if missing := [column for column in columns if column not in known]:
        raise SourceError(f"there is no column {', '.join(missing)}; there are {', '.join(known)}")
    times = pl.read_parquet(path, columns=columns, row_index_name=ROW, row_index_offset=1)
    times = with_instants(times, options.timestamp, zone=options.timezone, pattern=options.timestamp_format)
    return times.select(pl.col(options.row or ROW).cast(pl.String).alias(ROW), INSTANT, FAULT, GIVEN).hstack(
        _row_groups(path, addresses)
    )


def burst_tables(path: Path, addresses: Sequence[str], times: pl.DataFrame, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the bursts in the row groups of `times`: ROW, INSTANT, FAULT, GIVEN, and a list column per address found.

    The size of a table is bounded by that of the row groups.
    """
    if suffix(path) == ".parquet":
        yield from _parquet_tables(path, addresses, times)
        return
    yield times.select(ROW, INSTANT, FAULT, GIVEN).hstack(
        [pl.Series(address, [values]) for address, values in _whole_file(path, addresses, options).items()]
    )


def rate_of(path: Path) -> int | None:
    """Return the sample rate that the file itself names, in Hz; None if it names none."""
    return wav_rate(path) if suffix(path) == ".wav" else None


def _whole_file(path: Path, addresses: Sequence[str], options: Options) -> dict[str, pl.Series]:
    if suffix(path) == ".wav":
        return wav_channels(path, addresses)
    return _mat_waveforms(path, addresses) if suffix(path) == ".mat" else _text_waveforms(path, addresses, options)


def _start(path: Path, options: Options) -> datetime:
    name, start = path.name[: -len(suffix(path))], options.start
    if options.start_pattern is not None:
        try:
            start = datetime.strptime(name, options.start_pattern)  # noqa: DTZ007 (with_instants wants its zone)
        except ValueError:
            raise SourceError(f"its name, {name}, does not follow start_pattern {options.start_pattern}") from None
    if start is None:
        raise SourceError("it does not say when it starts; give start_pattern or start")
    return start.astimezone(UTC) if start.tzinfo else start


def _row_groups(path: Path, addresses: Sequence[str]) -> pl.DataFrame:
    """Return for each row its group and an upper bound on the length of its burst: the group's longest column."""
    groups = []
    metadata = pq.read_metadata(path)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        sizes = [column.num_values for column in columns if column.path_in_schema.split(".list.")[0] in addresses]
        groups.append((number, max(sizes, default=0), group.num_rows))
    table = pl.DataFrame(groups, schema={GROUP: pl.Int32, LONGEST: pl.Int64, "rows": pl.Int64}, orient="row")
    return table.select(pl.col(GROUP, LONGEST).repeat_by("rows").explode())


def _parquet_tables(path: Path, addresses: Sequence[str], times: pl.DataFrame) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        columns = [address for address in addresses if address in file.schema_arrow.names]
        groups = times.group_by(GROUP, maintain_order=True).agg(pl.col(LONGEST).first())
        page = (groups[LONGEST].cum_sum() - 1) * len(columns) // PAGE_CELLS
        for _, together in groups.group_by(page, maintain_order=True):
            numbers = together[GROUP].to_list()
            table = pl.DataFrame(file.read_row_groups(numbers, columns=columns))
            bursts = times.filter(pl.col(GROUP).is_in(numbers)).select(ROW, INSTANT, FAULT, GIVEN).hstack(table)
            cells = max(1, int(together[LONGEST].sum()) * len(columns) // max(1, bursts.height))
            yield from bursts.iter_slices(max(1, PAGE_CELLS // cells))


def _text_waveforms(path: Path, addresses: Sequence[str], options: Options) -> dict[str, pl.Series]:
    """Return columns of numbers without a header; an address is the column's number, counted from 1."""
    names = pl.scan_csv(path, separator=options.separator, has_header=False).collect_schema().names()
    columns = {names[int(address) - 1]: address for address in addresses if 1 <= int(address) <= len(names)}
    table = pl.read_csv(
        path,
        separator=options.separator,
        has_header=False,
        columns=list(columns),
        schema_overrides=dict.fromkeys(columns, pl.Float64),
        decimal_comma=options.decimal == ",",
    )
    return {columns[column.name]: column for column in table.iter_columns()}


def _mat_waveforms(path: Path, addresses: Sequence[str]) -> dict[str, pl.Series]:
    """Return variables of a MATLAB file; an address is a variable, or a field of a struct such as `bearing.gs`."""
    from scipy.io import loadmat  # a third of the start of every command, for one format of several

    roots = {address.split(".")[0] for address in addresses}
    variables = loadmat(path, variable_names=sorted(roots), squeeze_me=True, struct_as_record=False)
    found = {}
    for address in addresses:
        root, *fields = address.split(".")
        content: Any = variables.get(root)
        for field in fields:
            content = getattr(content, field, None)
        if content is not None:
            numbers = np.ravel(content)
            kept = numbers.dtype.newbyteorder("=") if numbers.dtype.kind + str(numbers.itemsize) in _KEPT else float
            found[address] = pl.Series(numbers.astype(kept))
    return found
