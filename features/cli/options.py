"""Options that several commands of the feature store take."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

import typer

from historian.errors import InvalidInput

MEMORY: Final = "2GiB"
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])i?B?", re.IGNORECASE)


class EngineName(StrEnum):
    """Where partitions are computed."""

    local = "local"
    ray = "ray"


FeatureOption = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", help="VIEW:NAME, any number of times; all features of the class if left out."),
]
EngineOption = Annotated[EngineName, typer.Option(help="This machine, or a Ray cluster.")]
AddressOption = Annotated[str, typer.Option(help="HOST:PORT of the Ray cluster.")]


def amount(text: str) -> int:
    """Return the bytes of an amount such as 512MiB.

    Raises:
        InvalidInput: it is no amount of memory.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2].upper()))) if found else 0
    if not size:
        raise InvalidInput(f"{text!r} is not an amount of memory; write 512MiB or 2GiB")
    return size
