"""When a file of one burst starts: its name says so, plant.toml, or the file itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import polars as pl

from bridge.drivers.files.forms import TimeRule
from bridge.drivers.files.opening import ArchiveFile
from bridge.drivers.files.options import Options
from bridge.drivers.files.times import FAULT, GIVEN, INSTANT, ROW, with_instants
from historian.errors import SourceError


def start_of(file: ArchiveFile, options: Options, said: datetime | None) -> pl.DataFrame:
    """Return the start of a file as a row of `ROW`, `INSTANT`, `FAULT` and `GIVEN`.

    Args:
        file: the file; its name counts, and with a slash in the pattern also its folders'.
        options: the archive's.
        said: what the file itself says.

    Raises:
        SourceError: nothing says when it starts.
    """
    if options.start_pattern is not None:
        depth = options.start_pattern.count("/") + 1
        name = "/".join(file.plain_name.split("/")[-depth:])
        found = with_instants(
            pl.DataFrame({"name": [name]}), ["name"], TimeRule(options.start_pattern, options.timezone)
        )
        if (found[FAULT] == "the timestamp cannot be read; see timestamp_format").any():
            raise SourceError(f"its name, {name}, does not follow start_pattern {options.start_pattern}")
    else:
        start = _numbered(file, options) or said
        if start is None:
            raise SourceError("it does not say when it starts; give start_pattern or start")
        aware = start.astimezone(UTC) if start.tzinfo else start
        found = with_instants(pl.DataFrame({"start": [aware]}), ["start"], TimeRule(zone=options.timezone))
    return found.select(pl.lit("1").alias(ROW), INSTANT, FAULT, GIVEN)


def _numbered(file: ArchiveFile, options: Options) -> datetime | None:
    """Return the start of number 1, and `every` more for each number after it."""
    if options.start is None or options.every is None:
        return options.start
    numbers = re.findall(r"\d+", file.plain_name.rsplit("/", 1)[-1])
    if not numbers:
        raise SourceError(f"its name has no number, by which every = {options.every} could be counted")
    return options.start + (int(numbers[-1]) - 1) * options.every
