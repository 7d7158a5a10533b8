"""Columns of features -> the bytes Feast's online stores keep, made in bulk.

Feast builds a protobuf message for every value, one at a time. The bytes of a message that holds one double are a tag
and eight bytes, which NumPy lays out for a whole column; of other types each distinct value is encoded once. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, groupby, pairwise
from typing import Final

import numpy as np
import polars as pl
from feast.infra.key_encoding_utils import serialize_entity_key, serialize_entity_key_prefix
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.protos.feast.types.Value_pb2 import ValueType as Kind
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from historian.times import micros

ROWS_PER_TRIP: Final = 2_500
"""What is sent to an online store at once: more hold up the first, fewer cost a trip and a transaction each."""

Head = Callable[[int], bytes]
"""What an online store puts before a value of so many bytes: its name, its length."""

_DOUBLE: Final = Value(double_val=1.0).SerializeToString()[:1]
_DOUBLE_BYTES: Final = 9
_NULL: Final = Value().SerializeToString()


@dataclass(frozen=True)
class OnlineRows:
    """Newest rows of a view, encoded; four lists of one length."""

    keys: list[bytes]
    """Entity keys."""
    events: list[int]
    """Event timestamps, UTC microseconds."""
    created: list[int]
    """Created timestamps, UTC microseconds."""
    values: list[bytes]
    """All features of a row, each behind its head."""

    def parts(self, rows: int) -> Iterator[OnlineRows]:
        """The same, at most so many rows at a time."""
        for start in range(0, len(self.keys), rows):
            part = slice(start, start + rows)
            yield OnlineRows(self.keys[part], self.events[part], self.created[part], self.values[part])


Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""Entity key, features by name, event timestamp, created timestamp: as Feast's `online_write_batch` is given them."""


def encoded_rows(data: Sequence[Row], key_version: int, joined: Callable[[dict[str, Value]], bytes]) -> OnlineRows:
    """Feast's rows, all features of each in one piece by `joined`; without a created timestamp it is the event's."""
    return OnlineRows(
        [serialize_entity_key(key, key_version) for key, _, _, _ in data],
        [_utc_micros(event) for _, _, event, _ in data],
        [_utc_micros(created or event) for _, _, event, created in data],
        [joined(values) for _, values, _, _ in data],
    )


def entity_keys(join_key: str, values: Sequence[str]) -> list[bytes]:
    """Feast's key (version 3) of each entity, for entities with one join key that holds text."""
    front = serialize_entity_key_prefix([join_key]) + _four(Kind.STRING)
    return [front + _four(len(text)) + text for text in map(str.encode, values)]


def joined_cells(columns: Sequence[pl.Series], kinds: Sequence[ValueType], heads: Sequence[Head]) -> list[bytes]:
    """The features of each row in one piece: head and value, head and value, in the order of the columns."""
    typed = zip(columns, kinds, heads, strict=True)
    pieces: list[list[bytes]] = []
    for doubles, run in groupby(typed, lambda each: each[1] == ValueType.DOUBLE and each[0].dtype == pl.Float64()):
        of_run = list(run)
        if doubles:
            pieces.append(_doubles([(column, head) for column, _, head in of_run]))
        else:
            pieces += [_cells(*each) for each in of_run]
    return pieces[0] if len(pieces) == 1 else list(map(b"".join, zip(*pieces, strict=True)))


def framed(value: bytes, head: Head) -> bytes:
    """One encoded value behind its head."""
    return head(len(value)) + value


def varint(number: int) -> bytes:
    """protobuf's variable-length form of a number that is not negative."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def _cells(column: pl.Series, kind: ValueType, head: Head) -> list[bytes]:
    distinct = column.unique().drop_nulls().to_list()
    messages = python_values_to_proto_values(distinct, kind)
    known = {
        value: framed(message.SerializeToString(), head) for value, message in zip(distinct, messages, strict=True)
    }
    known[None] = framed(_NULL, head)
    return [known[value] for value in column.to_list()]


def _doubles(columns: Sequence[tuple[pl.Series, Head]]) -> list[bytes]:
    """Columns that stand side by side, laid out at once. What is null or NaN is the empty message, as Feast has it."""
    fronts = [head(_DOUBLE_BYTES) + _DOUBLE for _, head in columns]
    fields = [[(f"front{number}", f"V{len(front)}"), (f"{number}", "<f8")] for number, front in enumerate(fronts)]
    packed = np.empty(len(columns[0][0]), [field for two in fields for field in two])
    missing = np.empty((len(packed), len(columns)), np.bool_)
    for number, (column, _) in enumerate(columns):
        values = column.to_numpy()
        packed[f"front{number}"], packed[f"{number}"] = np.void(fronts[number]), values
        missing[:, number] = np.isnan(values)
    rows: list[bytes] = packed.view(f"V{packed.dtype.itemsize}").tolist()
    ends = list(accumulate(len(front) + _DOUBLE_BYTES - 1 for front in fronts))
    empty = [framed(_NULL, head) for _, head in columns]
    for row in np.flatnonzero(missing.any(axis=1)).tolist():
        cells = (rows[row][start:end] for start, end in pairwise([0, *ends]))
        three = zip(missing[row].tolist(), empty, cells, strict=True)
        rows[row] = b"".join(blank if gone else cell for gone, blank, cell in three)
    return rows


def _utc_micros(instant: datetime) -> int:
    """A time without a zone is UTC, as everywhere in Feast."""
    return micros(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _four(number: int) -> bytes:
    return number.to_bytes(4, "little")
