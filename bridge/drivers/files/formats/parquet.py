"""Parquet files: tables of any type of column, and waveforms with one burst per row. Read by PyArrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bridge.drivers.files.formats.tables import Piece
from bridge.drivers.files.layout import PAGE_CELLS
from bridge.drivers.files.opening import ArchiveFile, whole
from bridge.drivers.files.times import ROW

GROUP: Final = "#group"
LONGEST: Final = "#longest"
_BATCH: Final = 64 << 10


class ParquetTable:
    """The `Table` in a Parquet file; a field of a struct is a column too, such as `pump.pressure`."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    @cached_property
    def names(self) -> Sequence[str]:
        """See `Table.names`."""
        with pq.ParquetFile(whole(self._file)) as file:
            return list(_paths(file.schema_arrow))

    def refusal(self, place: int) -> str:
        """See `Table.refusal`: times, structs and lists are no values."""
        with pq.ParquetFile(whole(self._file)) as file:
            name, kind = self.names[place], _kind(file.schema_arrow, _paths(file.schema_arrow)[self.names[place]])
        if pa.types.is_struct(kind):
            fields = ", ".join(f"{name}.{kind.field(number).name}" for number in range(kind.num_fields))
            return f"{name} is a struct; choose a field of {fields}"
        if pa.types.is_temporal(kind):
            return f"{name} holds times, not numbers"
        return f'{name} holds lists, which are for layout = "waveform"' if pa.types.is_nested(kind) else ""

    def pieces(self, columns: Mapping[str, int], *, numeric: Collection[str] = ()) -> Iterator[Piece]:
        """See `Table.pieces`; numbers and times keep their types."""
        paths = {name: self.names[place] for name, place in columns.items()}
        size, first = min(_BATCH * 8, max(1, PAGE_CELLS // max(1, len(columns)))), 1
        with pq.ParquetFile(whole(self._file)) as file:
            known = _paths(file.schema_arrow)
            roots = list(dict.fromkeys(known[path][0] for path in paths.values()))
            for batch in file.iter_batches(batch_size=size, columns=roots):
                table = pl.DataFrame(batch)
                chosen = [_plain(_field(table, known[path])).alias(name) for name, path in paths.items()]
                yield Piece(pl.DataFrame([pl.int_range(first, first + table.height, eager=True).alias(ROW), *chosen]))
                first += table.height


def _paths(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return name -> path of all columns and of the fields of structs; a column's own name before a path like it."""
    found: dict[str, tuple[str, ...]] = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((field.name,), field.type) for field in schema]
    for path, kind in waiting:
        found.setdefault(".".join(path), path)
        if pa.types.is_struct(kind):
            waiting.extend(
                ((*path, kind.field(place).name), kind.field(place).type) for place in range(kind.num_fields)
            )
    return found


def _kind(schema: pa.Schema, path: Sequence[str]) -> Any:
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind


def _field(table: pl.DataFrame, path: Sequence[str]) -> pl.Series:
    column = table[path[0]]
    for name in path[1:]:
        column = column.struct.field(name)
    return column


def _plain(column: pl.Series) -> pl.Series:
    """Return a column as numbers, times or text: categories and bytes are text, decimals numbers."""
    if column.dtype.is_decimal():
        return column.cast(pl.Float64)
    if column.dtype == pl.Binary:
        return column.cast(pl.String, strict=False)
    return column.cast(pl.String) if isinstance(column.dtype, pl.Categorical | pl.Enum) else column


def row_groups(file: ArchiveFile, addresses: Sequence[str]) -> pl.DataFrame:
    """Return for each row its row group and an upper bound on the length of its burst: columns GROUP and LONGEST.

    The bound is the number of values in the group's longest column.
    """
    groups = []
    metadata = pq.read_metadata(whole(file))
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        sizes = [column.num_values for column in columns if column.path_in_schema.split(".list.")[0] in addresses]
        groups.append((number, max(sizes, default=0), group.num_rows))
    table = pl.DataFrame(groups, schema={GROUP: pl.Int32, LONGEST: pl.Int64, "rows": pl.Int64}, orient="row")
    return table.select(pl.col(GROUP, LONGEST).repeat_by("rows").explode())


def burst_pages(file: ArchiveFile, addresses: Sequence[str], times: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the bursts in the row groups of `times`: its columns but GROUP and LONGEST, and a column per address found.

    The size of a page is bounded by that of the row groups.
    """
    with pq.ParquetFile(whole(file)) as opened:
        columns = [address for address in addresses if address in opened.schema_arrow.names]
        groups = times.group_by(GROUP, maintain_order=True).agg(pl.col(LONGEST).first())
        page = (groups[LONGEST].cum_sum() - 1) * len(columns) // PAGE_CELLS
        for _, together in groups.group_by(page, maintain_order=True):
            numbers = together[GROUP].to_list()
            table = pl.DataFrame(opened.read_row_groups(numbers, columns=columns))
            bursts = times.filter(pl.col(GROUP).is_in(numbers)).drop(GROUP, LONGEST).hstack(table)
            cells = max(1, int(together[LONGEST].sum()) * len(columns) // max(1, bursts.height))
            yield from bursts.iter_slices(max(1, PAGE_CELLS // cells))
