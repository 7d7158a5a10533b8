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

from bridge.edge.frames import pack, pack_waveforms, unpack, unpack_waveforms
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
    """This holds for both forms."""
    assert_frame_equal(unpack(pack(samples(count))), samples(count), check_exact=True)


def test_one_sample_takes_few_bytes() -> None:
    """A source that reports one sample at a time must not fill the disk with schemas."""
    assert len(pack(samples(1))) < 600


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
