"""Times as exports write them: patterns, numbers that count, ISO 8601 in its variants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.files.forms import COUNTERS, TimeRule
from bridge.drivers.files.patterns import compiled
from bridge.drivers.files.times import FAULT, INSTANT, with_instants
from bridge.drivers.files.zones import abbreviations

FIRST = datetime(1981, 1, 1, tzinfo=UTC)
times = st.integers(0, 200 * 365 * 86_400_000_000).map(lambda us: FIRST + timedelta(microseconds=us))
PATTERNS = [
    "%Y-%m-%d %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S,%f",
    "%m/%d/%Y %I:%M:%S.%f %p",
    "%Y%m%d%H%M%S%f",
    "%a %b %d %H:%M:%S.%f %Z %Y",
    "%d-%B-%Y %H:%M:%S.%f %z",
    "%Y-%j/%H:%M:%S.%f",
]


def read(texts: list[str], form: str | None, zone: str | None = "UTC") -> list[datetime | None]:
    """The instants of some texts."""
    return with_instants(pl.DataFrame({"t": texts}), ["t"], TimeRule(form, zone))[INSTANT].to_list()


@settings(max_examples=20)
@given(instants=st.lists(times, min_size=1, max_size=5), pattern=st.sampled_from(PATTERNS))
def test_what_python_writes_by_a_pattern_is_read_by_it(instants: list[datetime], pattern: str) -> None:
    """Every directive means what it means to strftime, for all years, to the microsecond."""
    texts = [instant.strftime(pattern.replace("%Y", f"{instant.year:04d}")) for instant in instants]
    assert read(texts, pattern) == instants


@settings(max_examples=20)
@given(instants=st.lists(times, min_size=1, max_size=5), form=st.sampled_from(sorted(COUNTERS)))
def test_numbers_that_count_are_read_exactly(instants: list[datetime], form: str) -> None:
    """Whole units come back exactly, and days with ten decimals to the millisecond."""
    counter = COUNTERS[form]
    origin = counter.origin.replace(tzinfo=UTC)
    if counter.resolution_us > 1 or counter.us >= 1000:
        instants = [instant.replace(microsecond=0) for instant in instants]
    units = [(instant - origin) / timedelta(microseconds=1) / counter.us for instant in instants]
    exact = [(instant - origin) // timedelta(microseconds=1) * round(1 / counter.us) for instant in instants]
    texts = [str(each) for each in exact] if counter.us < 1 else [f"{each:.10f}" for each in units]
    assert read(texts, form) == instants


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("%Y-%m-%d %Q", "has %Q, which is unknown"),
        ("%Y-%m-%d %", "has %, which is unknown"),
        ("yyyy-MM-dd", "has no % fields"),
        ("%H:%M:%S", "has no date"),
        ("%Y-%m", "has no date"),
        ("%Y-%m-%d %d", "has %d twice"),
        ("%Y-%m-%d %I:%M", "needs %I and %p together"),
        ("%Y-%m-%d %H:%S", "has a part of the time without the one above it"),
        ("%Y-%m-%d %H:%M %z %Z", "says the same thing in two ways"),
        ("%s %Y", "seconds since 1970, which go with no other field"),
    ],
)
def test_a_pattern_that_can_be_no_time_is_refused(pattern: str, message: str) -> None:
    """The message says which directive is at fault."""
    with pytest.raises(ValueError, match=message):
        compiled(pattern)


def test_digits_that_adjoin_have_two_places() -> None:
    """Elsewhere a day or month may have one digit."""
    assert read(["2023111", "20230101"], "%Y%m%d") == [None, datetime(2023, 1, 1, tzinfo=UTC)]
    assert read(["1.1.2023", "11.11.2023"], "%d.%m.%Y") == [
        datetime(2023, 1, 1, tzinfo=UTC),
        datetime(2023, 11, 11, tzinfo=UTC),
    ]


def test_abbreviations_are_those_of_the_zone() -> None:
    """CST is six hours behind in Chicago and eight ahead in Shanghai; one that was two things is neither."""
    hour = 3_600_000_000
    assert abbreviations("America/Chicago")["CST"] == -6 * hour
    assert abbreviations("Asia/Shanghai")["CST"] == 8 * hour
    assert abbreviations(None) == {"UTC": 0, "GMT": 0, "Z": 0}


def test_a_number_in_place_of_a_time_is_named_with_what_it_may_count() -> None:
    """The key that mends it is in the reason."""
    texts = ["1688205600", "1688205600000", "1688205600000000", "1688205600000000000", "45108.5", "638238024000000000"]
    faults = with_instants(pl.DataFrame({"t": texts}), ["t"], TimeRule())[FAULT].to_list()
    names = ["epoch-s", "epoch-ms", "epoch-us", "epoch-ns", "excel", "dotnet-ticks"]
    assert faults == [f'the timestamp is a number; see timestamp_format, perhaps "{name}"' for name in names]
