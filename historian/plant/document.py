"""The plant file as text: reading it, filling in secrets, and telling in which line a key stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from historian.errors import ConfigError, Problem


@dataclass(frozen=True)
class Document:
    """A TOML file with its text, to tell in which line a key stands."""

    path: Path
    text: str
    values: dict[str, Any]

    def place(self, *keys: str) -> str:
        """`line 12` for the deepest key that can be found, or nothing."""
        line = toml_line(self.text, keys)
        return f"line {line}" if line else ""

    def problem(self, text: str, *keys: str) -> Problem:
        """`text` as a problem of the line where `keys` stand."""
        return Problem(self.path.name, self.place(*keys), text)


def read_toml(path: Path) -> Document:
    """Reads a TOML file, with `${NAME}` replaced by the environment's value. Raises `ConfigError`."""
    try:
        text = _substitute(path.read_text(encoding="utf-8"), path.name)
        return Document(path, text, tomllib.loads(text))
    except FileNotFoundError:
        raise ConfigError(f"there is no plant file {path}; name one with --plant, or run `penstock demo`") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([Problem(path.name, "", f"cannot be read as TOML: {error}")]) from None


def _substitute(text: str, file: str) -> str:
    """Replaces `${NAME}` by the environment's value, so that secrets stay out of the file."""
    names = set(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", text))
    missing = sorted(names - os.environ.keys())
    if missing:
        raise ConfigError(
            [
                Problem(file, "", f"the environment has no {name}, which the file uses as ${{{name}}}; set it")
                for name in missing
            ]
        )
    for name in names:
        value = os.environ[name].strip("\r\n")  # which a secret file has at its end, and TOML does not allow there
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        text = text.replace(f"${{{name}}}", quoted)
    return text


def toml_line(text: str, keys: tuple[str, ...]) -> int | None:
    """The line of the deepest of nested `keys` that the text shows, counted from 1.

    Reads table headers and `key =` lines only: enough to send a person to the right place, not a parser.
    """
    table: tuple[str, ...] = ()
    best, found = 0, None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            table = tuple(part.strip().strip('"') for part in header[1].split("."))
            path = table
        elif entry := re.match(r"\s*([\w\".-]+)\s*=", line):
            path = table + tuple(part.strip('"') for part in entry[1].split("."))
        else:
            continue
        if len(path) > best and path == keys[: len(path)]:
            best, found = len(path), number
    return found


def problems_of(error: ValidationError, document: Document) -> Iterator[Problem]:
    """pydantic's complaints about the whole document, each with its line."""
    for detail in error.errors():
        keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
        # The value of an unknown key may be a secret under a misspelt name.
        given = "" if detail["type"] == "extra_forbidden" else detail["input"]
        yield document.problem(f"{'.'.join(keys)}: {readable_message(detail['msg'], given)}", *keys)


def readable_message(message: str, given: object) -> str:
    """pydantic's message without its prefix, with the offending value where it is short."""
    message = message.removeprefix("Value error, ")
    shown = "" if isinstance(given, dict | list | BaseModel) or given == "" else repr(given)
    return f"{message}, not {shown}" if 0 < len(shown) <= 60 and shown not in message else message
