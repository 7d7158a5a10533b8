"""Stretches in line protocol: exact, escaped, and keyed so that no write destroys another."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from historian.stores.influx.waveform_lines import (
    longest_us,
    octaves,
    period_us,
    series_octaves,
    waveform_bodies,
    waveform_lines,
)
from historian.waveforms.batch import ITEM_BYTES, MAX_BYTES, waveform_batch
from tests.historian.waveforms.rows import stretch

LIMIT = 65_535
"""Bytes of a string, as InfluxDB documents it; 2.8 accepts 1,048,576."""


def keys(frame: pl.DataFrame) -> list[str]:
    """Return series and time of each line."""
    lines = waveform_lines(waveform_batch(frame), written=1).to_list()
    return [line.split(" ")[0] + line.split(" ")[-1] for line in lines]


def test_a_stretch_is_a_line() -> None:
    """The values are one string, the statistics are floats, and the time is in nanoseconds."""
    batch = waveform_batch(stretch(5, [0.5, -1.0, 2.0], rate=1000.0, tag="de h", quality=0x40000000))
    assert waveform_lines(batch, written=7).to_list() == [
        'waveforms,octave=9,tag=de\\ h,thousands=0 values="BQD2/xQA",encoding="int16",scale=1.0,divisor=10.0,'
        "sample_rate=1000.0,count=3i,not_finite=0i,quality=1073741824i,low=-1.0,high=2.0,sum_squares=5.25,"
        "end=1767225600003506i,written=7i 1767225600000005875"
    ]


def test_a_stretch_without_a_finite_value_has_no_statistics() -> None:
    """InfluxDB has no word for null: the fields are left out."""
    [line] = waveform_lines(waveform_batch(stretch(0, [np.nan])), written=7).to_list()
    assert "not_finite=1i" in line
    assert not any(f"{name}=" in line for name in ("low", "high", "sum_squares"))


def test_the_longest_string_is_below_the_limit() -> None:
    """So no stretch can be refused for its length."""
    for encoding, size in ITEM_BYTES.items():
        values = np.arange(MAX_BYTES // size, dtype=np.float64) * (1.0 if size == 2 else 1 / 3)
        longest = stretch(0, values.astype(np.float32) if encoding == "float32" else values)
        for line in waveform_lines(waveform_batch(longest), written=1):
            assert max(len(part) for part in line.split('"')) <= LIMIT


def test_bodies_have_a_limited_size() -> None:
    """All lines are written, in order; a longer line has a body of its own."""
    batch = waveform_batch(pl.concat([stretch(number * 10_000, [1.0, 2.0]) for number in range(5)]))
    lines = waveform_lines(batch, written=3).to_list()
    size = 2 * max(map(len, lines)) + 10
    found = [body.decode().splitlines() for body in waveform_bodies(batch, written=3, size=size)]
    assert found == [lines[:2], lines[2:4], lines[4:]]
    assert all(len(body) <= size for body in waveform_bodies(batch, written=3, size=size))
    assert [body.decode().splitlines() for body in waveform_bodies(batch, written=3, size=1)] == [[x] for x in lines]


@given(st.lists(st.integers(1, 16_384), min_size=2, max_size=2, unique=True), st.floats(1e-3, 250_000.0))
def test_stretches_of_one_start_and_different_lengths_have_different_keys(counts: list[int], rate: float) -> None:
    """A shorter one does not replace a longer one, whose rest still counts; the start stays what it was."""
    found = [keys(stretch(5, np.ones(count), rate=rate)) for count in counts]
    assert len({key for [key] in found}) == 2
    assert {key[-19:-3] for [key] in found} == {"1767225600000005"}


def test_the_same_stretch_written_again_has_the_same_key() -> None:
    """A retry adds no point, whatever the values."""
    assert keys(stretch(5, [1.0, 2.0])) == keys(stretch(5, [3.0, np.nan]))


def test_equal_counts_at_different_rates_have_different_keys() -> None:
    """Rates of one octave, as devices have them."""
    rates = [25_600.0, 25_000.0, 20_000.0, 24_000.0, 16_384.0, 32_000.0]
    found = [keys(stretch(5, np.ones(8192), rate=rate)) for rate in rates]
    assert len({key for [key] in found}) == len(rates)


@given(st.integers(1, 16_384), st.floats(1e-3, 250_000.0))
def test_the_octave_bounds_how_long_a_stretch_lasts(count: int, rate: float) -> None:
    """Whatever begins earlier than that has ended, so reading looks no further back."""
    [line] = waveform_lines(waveform_batch(stretch(0, np.ones(count), rate=rate)), written=1)
    end = int(line.split("end=")[1].split("i")[0]) - 1_767_225_600_000_000
    octave = int(octaves(np.array([rate]))[0])
    assert count * 1e6 / rate < end <= longest_us(octave)
    assert period_us(octave) > 1e6 / rate


def test_series_are_read_as_octave_and_tag() -> None:
    """Also where a tag looks like the rest of the key."""
    listed = [
        "waveforms,octave=14,tag=a\\,octave\\=3\\,thousands\\=4,thousands=8",
        "waveforms,octave=14,tag=a\\,octave\\=3\\,thousands\\=4,thousands=0",
        "waveforms,octave=-3,tag=b\\%,thousands=0",
    ]
    found = series_octaves(pl.Series("key", listed))
    assert found.rows() == [(-3, "b\\"), (14, "a,octave=3,thousands=4")]
