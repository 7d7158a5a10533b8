"""The `files` driver: an archive in a folder of files, as historians, loggers and measurement systems export them.

    [archives.history]
    driver = "files"
    path = "history/*.csv"
    layout = "long"
    timezone = "Europe/Berlin"
    tags = "tags/history.csv"

    layout      one row or burst consists of                 a tag's address is
    long        timestamp, tag, value, perhaps quality       its name in the file
    wide        timestamp and a column a tag                 its column; #3 is the third one, also without a header
    waveform    .parquet: timestamp and a list a tag         its column
                .mat: the whole file                         its variable, or a path in it: bearing.gs, run{2}.x, m[:,1]
                .wav: the whole file                         its channel's number, from 1
                .tdms: the whole file                        group/channel
                .uff, .unv: the whole file                   the number of its data set 58, from 1
                .csv, .txt: the whole file, no header        its column's number, from 1

A tag of kind speed in a waveform archive is the speed that the file states: one number, or a column or channel of them
that hardly varies (.mat: X105RPM; .tdms: also a property, @RPM of the file or group/channel@RPM). It becomes one
sample, at the start of the file. A speed that contradicts the asset's speed_rpm by more than 2 % is named by each
backfill, and windows get the reason speed_contradicted.

Tables are text (.csv, .txt), Parquet or a sheet of Excel (.xlsx, .xlsm, .xlsb, .xls, .ods). Each file may be packed
(.gz, .bz2, .zst, .zip, whose members are files too). `format` says what files of other suffixes are. docs/files.md
shows the keys for the exports of each historian; `options.Options` has all of them.

What is not certain is not guessed. A row of another number of fields, a cell that is no number, a quality outside the
declared vocabulary, a time that the clock change makes ambiguous, and a time before 1980 or after 2200 go to quarantine
with file, row, text and reason. Times without a zone need `timezone`.

The sample rate of a waveform is that of its point. If a file says another one (WAV, TDMS, universal files, a column of
seconds in text, in MATLAB what the key `rate` names), the tag is not read from it. Neither is a burst that overlaps
another one of its tag by a tenth or more. Integers of WAV files are counts of the converter, of which the tag list's
`scale` makes units.

A file that cannot be read, a file whose format nothing says, and a tag whose address is in no file are named by each
backfill; they hold up nothing else. Once they are mended, `penstock backfill --again` reads what they had.

A backfill parses each table once, page by page: its slices begin where files begin, and files whose times overlap share
one. It is planned by a glance at both ends of large files of text; rows that the ends do not show are read with their
file. With --start or --end all times are looked at first. An interruption costs the slice that was being read, so a
long history is better kept in several files.
"""

from __future__ import annotations

from typing import Final, cast

from bridge.drivers.files.options import Columns, Options
from bridge.drivers.protocols import Driver, opened_by
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig, Tag


def check_tags(connection: ConnectionConfig) -> None:
    """Check the tags. Raises `ConfigError` for tags that the layout cannot provide."""
    options, problems = cast(Options, connection.options), []
    for tag in connection.tags if options.layout == "waveform" else ():
        if text := _unfit(tag, options):
            problems.append(Problem(*tag.listed, text))
        if _counts_columns(options) and not tag.address.lstrip("#").isdecimal():
            problems.append(
                Problem(
                    *tag.listed, f"the address {tag.address!r} is not the number of a column or channel, counted from 1"
                )
            )
    if problems:
        raise ConfigError(problems)


def _unfit(tag: Tag, options: Options) -> str:
    """Return why a waveform file cannot fill the tag's point; empty if it can."""
    if tag.sample_rate is not None:
        return ""
    if tag.kind != "speed":
        return f"has no sample rate: waveforms fill vibration points, not {tag.kind} ones"
    if options.format_of(options.path) == "parquet":
        return 'is a speed: read it from the same files by a second archive with layout = "wide"'
    return (
        'is a speed, stated for the start of a file; stamp = "last" leaves that open' if options.stamp == "last" else ""
    )


def _counts_columns(options: Options) -> bool:
    """Whether an address is the number of a column or channel."""
    kind = options.format_of(options.path)
    return kind == "wav" or (kind == "text" and not options.has_header)


driver: Final = Driver(
    options=Options,
    address=Columns,
    archive=opened_by("bridge.drivers.files.archive:FilesArchive"),
    browse=opened_by("bridge.drivers.files.browse:browse"),
    check_tags=check_tags,
)
