"""`encode` and `decode`: every bit is kept, in the smallest encoding that can; statistics are those of the values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from historian.errors import InvalidInput
from historian.waveforms.batch import MAX_BYTES, waveform_batch
from historian.waveforms.encoding import HEADS, Stored, decode, encode
from tests.historian.waveforms.rows import RATES, at, bits, signals, stretch

NOISE = np.random.default_rng(15)
COUNTS = NOISE.integers(-32_768, 32_768, 5000)
DECIMALS = np.array([float(f"{whole / 1000:.3f}") for whole in COUNTS.tolist()])


@given(st.lists(signals(), min_size=1, max_size=5))
def test_every_bit_comes_back(runs: list[npt.NDArray[Any]]) -> None:
    """Also of NaN with a payload, infinities and minus zero, whatever encodings lie side by side."""
    frame = pl.concat([stretch(1e6 * place, run) for place, run in enumerate(runs)])
    waveform_batch(frame)
    decoded = decode(frame)
    expected = np.concatenate([run.astype(np.float64) for run in runs])
    np.testing.assert_array_equal(decoded.values.view(np.int64), expected.view(np.int64))
    assert np.diff(decoded.offsets).tolist() == [len(run) for run in runs]


@given(signals())
def test_statistics_are_those_of_the_finite_values(values: npt.NDArray[Any]) -> None:
    """A stretch without any has none, and counts what is not finite."""
    finite = [float(value) for value in values if math.isfinite(value)]
    row = stretch(0, values).row(0, named=True)
    assert row["not_finite"] == len(values) - len(finite)
    if finite:
        assert (row["low"], row["high"]) == (min(finite), max(finite))
        total = sum(value * value for value in finite)
        assert row["sum_squares"] == pytest.approx(min(total, np.finfo(np.float64).max), rel=1e-12)
    else:
        assert (row["low"], row["high"], row["sum_squares"]) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (COUNTS, {"int16"}),
        (COUNTS.astype(np.int16), {"int16"}),
        (DECIMALS, {"int16"}),
        (np.append(DECIMALS[COUNTS > -32_768], -0.0), {"int16z"}),
        (np.append(DECIMALS, [-0.0, -32.768]), {"float64"}),
        (DECIMALS * 1e-9, {"float64"}),
        (COUNTS * 0.00347123987, {"int16"}),
        (COUNTS * (10 / 32768), {"int16"}),
        (COUNTS / 6553.6, {"int16"}),
        ((COUNTS * (10 / 32768)).astype(np.float32), {"int16"}),
        (COUNTS * 0.0025, {"int16"}),
        (COUNTS + 100_000, {"float32"}),
        (COUNTS * 65_536.0 + 1, {"float64"}),
        (NOISE.normal(size=5000), {"float64"}),
        (NOISE.normal(size=5000).astype(np.float32), {"float32"}),
        (NOISE.normal(size=5000).astype(np.float32).astype(np.float64), {"float32"}),
        (np.append(COUNTS.astype(float), np.nan), {"float32"}),
        (np.zeros(5), {"int16"}),
        (np.array([5e303, -0.0]), {"int16z"}),
        (np.array([np.nan]), {"float32"}),
        (np.array([0.1]), {"int16"}),
    ],
)
def test_the_smallest_encoding_that_keeps_every_bit(values: npt.NDArray[Any], expected: set[str]) -> None:
    """Counts of a converter take two bytes, also scaled, divided or printed as decimals."""
    frame = stretch(0, values)
    assert set(frame["encoding"]) == expected
    np.testing.assert_array_equal(decode(frame).values.view(np.int64), values.astype(np.float64).view(np.int64))


def test_a_value_out_of_the_range_of_int16_costs_only_its_own_stretch() -> None:
    """The FEMTO recordings: three decimals within 32.767 g, and a few shocks beyond."""
    values = np.tile(DECIMALS, 10)
    values[20_000] = 48.148
    frame = stretch(0, values)
    assert set(frame["encoding"]) == {"int16", "float64"}
    assert frame.filter(pl.col("encoding") == "float64")["count"].sum() == 16_384
    np.testing.assert_array_equal(decode(frame).values, values)


def test_recordings_printed_with_three_decimals_take_two_bytes(shared_data: Path) -> None:
    """FEMTO-ST bearing 1_1, `-0.000` included: every stretch within 32.767 g, and no bit is lost."""
    recordings = pl.scan_parquet(shared_data / "femto" / "Bearing1_1_acc.parquet").gather_every(60)
    values = recordings.select(pl.col("horizontal_g").explode()).collect().to_series().to_numpy()
    assert np.any((values == 0) & np.signbit(values))
    frame = waveform_batch(stretch(0, values))
    np.testing.assert_array_equal(decode(frame).values.view(np.int64), values.view(np.int64))
    within = pl.max_horizontal(-pl.col("low"), pl.col("high")) <= 32.767
    assert set(frame.filter(within & (pl.col("count") > 4096))["encoding"]) == {"int16", "int16z"}


def test_counts_with_a_scale_are_stored_as_they_are() -> None:
    """A source that knows its scale gives counts; -32,768 is one of them."""
    counts = np.array([-32_768, 0, 32_767], np.int16)
    heads = stretch(0, counts).select(HEADS.names())
    frame = waveform_batch(encode(heads, counts, scale=10.0, divisor=32_768.0))
    assert decode(frame).values.tolist() == [-10.0, 0.0, 32_767 * 10 / 32_768]
    assert frame.select("low", "high").row(0) == (-10.0, 32_767 * 10 / 32_768)


@pytest.mark.parametrize(("dtype", "longest"), [(np.int16, 16_384), (np.float32, 8192), (np.float64, 4096)])
@pytest.mark.parametrize("rate", RATES)
def test_long_runs_are_cut_into_pieces_that_join(dtype: type, longest: int, rate: float) -> None:
    """Each piece starts where the exact rate puts it, so no error adds up."""
    values: npt.NDArray[Any] = (NOISE.normal(size=40_000) * 1000).astype(dtype)
    frame = waveform_batch(stretch(0, values, rate=rate))
    assert frame["count"].max() == longest
    assert frame["values"].bin.size().max() == MAX_BYTES
    starts = range(0, 40_000, longest)
    assert frame["timestamp"].to_list() == [at(start * 1e6 / rate) for start in starts]
    np.testing.assert_array_equal(decode(frame).values, values.astype(np.float64))


def test_heads_that_do_not_match_the_values_are_refused() -> None:
    """A driver's mistake is reported before bytes are mixed up."""
    heads = stretch(0, [1.0, 2.0]).select(HEADS.names())
    with pytest.raises(InvalidInput, match="do not match 3 values"):
        encode(heads, np.zeros(3))
    with pytest.raises(InvalidInput, match="do not match 0 values"):
        encode(heads.with_columns(count=pl.lit(0, pl.UInt32)), np.zeros(0))


