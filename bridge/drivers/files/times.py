"""Reads columns of times: ISO 8601, patterns, numbers that count, zones by name or by column. Pure and columnar.

Nothing is guessed: a time that is not certain is no time, and the reason says what to write in plant.toml.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.files.forms import COUNTERS, LIKELY, Counter, TimeRule
from bridge.drivers.files.patterns import Pattern, compiled
from bridge.drivers.files.zones import FIRST_YEAR, abbreviations, is_zone
from historian.errors import SourceError

ROW: Final = "#row"
INSTANT: Final = "#instant"
FAULT: Final = "#fault"
GIVEN: Final = "#given"
"""Names of columns that the driver adds to those of a file; no historian names a tag like this."""


_LAST_YEAR: Final = 2200
_FEW: Final = 1_000
"""Number of rows below which it is not worth finding those that repeat a time."""
PLACEHOLDER: Final = (
    f"the timestamp is a placeholder: a year before {FIRST_YEAR} or after {_LAST_YEAR} is the zero or the end of a "
    "clock"
)
_ISO_ZONED: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_ISO_LOCAL: Final = "%Y-%m-%dT%H:%M:%S%.f"
_ISO: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?$"
_ISO_UTC: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
"""What nearly all exports of UTC have: read in a quarter of the time of the other variants."""
_LOOSE: Final = (
    (r"\s*(?:UTC|GMT|Utc|z)$", "Z"),
    (r"^(\d{4}-\d\d-\d\d)[\sTt]+", "${1}T"),
    (r"^(\d{4})(\d\d)(\d\d)[Tt\s]?(\d\d)(\d\d)(\d\d)", "${1}-${2}-${3}T${4}:${5}:${6}"),
    (r"\s+([+-]\d\d(?::?\d\d)?)$", "${1}"),
    (r"([+-]\d\d)$", "${1}:00"),
    (r"^(\d{4}-\d\d-\d\dT\d\d:\d\d)(Z|[+-]\d\d:?\d\d)?$", "${1}:00${2}"),
    (r",(\d+)", ".${1}"),
    (r"(\.\d{9})\d+", "${1}"),
)
"""Variants of ISO 8601 -> the one that Polars reads."""


class _Read(NamedTuple):
    """A column of times as read; each is null where the other or neither is known."""

    zoned: pl.Series
    """Instants, UTC."""
    naive: pl.Series
    """Local times."""
    fault: pl.Series
    """A reason of its own why a text cannot be read; mostly null."""


def with_instants(
    frame: pl.DataFrame, columns: Sequence[str], rule: TimeRule, zones: str | None = None
) -> pl.DataFrame:
    """Parse a column of times and add `INSTANT` (UTC, microseconds), `FAULT` and `GIVEN`.

    `FAULT` says why a row has no instant, and `GIVEN` is the text at fault. A local time that a clock change repeats or
    skips has no instant.

    Args:
        frame: rows of a file.
        columns: name of the column of times, or of those of date and time of day.
        rule: how the times are written.
        zones: column of each row's time zone, if there is one.

    Raises:
        SourceError: times have no zone and `rule` has none.
    """
    given = frame.get_column(columns[0])
    if len(columns) == 1 and zones is None and (heads := _heads(given)) is not None:
        read_once = with_instants(frame.filter(heads).select(columns), columns, rule)
        return frame.hstack(_repeated(read_once, heads.cast(pl.UInt32).cum_sum() - 1))
    if len(columns) > 1:
        given = frame.select(
            pl.concat_str(pl.col(columns).cast(pl.String).str.strip_chars(), separator=" ")
        ).to_series()
    text = given.cast(pl.String).str.strip_chars()
    read = _read(given, text, rule)
    if zones is not None:
        local, wrong = _in_zones(read.naive, frame.get_column(zones).cast(pl.String).str.strip_chars())
        read = read._replace(fault=read.fault.zip_with(read.fault.is_not_null(), wrong))
    else:
        _check_zone(read.naive, text, rule)
        local = read.naive.dt.replace_time_zone(rule.zone or "UTC", ambiguous="null", non_existent="null")
    instant = read.zoned.fill_null(local.dt.convert_time_zone("UTC"))
    placeholder = (
        (read.zoned.dt.replace_time_zone(None).fill_null(read.naive)).dt.year().is_between(FIRST_YEAR, _LAST_YEAR)
    )
    instant = instant.zip_with(placeholder.fill_null(value=True), _nothing(len(instant), "UTC"))
    fault = quoted = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    if instant.null_count():
        fault = _faults(instant, text, read, placeholder, rule)
        quoted = text.zip_with(instant.is_null(), quoted)
    return frame.with_columns(instant.alias(INSTANT), fault.alias(FAULT), quoted.alias(GIVEN))


def _heads(given: pl.Series) -> pl.Series | None:
    """Return which rows have another text than the row before; None if most have, so that each is read by itself."""
    if given.dtype != pl.String or len(given) < _FEW:
        return None
    heads = given.ne_missing(given.shift())
    heads = heads.scatter(0, values=True)
    return heads if (heads.sum() or 0) * 2 <= len(given) else None


def _repeated(read_once: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Return `INSTANT`, `FAULT` and `GIVEN` of the row at each place."""
    if read_once[FAULT].null_count() < read_once.height:
        return read_once.select(INSTANT, FAULT, GIVEN)[places]
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, len(places))
    return pl.DataFrame({INSTANT: read_once[INSTANT].gather(places), FAULT: nothing, GIVEN: nothing})


