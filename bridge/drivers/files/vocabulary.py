"""The key `quality` of an archive of files: a column, and the vocabulary in which it is written; see `qualities`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from historian.plant.keys import Model
from historian.quality import NAMES

Kind = Literal["names", "opc-ua", "opc-da", "ignition", "pi", "proficy", "map"]

CODES: Final = {name.lower(): code for code, name in NAMES.items()}
"""Name in lower case -> StatusCode."""


def _known(name: str) -> str:
    if name.lower() not in CODES:
        raise ValueError(f"unknown quality {name!r}; there are {', '.join(NAMES.values())}")
    return name


class Quality(Model):
    """The table `quality` of an archive of files: where each row's quality is, and in which vocabulary."""

    column: str = Field(min_length=1, description="Column of the qualities.")
    kind: Kind = Field(
        "names",
        description="Vocabulary: opc-ua, opc-da, ignition, pi, proficy (percent good), or map. names: names of "
        "StatusCodes, and numbers that can be nothing else.",
    )
    map: dict[str, Annotated[str, AfterValidator(_known)]] = Field(
        {}, description='kind map: what each text means: { "1" = "Good", "0" = "Bad", "" = "Good" }.'
    )

    @model_validator(mode="after")
    def _agree(self) -> Quality:
        if (self.kind == "map") != bool(self.map):
            raise ValueError('a map of qualities needs kind = "map", and the other way round')
        return self
