"""The keys of a dialect of text: how rows, fields and numbers are written; `fields` is what follows from them."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from historian.plant.keys import Model


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"unknown encoding {name!r}; write one such as utf-8, cp1252, utf-16 or shift_jis") from None


class Dialect(Model):
    """How text is written: encoding, lines that are no rows, fields, numbers."""

    encoding: Annotated[str, AfterValidator(_encoding)] | None = Field(
        None, description="text: such as cp1252 or shift_jis; UTF-8 if absent, or what a byte order mark says."
    )
    skip_rows: int = Field(0, ge=0, description="text, Excel: lines before the header, or before the first sample.")
    header: bool | None = Field(
        None,
        description="text, Excel: whether a line names the columns; layout waveform: no, others: yes. Without one an "
        "address is #2, the column's number from 1.",
    )
    skip_rows_after_header: int = Field(0, ge=0, description="text, Excel: lines below the header, such as units.")
    comment: str = Field("", description='text: beginning of lines to leave out, such as "#".')
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1, strip_whitespace=False)] = Field(
        ",", description='text: between fields; " " stands for any number of blanks and tabs.'
    )
    quote: Annotated[str, StringConstraints(max_length=1)] = Field(
        '"', description="text: around fields that hold a separator; empty if there is no such character."
    )
    decimal: Literal[".", ","] = Field(
        ".", description="text: decimal mark of numbers; in a sheet numbers are numbers."
    )
    thousands: Annotated[Literal["", ".", ",", " ", "'"], StringConstraints(strip_whitespace=False)] = Field(
        "", description="text: mark between groups of three digits; any other place of it makes no number."
    )
    sheet: str | None = Field(None, description="Excel: name of the sheet; the first one if absent.")

    @model_validator(mode="after")
    def _marks(self) -> Dialect:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.quote and self.quote == self.separator:
            raise ValueError(f"quote and separator are both {self.quote!r}")
        return self