def _check_zone(naive: pl.Series, text: pl.Series, rule: TimeRule) -> None:
    if rule.zone is None and naive.null_count() < naive.len():
        raise SourceError(
            f'the times in "{rule.name}", such as {text.filter(naive.is_not_null())[0]}, have no zone; '
            'say which local time they are with timezone = "Europe/Berlin" or the like'
        )


def _faults(instant: pl.Series, text: pl.Series, read: _Read, placeholder: pl.Series, rule: TimeRule) -> pl.Series:
    """Return why there is no instant, null where there is one."""
    zone = rule.zone or "UTC"
    earlier = read.naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    said = pl.col("said")
    likely = [
        (said.str.contains(expression), f'the timestamp is a number; see timestamp_format, perhaps "{name}"')
        for expression, name in LIKELY
    ]
    unreadable = pl.lit("the timestamp cannot be read; see timestamp_format")
    for condition, message in likely if rule.form is None else []:
        unreadable = pl.when(condition).then(pl.lit(message)).otherwise(unreadable)
    columns = {"instant": instant, "said": text, "naive": read.naive, "earlier": earlier, "own": read.fault}
    return (
        pl.DataFrame(columns)
        .with_columns(is_time=placeholder)
        .select(
            pl.when(pl.col("instant").is_not_null())
            .then(None)
            .when(said.is_null() | (said == ""))
            .then(pl.lit("the timestamp is empty"))
            .when(~pl.col("is_time"))
            .then(pl.lit(PLACEHOLDER))
            .when(pl.col("own").is_not_null())
            .then(pl.col("own"))
            .when(pl.col("naive").is_null())
            .then(unreadable)
            .when(pl.col("earlier").is_null())
            .then(pl.lit(f"the local time does not exist in {zone}: the clock skips it"))
            .otherwise(pl.lit(f"the local time occurs twice in {zone}: the clock is set back"))
        )
        .to_series()
        .cast(pl.String)
    )


def _nothing(length: int, zone: str | None = None) -> pl.Series:
    return pl.Series([None], dtype=pl.Datetime("us", zone)).new_from_index(0, length)


def _read(given: pl.Series, text: pl.Series, rule: TimeRule) -> _Read:
    """Return the column as UTC instants where it has a zone, and as naive times where it has none."""
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, len(given))
    zoned, naive = _nothing(len(given), "UTC"), _nothing(len(given))
    if given.dtype.is_temporal():
        times = given.cast(pl.Datetime("us", getattr(given.dtype, "time_zone", None)))
        if times.dtype == pl.Datetime("us"):
            return _Read(zoned, times, absent)
        return _Read(times.dt.convert_time_zone("UTC"), naive, absent)
    form = "epoch-s" if rule.form == "%s" else rule.form
    if form is not None and form in COUNTERS:
        times = _counted(given, text, COUNTERS[form])
        return (
            _Read(zoned, times, absent)
            if COUNTERS[form].is_local
            else _Read(times.dt.replace_time_zone("UTC"), naive, absent)
        )
    if form is not None:
        return _by_pattern(text, compiled(form), rule.zone)
    return _iso(text, absent)


def _iso(text: pl.Series, absent: pl.Series) -> _Read:
    """Read ISO 8601 and its usual variants: no seconds, blanks, UTC in words, offsets of hours, the basic form."""
    iso = text.str.replace(" ", "T", literal=True)
    if iso.str.contains(_ISO_UTC).all():
        times = iso.str.to_datetime(_ISO_LOCAL.removesuffix("%.f") + "Z", time_unit="us", strict=False)
        return _Read(times.dt.replace_time_zone("UTC"), _nothing(len(text)), absent)
    plain = iso.str.contains(_ISO)
    if not plain.fill_null(value=True).all():
        odd = text.filter(~plain.fill_null(value=True))
        for expression, replacement in _LOOSE:
            odd = odd.str.replace(expression, replacement)
        iso = iso.scatter((~plain.fill_null(value=True)).arg_true(), odd)
        plain = iso.str.contains(_ISO)
    iso = iso.zip_with(plain, absent)
    is_utc, has_offset = iso.str.ends_with("Z"), iso.str.contains(r"T.*[+-]\d\d:?\d\d$")
    local = _local(iso.str.strip_suffix("Z").zip_with(~has_offset, absent))
    zoned, nothing = local.dt.replace_time_zone("UTC").zip_with(is_utc, _nothing(len(text), "UTC")), _nothing(len(text))
    if has_offset.any():
        offset = absent.zip_with(~has_offset, iso).str.to_datetime(_ISO_ZONED, time_unit="us", strict=False)
        zoned = zoned.fill_null(offset)
    return _Read(zoned, nothing.zip_with(is_utc, local), absent)