def test_no_stretches_are_an_empty_frame() -> None:
    """Nothing in, nothing out."""
    empty = encode(HEADS.to_frame(), np.zeros(0))
    assert waveform_batch(empty).is_empty()
    assert decode(empty).values.tolist() == []


def test_slices_of_a_frame_decode_as_the_whole() -> None:
    """A frame that is part of another one still refers to the other's memory."""
    frame = pl.concat([stretch(1e6 * place, np.arange(place + 1) * 0.1) for place in range(5)])
    assert [bits(value) for value in decode(frame[2:4]).values] == [
        bits(value) for place in (2, 3) for value in np.arange(place + 1) * 0.1
    ]


def test_any_part_of_several_stretches_can_be_decoded() -> None:
    """It has the bits of the whole, across stretches whose bytes lie apart or are encoded differently."""
    kinds = [COUNTS[:7] / 6553.6, np.array([5e303, -0.0]), NOISE.normal(size=5), COUNTS[:4].astype(float)]
    frame = pl.concat([encode(stretch(0, kind).select(HEADS.names()), kind) for kind in kinds])
    whole, stored = np.concatenate(kinds), Stored(frame)
    for begin in range(len(whole) + 1):
        for stop in range(begin, len(whole) + 1):
            part = np.empty(stop - begin)
            stored.decode(begin, stop, part)
            assert part.tobytes() == whole[begin:stop].tobytes()
