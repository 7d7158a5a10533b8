"""The `files` driver: an archive in a folder of files, as historians, loggers and measurement systems export them.

    [archives.history]
    driver = "files"
    path = "history/*.csv"
    layout = "long"
    timezone = "Europe/Berlin"
    tags = "tags/history.csv"

    layout      one row or burst consists of                 a tag's address is
    long        timestamp, tag, value, perhaps quality       its name in the file
    wide        timestamp and a column a tag                 its column
    waveform    .parquet: timestamp and a list a tag         its column
                .mat: the whole file                         its variable, or struct.field
                .wav: the whole file                         its channel's number, from 1
                .csv, .txt: the whole file, no header        its column's number, from 1

Tables are .csv, .txt (both also .gz) or .parquet. The other keys are in `options.Options`.

A WAV file names its own sample rate; a tag whose point has another one is not read, and both rates are reported.
Samples of 16, 24 and 32 bits are counts of the converter, of which the tag list's `scale` makes units.

Times without a zone need `timezone`; those that the clock change makes ambiguous are rejected, never guessed. The
sample rate of a waveform is that of its point. A file that cannot be read does not stop the others; all such files
are reported at the end.

A backfill reads each table once, page by page: its slices begin where files begin, and files whose times overlap share
one. An interruption costs the slice that was being read, so a long history is better kept in several files.
"""

from __future__ import annotations

from typing import Final, cast

from bridge.drivers.files.options import Columns, Options
from bridge.drivers.protocols import Driver, opened_by
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig


def check_tags(connection: ConnectionConfig) -> None:
    """Check the tags. Raises `ConfigError` for tags that the layout cannot provide."""
    options, problems = cast(Options, connection.options), []
    for tag in connection.tags if options.layout == "waveform" else ():
        if tag.sample_rate is None:
            problems.append(
                Problem(*tag.listed, f"has no sample rate: waveforms fill vibration points, not {tag.kind} ones")
            )
        if _counts_columns(options) and not tag.address.lstrip("#").isdecimal():
            problems.append(
                Problem(
                    *tag.listed, f"the address {tag.address!r} is not the number of a column or channel, counted from 1"
                )
            )
    if problems:
        raise ConfigError(problems)


def _counts_columns(options: Options) -> bool:
    """Whether an address is the number of a column or channel."""
    kind = options.format_of(options.path)
    return kind == "wav" or (kind == "text" and not options.has_header)


driver: Final = Driver(
    options=Options,
    address=Columns,
    archive=opened_by("bridge.drivers.files.archive:FilesArchive"),
    check_tags=check_tags,
)
