"""Polars frames in the Arrow types Feast knows: no large strings or lists, no views, no dictionaries."""

from __future__ import annotations

import polars as pl
import pyarrow as pa


def plain_arrow(frame: pl.DataFrame, types: pa.Schema | None = None) -> pa.Table:
    """The frame in plain Arrow types, one chunk a column.

    Args:
        frame: Any columns.
        types: Where it names a column, that column gets this type, made plain. Times stay as Polars has them.
    """
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    stored = dict(zip(types.names, types.types, strict=True)) if types is not None else {}
    wanted = [field.with_type(_wanted(field.type, stored.get(field.name))) for field in table.schema]
    return table.cast(pa.schema(wanted)).combine_chunks()


def _wanted(found: pa.DataType, stored: pa.DataType | None) -> pa.DataType:
    return plain(found if stored is None or pa.types.is_timestamp(found) else stored)


def plain(dtype: pa.DataType) -> pa.DataType:
    """The type with everything large, viewed or encoded replaced by its plain form, at any depth."""
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
