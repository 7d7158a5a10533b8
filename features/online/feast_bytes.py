"""Columns of features -> the bytes Feast's online stores keep, made in bulk.

Feast builds a protobuf message for every value, one at a time. The bytes of a message that holds one double are a tag
and eight bytes, which NumPy lays out for a whole column; of other types each distinct value is encoded once. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
    cells = [_cells(column, kind, head) for column, kind, head in zip(columns, kinds, heads, strict=True)]
    return list(map(b"".join, zip(*cells, strict=True)))


def framed(value: bytes, head: Head) -> bytes:
    """One encoded value behind its head."""
    return head(len(value)) + value


def varint(number: int) -> bytes:
    """protobuf's variable-length form of a number that is not negative."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def _cells(column: pl.Series, kind: ValueType, head: Head) -> list[bytes]:
    if kind == ValueType.DOUBLE and column.dtype == pl.Float64():
        return _doubles(column, head)
    distinct = column.unique().drop_nulls().to_list()
    messages = python_values_to_proto_values(distinct, kind)
    known = {
        value: framed(message.SerializeToString(), head) for value, message in zip(distinct, messages, strict=True)
    }
    known[None] = framed(_NULL, head)
    return [known[value] for value in column.to_list()]


def _doubles(column: pl.Series, head: Head) -> list[bytes]:
    """What is null or NaN is the empty message, as Feast writes it."""
    values = column.to_numpy()
    front = head(_DOUBLE_BYTES) + _DOUBLE
    layout = np.dtype([("front", f"V{len(front)}"), ("value", "<f8")])
    packed = np.empty(len(values), layout)
    packed["front"], packed["value"] = np.void(front), values
    cells: list[bytes] = packed.view(f"V{layout.itemsize}").tolist()
    missing = framed(_NULL, head)
    for row in np.flatnonzero(np.isnan(values)).tolist():
        cells[row] = missing
    return cells


def _utc_micros(instant: datetime) -> int:
    """A time without a zone is UTC, as everywhere in Feast."""
    return micros(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _four(number: int) -> bytes:
    return number.to_bytes(4, "little")
