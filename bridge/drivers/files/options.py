"""The keys of an archive with `driver = "files"`, checked as far as that can be done without opening a file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from bridge.drivers.files.dialect import Dialect
from bridge.drivers.files.forms import TimeRule, checked_form
from bridge.drivers.files.patterns import compiled
from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.files.zones import is_zone
from historian.plant.keys import Model
from historian.times import Duration

Format = Literal["text", "parquet", "excel", "matlab", "wav", "tdms", "uff"]
Layout = Literal["long", "wide", "waveform"]

FORMATS: Final[dict[str, Format]] = {
    ".csv": "text", ".txt": "text", ".parquet": "parquet", ".mat": "matlab", ".wav": "wav", ".tdms": "tdms",
    ".uff": "uff", ".unv": "uff", ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel", ".xls": "excel",
    ".ods": "excel",
}  # fmt: skip
"""Suffix -> format."""
COMPRESSIONS: Final = (".gz", ".bz2", ".zst", ".zip")
"""Suffixes that may follow that of the format."""
_LAYOUTS: Final[dict[Format, tuple[Layout, ...]]] = {
    "text": get_args(Layout),
    "parquet": get_args(Layout),
    "excel": ("long", "wide"),
    "matlab": ("waveform",),
    "wav": ("waveform",),
    "tdms": ("waveform",),
    "uff": ("waveform",),
}
_TIMELESS: Final[tuple[Format, ...]] = ("text", "matlab", "wav", "uff")


def suffixes(path: Path | str) -> tuple[str, str]:
    """Return the suffix of the format and that of the compression, in lower case; each empty if it is unknown."""
    name = str(path).lower()
    packed = next((each for each in COMPRESSIONS if name.endswith(each)), "")
    name = name.removesuffix(packed)
    return next((each for each in FORMATS if name.endswith(each)), ""), packed


def _zone(name: str) -> str:
    if not is_zone(name):
        raise ValueError(f"unknown time zone {name!r}; write one such as Europe/Berlin or UTC")
    return name


def _start_pattern(pattern: str) -> str:
    return compiled(pattern).text


class Times(Model):
    """How times are written."""

    timestamp: str | tuple[str, str] = Field(
        "timestamp", description='Column of the timestamps, or those of date and time of day: ["Date", "Time"].'
    )
    timestamp_format: Annotated[str, AfterValidator(checked_form)] | None = Field(
        None,
        description="Pattern of timestamps that are not ISO 8601, such as %d.%m.%Y %H:%M:%S, or what they count: "
        "epoch-s, epoch-ms, epoch-us, epoch-ns, excel, excel-1904, excel-micro, dotnet-ticks, dotnet-ticks-local, "
        "filetime.",
    )
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        None, description="Time zone of timestamps without one, such as Europe/Berlin."
    )
    timezone_column: str | None = Field(None, description="long, wide: column of each row's time zone.")

    @property
    def timestamps(self) -> tuple[str, ...]:
        """The columns of the timestamp."""
        return (self.timestamp,) if isinstance(self.timestamp, str) else self.timestamp

    @property
    def rule(self) -> TimeRule:
        """How the times of rows are written."""
        return TimeRule(self.timestamp_format, self.timezone, self.timestamps[0])


class Options(Times, Dialect):
    """Keys of `[archives.NAME]` with `driver = "files"`; the module `bridge.drivers.files.driver` is their manual."""

    path: str = Field(min_length=1, description="The files, relative to plant.toml: history/*.csv, runs/**/*.parquet.")
    layout: Layout
    format: Format | None = Field(
        None, description="Format of all files, where their suffix does not say it: text for .dat, .log, .asc or none."
    )
    tag: str = Field("tag", description="long: column of the tags' names.")
    value: str | tuple[str, ...] = Field(
        "value", description="long: column of the values, or several, of which the first one that is not empty counts."
    )
    quality: str | Quality | None = Field(
        None,
        description="long: column of qualities and their vocabulary, { column, kind }; a column alone holds names of "
        "StatusCodes.",
    )
    stamp: Literal["first", "last"] = Field(
        "first", description="waveform: the sample that a burst's timestamp belongs to."
    )
    row: str | None = Field(None, description="waveform: column that numbers the bursts, for messages.")
    elapsed: str | None = Field(
        None,
        description="waveform, text: number of a column of seconds, with which the sample rate must agree; empty if "
        "column 1, which rises evenly, is none.",
    )
    rate: str | None = Field(
        None, description="waveform, .mat: where a file states its sample rate in Hz, to be compared: bearing.sr."
    )
    start: datetime | None = Field(
        None, description="waveform: start of a file that has no time, neither in it nor in its name."
    )
    every: Duration | None = Field(
        None, description="waveform: from the start of a numbered file to that of the next; start is that of number 1."
    )
    start_pattern: Annotated[str, AfterValidator(_start_pattern)] | None = Field(
        None, description="waveform: pattern of the file's name without suffix; with / also of its folders' names."
    )

    @property
    def values(self) -> tuple[str, ...]:
        """The columns of the value."""
        return (self.value,) if isinstance(self.value, str) else self.value

    @property
    def grading(self) -> Quality | None:
        """The column of qualities and its vocabulary; None if every row is Good."""
        return Quality(column=self.quality) if isinstance(self.quality, str) else self.quality

    @property
    def has_header(self) -> bool:
        """Whether a line of text names the columns."""
        return self.layout != "waveform" if self.header is None else self.header

    def format_of(self, name: str) -> Format | None:
        """Return the format of a file; None if nothing says it."""
        return self.format or FORMATS.get(suffixes(name)[0])

    @model_validator(mode="after")
    def _agree(self) -> Options:
        kind = self.format_of(self.path)
        if kind is None and not self.path.endswith(("*", *COMPRESSIONS)):
            raise ValueError(
                f"path {self.path!r} names no readable files; they end in {', '.join(FORMATS)}, also with "
                f'{", ".join(COMPRESSIONS)} after it; or say format = "text"'
            )
        if kind is not None and self.layout not in _LAYOUTS[kind]:
            allowed = " or ".join(f'layout = "{each}"' for each in _LAYOUTS[kind])
            what = "waveforms" if self.layout != "waveform" else "tables"
            raise ValueError(f"{suffixes(self.path)[0] or kind} files hold {what}; write {allowed}")
        if self.rate is not None and kind != "matlab":
            raise ValueError("rate is for MATLAB files; other formats state their sample rate themselves")
        self._check_start(kind)
        if self.layout != "long" and self.quality is not None:
            raise ValueError(f"quality is a column of long tables; layout {self.layout!r} has none")
        return self

    def _check_start(self, kind: Format | None) -> None:
        named = self.start is not None, self.start_pattern is not None
        if any(named) and self.layout != "waveform":
            raise ValueError(
                f"start and start_pattern are for waveforms; layout {self.layout!r} has a time in each row"
            )
        if all(named):
            raise ValueError("give start or start_pattern, not both")
        if self.every is not None and self.start is None:
            raise ValueError("every goes with start, which is the time of file number 1")
        if self.layout == "waveform" and kind in _TIMELESS and not any(named):
            ending = suffixes(self.path)[0] or kind
            raise ValueError(f"{ending} files do not say when they start; give start_pattern or start")


class Columns(Model):
    """The driver adds no column to the tag list."""
