"""The keys of an archive with `driver = "files"`, checked as far as that can be done without opening a file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from historian.plant.keys import Model

SUFFIXES: Final = (".csv", ".txt", ".csv.gz", ".txt.gz", ".parquet", ".mat")


def suffix(path: Path | str) -> str:
    """Return the suffix among `SUFFIXES` that the path ends in, in lower case; an empty string if there is none."""
    return max((known for known in SUFFIXES if str(path).lower().endswith(known)), key=len, default="")


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}; write one such as Europe/Berlin or UTC") from None


class Options(Model):
    """Keys of `[archives.NAME]` with `driver = "files"`; the module `bridge.drivers.files.driver` is their manual."""

    path: str = Field(min_length=1, description="The files, relative to plant.toml: history/*.csv, runs/**/*.parquet.")
    layout: Literal["long", "wide", "waveform"]
    timestamp: str = Field("timestamp", description="Column of the timestamps.")
    timestamp_format: str | None = Field(None, description="strptime pattern of timestamps that are not ISO 8601.")
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        None, description="Time zone of timestamps without one, such as Europe/Berlin."
    )
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1, strip_whitespace=False)] = ","
    decimal: Literal[".", ","] = "."
    tag: str = Field("tag", description="long: column of the tags' names.")
    value: str = Field("value", description="long: column of the values.")
    quality: str | None = Field(None, description="long: column of StatusCodes or their names.")
    stamp: Literal["first", "last"] = Field(
        "first", description="waveform: the sample that a burst's timestamp belongs to."
    )
    row: str | None = Field(None, description="waveform: column that numbers the bursts, for messages.")
    start: datetime | None = Field(
        None, description="waveform: start of a file that has no time, neither in it nor in its name."
    )
    start_pattern: str | None = Field(None, description="waveform: strptime pattern of the file's name.")

    @model_validator(mode="after")
    def _agree(self) -> Options:
        kind = suffix(self.path)
        if not kind and not self.path.endswith("*"):
            raise ValueError(f"path {self.path!r} names no readable files; they end in {', '.join(SUFFIXES)}")
        if self.separator == self.decimal:
            raise ValueError(f"separator and decimal are both {self.decimal!r}")
        if kind == ".mat" and self.layout != "waveform":
            raise ValueError('.mat files hold waveforms; write layout = "waveform"')
        named = self.start is not None, self.start_pattern is not None
        if any(named) and self.layout != "waveform":
            raise ValueError(
                f"start and start_pattern are for waveforms; layout {self.layout!r} has a time in each row"
            )
        if all(named):
            raise ValueError("give start or start_pattern, not both")
        if self.layout == "waveform" and kind not in ("", ".parquet") and not any(named):
            raise ValueError(f"{kind} files do not say when they start; give start_pattern or start")
        return self


class Columns(Model):
    """The driver adds no column to the tag list."""
