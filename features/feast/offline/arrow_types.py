"""Arrow types that Feast supports: no large strings or lists, no views, no dictionaries; dicts of pandas as maps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa


def plain_arrow(frame: pl.DataFrame, types: pa.Schema | None = None) -> pa.Table:
    """Return a frame in plain Arrow types, one chunk per column.

    Args:
        frame: Any columns.
        types: Types of columns, made plain; other columns keep their own. Times stay as in Polars.
    """
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    stored = dict(zip(types.names, types.types, strict=True)) if types is not None else {}
    wanted = [field.with_type(_wanted(field.type, stored.get(field.name))) for field in table.schema]
    return table.cast(pa.schema(wanted)).combine_chunks()


def _wanted(found: pa.DataType, stored: pa.DataType | None) -> pa.DataType:
    return plain(found if stored is None or pa.types.is_timestamp(found) else stored)


def plain(dtype: pa.DataType) -> pa.DataType:
    """Return the type with every large, view or encoded type replaced by its plain form, at any depth."""
    if isinstance(dtype, pa.DictionaryType):
        return plain(dtype.value_type)
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    return _plain_nested(dtype)


def _plain_nested(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_map(dtype):
        return pa.map_(plain(dtype.key_type), plain(dtype.item_type))
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(plain(field.type)) for field in dtype.fields])
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return pa.list_(plain(dtype.value_type))
    return dtype


def maps_of(structs: pa.ChunkedArray, dtype: pa.MapType) -> pa.Array:
    """Convert structs, which Arrow makes of the dicts in a pandas frame, to maps of a type.

    A dict that lacks a key of another dict has null there: therefore null means that the key does not exist.
    """
    rows = structs.combine_chunks()
    fields = [field.cast(dtype.item_type) for field in rows.flatten()]
    there = np.array([field.is_valid() for field in fields], np.bool_).reshape(len(fields), len(rows))
    row, field = there.T.nonzero()
    items = pa.concat_arrays([pa.array([], dtype.item_type), *fields]).take(pa.array(field * len(rows) + row))
    names = pa.array([field.name for field in rows.type], pa.string()).cast(dtype.key_type)
    ends = np.append([0], there.sum(axis=0).cumsum())
    starts = pa.array(ends, pa.int32(), mask=np.append(rows.is_null(), [False]))
    return pa.MapArray.from_arrays(starts, names.take(pa.array(field)), items, dtype)
