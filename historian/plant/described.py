"""The keys of a table or the columns of a tag list, described for people. Pure: a JSON Schema in, rows out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from historian.times import format_duration

_DURATION: Final = re.compile(r"P(\d+D)?(T.+)?")


class Key(NamedTuple):
    """A key or column."""

    name: str
    type: str
    """In a word or two; values that are listed are in backquotes."""
    default: str
    """Empty if there is none, or it is empty."""
    meaning: str


def keys_of(schema: Mapping[str, Any]) -> list[Key]:
    """Return the keys of a model, in its order.

    Args:
        schema: what pydantic's `model_json_schema` returns.
    """
    return [
        Key(name, _kind(each), _default(each), " ".join(each.get("description", "").split()))
        for name, each in schema.get("properties", {}).items()
    ]


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if isinstance(default, str) and _DURATION.fullmatch(
        default
    ):  # pydantic writes durations as ISO 8601, we as people do
        default = format_duration(TypeAdapter(timedelta).validate_python(default))
    return "" if default in (None, "") else str(default)


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    return str(schema.get("$ref", schema.get("type", "any"))).rsplit("/", 1)[-1]
