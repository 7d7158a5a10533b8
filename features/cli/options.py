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
    """Where work is done."""

    local = "local"
    ray = "ray"


FeatureOption = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", help="VIEW:NAME, any number of times; all features of the class if left out."),
]
EngineOption = Annotated[EngineName, typer.Option(help="This machine, or a Ray cluster.")]
AddressOption = Annotated[str, typer.Option(help="Of the Ray cluster: HOST:PORT.")]


def amount(text: str) -> int:
    """Bytes, from what a person writes.

    Raises:
        InvalidInput: it is not an amount.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2].upper()))) if found else 0
    if not size:
        raise InvalidInput(f"{text!r} is not an amount of memory; write 512MiB or 2GiB")
    return size
