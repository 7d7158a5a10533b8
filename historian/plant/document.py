"""A TOML file with its text: reading it, inserting secrets from the environment, and finding the line of a key."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from historian.errors import ConfigError, Problem

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Document:
    """A TOML file with its text, in which the line of a key can be found."""

    path: Path
    text: str
    values: dict[str, Any]
    missing: frozenset[str] = frozenset()
    """Names of variables that the file refers to as `${NAME}` and the environment lacks."""

    def place(self, *keys: str) -> str:
        """Return `line 12` for the deepest key that can be found, or an empty string."""
        line = toml_line(self.text, keys)
        return f"line {line}" if line else ""

    def problem(self, text: str, *keys: str) -> Problem:
        """Return a problem with this text at the line of the nested `keys`."""
        return Problem(self.path.name, self.place(*keys), text)

    def unset(self) -> Iterator[tuple[tuple[str, ...], Problem]]:
        """Yield the keys whose value refers to a variable that the environment lacks, each with its problem."""
        for keys, name in _references(self.values, ()):
            if name in self.missing:
                yield keys, self.problem(_unset(name), *keys)


def read_toml(path: Path) -> Document:
    """Read a TOML file in which every `${NAME}` must be in the environment; see `read_unset_toml`.

    Raises:
        ConfigError: the file does not exist or is not TOML, or variables are missing; lists all of them.
    """
    document = read_unset_toml(path)
    if problems := [problem for _, problem in document.unset()]:
        raise ConfigError(problems)
    return document


def read_unset_toml(path: Path) -> Document:
    """Read a TOML file and replace each `${NAME}` by the environment's value, so that secrets stay out of the file.

    A reference to a variable that the environment lacks is not replaced; `Document.unset` finds it.

    Raises:
        ConfigError: the file does not exist or is not TOML.
    """
    missing: frozenset[str] = frozenset()
    try:
        written = path.read_text(encoding="utf-8")
        missing = frozenset(_REFERENCE.findall(written)) - os.environ.keys()
        text = _REFERENCE.sub(_value, written)
        return Document(path, text, tomllib.loads(text), missing)
    except FileNotFoundError:
        raise ConfigError(f"there is no plant file {path}; name one with --plant, or run `penstock demo`") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        if missing:  # outside quotation marks, the reference itself is not valid TOML
            raise ConfigError([Problem(path.name, "", _unset(name)) for name in sorted(missing)]) from None
        raise ConfigError([Problem(path.name, "", f"cannot be read as TOML: {error}")]) from None


def _value(reference: re.Match[str]) -> str:
    value = os.environ.get(reference[1])
    if value is None:
        return reference[0]
    value = value.strip("\r\n")  # files with secrets end in one, and TOML does not allow it in a string
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _unset(name: str) -> str:
    return f"the environment has no {name}, which the file uses as ${{{name}}}; set it"


def _references(value: object, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the names of variables in the strings of a value, each with the keys that lead to it."""
    if isinstance(value, str):
        for name in dict.fromkeys(_REFERENCE.findall(value)):
            yield keys, name
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _references(inner, (*keys, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner, keys)


def toml_line(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line, counted from 1, of the deepest of nested `keys` that is found in the text.

    Only table headers and `key =` lines are read: enough to direct a person to the right place.
    """
    table: tuple[str, ...] = ()
    best, found = 0, None
    entries = Counter[tuple[str, ...]]()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[+)([^\]]+)\]", line):
            table = tuple(part.strip().strip('"') for part in header[2].split("."))
            if header[1] == "[[":  # of an array of tables: keys name its entries by number
                entries[table] += 1
                table = (*table, str(entries[table] - 1))
            path = table
        elif entry := re.match(r"\s*([\w\".-]+)\s*=", line):
            path = table + tuple(part.strip('"') for part in entry[1].split("."))
        else:
            continue
        if len(path) > best and path == keys[: len(path)]:
            best, found = len(path), number
    return found


def problems_of(error: ValidationError, document: Document) -> Iterator[Problem]:
    """Yield the problems that pydantic found in a document, each with its line."""
    for detail in error.errors():
        keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
        # The value of an unknown key is not shown: it may be a secret under a misspelt name.
        given = "" if detail["type"] == "extra_forbidden" else detail["input"]
        yield document.problem(f"{'.'.join(keys)}: {readable_message(detail['msg'], given)}", *keys)


def readable_message(message: str, given: object) -> str:
    """Return pydantic's message without its prefix, followed by the offending value if it is short."""
    message = message.removeprefix("Value error, ")
    shown = "" if isinstance(given, dict | list | BaseModel) or given == "" else repr(given)
    return f"{message}, not {shown}" if 0 < len(shown) <= 60 and shown not in message else message
