"""Frames as bytes: lossless, and small if there are few rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.edge.frames import pack, unpack
from historian.samples import SCHEMA

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