def _local(text: pl.Series) -> pl.Series:
    """Read ISO 8601 without a zone; Polars is four times as fast where no fraction is possible."""
    form = _ISO_LOCAL if text.str.contains(".", literal=True).any() else _ISO_LOCAL.removesuffix("%.f")
    return text.str.to_datetime(form, time_unit="us", strict=False)


def _by_pattern(text: pl.Series, pattern: Pattern, zone: str | None) -> _Read:
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, len(text))
    following = text.zip_with(text.str.contains(pattern.whole), absent)
    kept = following.str.replace(pattern.whole, pattern.kept) if pattern.is_rewritten else following
    if pattern.chrono.endswith(" %M") and "M" not in pattern.letters:
        kept = (kept.to_frame("t").select(pl.col("t") + " 00")).to_series()
    times = kept.str.to_datetime(pattern.chrono, time_unit="us", strict=False)
    if pattern.has_offset:
        return _Read(times, _nothing(len(text)), absent)
    if not pattern.name_group:
        return _Read(_nothing(len(text), "UTC"), times, absent)
    return _by_name(times, following.str.extract(pattern.whole, pattern.name_group), zone)


def _by_name(times: pl.Series, names: pl.Series, zone: str | None) -> _Read:
    """Apply the abbreviations of the archive's time zone, and UTC; another zone may use the same for something else."""
    offsets = abbreviations(zone)
    offset = names.str.to_uppercase().replace_strict(offsets, default=None, return_dtype=pl.Int64)
    instants = (times.to_physical() - offset).cast(pl.Datetime("us", "UTC"))
    known = ", ".join(offsets)
    reason = f"the abbreviation of the time zone is not one of {zone or 'UTC'}: {known}; see timezone"
    faults = pl.DataFrame({"name": names, "offset": offset}).select(
        pl.when(pl.col("name").is_not_null() & pl.col("offset").is_null()).then(pl.lit(reason))
    )
    return _Read(instants, _nothing(len(times)), faults.to_series().cast(pl.String))


def _counted(given: pl.Series, text: pl.Series, counter: Counter) -> pl.Series:
    """Return numbers as naive times; whole numbers exactly, others to the microsecond."""
    whole = given if given.dtype.is_integer() else text.cast(pl.Int64, strict=False)
    exact = counter.us >= 1 and counter.us == int(counter.us)
    if exact:  # larger ones would begin again with small ones
        whole = whole.cast(pl.Int64)
        whole = whole.zip_with(whole.abs() < 2**62 // int(counter.us), whole.clear(len(whole)))
    counted = whole.cast(pl.Int64) * int(counter.us) if exact else whole.cast(pl.Int64) // round(1 / counter.us)
    if whole.null_count() or not (exact or counter.us < 1):
        number = (
            given
            if given.dtype.is_numeric()
            else text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        )
        parts, step = number.cast(pl.Float64), counter.resolution_us
        parts = parts.zip_with(parts.is_finite() & (parts.abs() * counter.us < 2**62), parts.clear(len(parts)))
        counted = counted.zip_with(
            whole.is_not_null(), (parts * counter.us / step).round().cast(pl.Int64, strict=False) * step
        )
    since = (counter.origin - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001 (naive as the origin)
    return (counted + since).cast(pl.Datetime("us"))


def _in_zones(naive: pl.Series, zones: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return local times of several zones as instants, and why some are not: a loop over the zones, not the rows."""
    frame = pl.DataFrame({"naive": naive, "zone": zones}).with_columns(
        instant=pl.lit(None, pl.Datetime("us", "UTC")), fault=pl.lit(None, pl.String)
    )
    for zone in frame["zone"].unique().to_list():
        here = pl.col("zone").eq_missing(pl.lit(zone, pl.String))
        if zone is None or not is_zone(zone):
            wrong = pl.lit("the time zone of the row is unknown; see timezone_column")
            frame = frame.with_columns(fault=pl.when(here).then(wrong).otherwise("fault"))
            continue
        local = pl.col("naive").dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        instant = local.dt.convert_time_zone("UTC")
        unclear = pl.lit(f"the local time occurs twice in {zone} or not at all: the clock changes")
        missing = here & instant.is_null() & pl.col("naive").is_not_null()
        frame = frame.with_columns(
            instant=pl.when(here).then(instant).otherwise("instant"),
            fault=pl.when(missing).then(unclear).otherwise("fault"),
        )
    return frame["instant"], frame["fault"]
