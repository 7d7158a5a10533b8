"""Frames as bytes: lossless, and small if there are few rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.edge.frames import pack, pack_samples, pack_waveforms, unpack, unpack_samples, unpack_waveforms
from historian.samples import SCHEMA
from historian.waveforms.batch import WAVEFORM_SCHEMA
from tests.historian.waveforms.rows import signals, stretch

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def samples(count: int) -> pl.DataFrame:
    """This many samples of one tag."""
    rows = [("c101.de_h", T0 + timedelta(seconds=n), n / 7, None if n % 2 else "käse", n) for n in range(count)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@pytest.mark.parametrize("count", [0, 1, 500, 501, 5_000])
def test_a_frame_comes_back_as_it_was(count: int) -> None:
    """This holds for all forms."""
    assert_frame_equal(unpack(pack(samples(count))), samples(count), check_exact=True)
    assert_frame_equal(unpack_samples(pack_samples(samples(count))), samples(count), check_exact=True)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=4),
            st.integers(-(2**40), 2**52),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.text(max_size=4),
            st.integers(0, 2**32 - 1),
        ),
        max_size=20,
    )
)
def test_samples_come_back_as_they_were(given_rows: list[tuple[str, int, float | None, str | None, int]]) -> None:
    """Of any tag, time, value, text and quality."""
    times = {**SCHEMA, "timestamp": pl.Int64()}
    batch = pl.DataFrame(given_rows, schema=times, orient="row").cast(SCHEMA)
    assert_frame_equal(unpack_samples(pack_samples(batch)), batch, check_exact=True)


@pytest.mark.parametrize(("count", "most"), [(1, 60), (10, 16), (200, 12)])
def test_few_samples_take_few_bytes(count: int, most: int) -> None:
    """A source that reports a sample now and then must not fill the disk with schemas."""
    rows = [(f"plant.line1.tag{n:03}", T0, round(60 + n / 7, 2), None, 0) for n in range(count)]
    assert len(pack_samples(pl.DataFrame(rows, schema=SCHEMA, orient="row"))) <= most * count


def test_the_form_of_version_1_is_still_read() -> None:
    """Arrow IPC data in the spool of an older bridge is delivered."""
    blob = BytesIO()
    samples(3).write_ipc(blob, compression="zstd")
    assert_frame_equal(unpack(blob.getvalue()), samples(3))


@settings(max_examples=30)
@given(st.lists(signals(longest=30), max_size=5))
def test_stretches_come_back_as_they_were(arrays: list[npt.NDArray[np.float64]]) -> None:
    """Of any encoding, and of any number of samples."""
    frames = [stretch(1_000_000 * number, values) for number, values in enumerate(arrays)]
    stretches = pl.concat([WAVEFORM_SCHEMA.to_frame(), *frames])
    assert_frame_equal(unpack_waveforms(pack_waveforms(stretches)), stretches, check_exact=True)
    assert_frame_equal(unpack_waveforms(pack_waveforms(stretches[1:])), stretches[1:], check_exact=True)


def test_values_are_stored_as_they_are() -> None:
    """Some hundred bytes are added to a stretch, however long it is."""
    values = np.random.default_rng(1).normal(size=2_560).astype(np.float32)
    assert values.tobytes() in pack_waveforms(stretch(0, values, rate=25_600.0))
    assert len(pack_waveforms(stretch(0, values, rate=25_600.0))) - values.nbytes < 700


@pytest.mark.parametrize("blob", [b"", b"\x01", pack_waveforms(stretch(0, [1.0, 2.0]))[:-1], b"\xff" * 100])
def test_bytes_of_another_kind_are_no_stretches(blob: bytes) -> None:
    """The decoder raises; a stretch with too few values is not made."""
    with pytest.raises(Exception, match=r".+"):
        unpack_waveforms(blob)
