"""Encodes columns of features as the bytes that Feast's online stores keep, in bulk. Pure.

Feast builds a protobuf message for every value, one at a time. The message of a double is a tag and eight bytes, which
NumPy writes for a whole column; for other types, each distinct value is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
from typing import Any, Final, NamedTuple

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
"""Number of rows sent to an online store at once: more delay the first, fewer need more round trips."""

Head = Callable[[int], bytes]
"""A function from the length of a value to the bytes that an online store puts before it: its name, its length."""

_DOUBLE: Final = Value(double_val=1.0).SerializeToString()[:1]
_DOUBLE_BYTES: Final = 9
_NULL: Final = Value().SerializeToString()


@dataclass(frozen=True)
class OnlineRows:
    """Encoded rows of a view: four lists of the same length."""

    keys: list[bytes]
    """Entity key of each row."""
    events: list[int]
    """Event timestamp of each row in UTC microseconds."""
    created: list[int]
    """Created timestamp of each row in UTC microseconds."""
    values: list[bytes]
    """All features of each row, each value after its head."""

    def parts(self, rows: int) -> Iterator[OnlineRows]:
        """Yield the same rows, at most `rows` at a time."""
        for start in range(0, len(self.keys), rows):
            part = slice(start, start + rows)
            yield OnlineRows(self.keys[part], self.events[part], self.created[part], self.values[part])


Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""A row of Feast's `online_write_batch`: entity key, features by name, event timestamp, created timestamp."""


def encoded_rows(data: Sequence[Row], key_version: int, joined: Callable[[dict[str, Value]], bytes]) -> OnlineRows:
    """Encode Feast's rows.

    Args:
        data: The rows; a missing created timestamp is replaced by the event timestamp.
        key_version: Version of Feast's serialisation of entity keys.
        joined: Encodes all features of a row as one value.
    """
    return OnlineRows(
        [serialize_entity_key(key, key_version) for key, _, _, _ in data],
        [_utc_micros(event) for _, _, event, _ in data],
        [_utc_micros(created or event) for _, _, event, created in data],
        [joined(values) for _, values, _, _ in data],
    )


def entity_keys(join_key: str, values: Sequence[str]) -> list[bytes]:
    """Return Feast's key (version 3) of each entity, for entities with one join key of text.

    Args:
        join_key: Name of the join key.
        values: Its value for each entity.
    """
    front = serialize_entity_key_prefix([join_key]) + _four(Kind.STRING)
    return [front + _four(len(text)) + text for text in map(str.encode, values)]


def joined_cells(columns: Sequence[pl.Series], kinds: Sequence[ValueType], heads: Sequence[Head]) -> list[bytes]:
    """Return the features of each row as one value: head and value of each, in the order of the columns.

    Args:
        columns: A column per feature.
        kinds: Feast's type of each column.
        heads: Bytes before a value, for each column.
    """
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
    """Return an encoded value after its head."""
    return head(len(value)) + value


def varint(number: int) -> bytes:
    """Return protobuf's variable-length encoding of a number that is not negative."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def _cells(column: pl.Series, kind: ValueType, head: Head) -> list[bytes]:
    values = column.to_list()
    distinct = [value for value in set(values) if value is not None]
    messages = python_values_to_proto_values(distinct, kind)
    known = {
        value: framed(message.SerializeToString(), head) for value, message in zip(distinct, messages, strict=True)
    }
    known[None] = framed(_NULL, head)
    return [known[value] for value in values]


def _doubles(columns: Sequence[tuple[pl.Series, Head]]) -> list[bytes]:
    """Encode adjacent columns of doubles at once. Null and NaN become the empty message, as in Feast."""
    layout = _layout(tuple(head for _, head in columns))
    packed = np.full(len(columns[0][0]), layout.row)
    missing = np.empty((len(packed), len(columns)), np.bool_)
    for number, (column, _) in enumerate(columns):
        values = column.to_numpy()
        packed[f"{number}"] = values
        missing[:, number] = np.isnan(values)
    rows: list[bytes] = packed.view(f"V{packed.dtype.itemsize}").tolist()
    ends, empty = layout.ends, layout.empty
    for row in np.flatnonzero(missing.any(axis=1)).tolist():
        cells = (rows[row][start:end] for start, end in pairwise([0, *ends]))
        three = zip(missing[row].tolist(), empty, cells, strict=True)
        rows[row] = b"".join(blank if gone else cell for gone, blank, cell in three)
    return rows


class _Layout(NamedTuple):
    """Adjacent columns of doubles as the bytes of a row."""

    row: Any
    """A row with everything but the values."""
    ends: list[int]
    """[columns] where each one's bytes end."""
    empty: list[bytes]
    """[columns] the bytes of a missing value."""


@lru_cache
def _layout(heads: tuple[Head, ...]) -> _Layout:
    fronts = [head(_DOUBLE_BYTES) + _DOUBLE for head in heads]
    fields = [[(f"front{number}", f"V{len(front)}"), (f"{number}", "<f8")] for number, front in enumerate(fronts)]
    row = np.zeros((), [field for two in fields for field in two])
    for number, front in enumerate(fronts):
        row[f"front{number}"] = np.void(front)
    ends = list(accumulate(len(front) + _DOUBLE_BYTES - 1 for front in fronts))
    return _Layout(row, ends, [framed(_NULL, head) for head in heads])


def _utc_micros(instant: datetime) -> int:
    """Return a time as UTC microseconds; without a zone it is UTC, as everywhere in Feast."""
    return micros(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _four(number: int) -> bytes:
    return number.to_bytes(4, "little")
