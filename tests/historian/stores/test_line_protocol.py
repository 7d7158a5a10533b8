"""Line protocol: exact, escaped, and unchanged when it is read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.plant.model import TagRow
from historian.quality import BAD_TIMEOUT
from historian.samples import SCHEMA, SampleBatch, normalise
from historian.stores.influx.line_protocol import bodies, escaped_tag, sample_lines, tag_name, tag_value, unescaped_tag

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)


def batch_of(*rows: tuple[str, int, float | None, str | None, int]) -> SampleBatch:
    """Rows whose second item is a number of microseconds after T0."""
    placed = [(tag, T0 + timedelta(microseconds=at), *rest) for tag, at, *rest in rows]
    return normalise(pl.DataFrame(placed, schema=SCHEMA, orient="row")).batch


def test_a_sample_is_a_line() -> None:
    """Numbers have the shortest exact form, integers a mark, and the quality the bits that count."""
    batch = batch_of(
        ("a", 0, 0.1 + 0.2, None, 0),
        ("a", 1, None, None, BAD_TIMEOUT),
        ("a", 2, -1e-300, None, 0x40000000),
        ("b", 0, None, 'say "x"\\\n', 0),
        ("b", 1, 2.0, "", 0xFFFFFFFF),
    )
    assert sample_lines(batch).to_list() == [
        "samples,tag=a value=0.30000000000000004,quality=0i 1772323200000000",
        f"samples,tag=a quality={BAD_TIMEOUT + 2 * 2**32}i 1772323200000001",
        f"samples,tag=a value=-1e-300,quality={0x40000000}i 1772323200000002",
        f'samples,tag=b text="say \\"x\\"\\\\\n",quality={2**32}i 1772323200000000',
        f'samples,tag=b value=2.0,text="",quality={0xFFFFFFFF + 3 * 2**32}i 1772323200000001',
    ]


def test_bodies_have_a_limited_number_of_lines() -> None:
    """All lines are written, in order."""
    batch = batch_of(*(("a", at, at, None, 0) for at in range(5)))
    every = sample_lines(batch).to_list()
    assert [body.decode().split("\n") for body in bodies(batch, lines=2)] == [every[:2], every[2:4], every[4:]]


@given(NAMES)
def test_any_tag_name_is_read_back(name: str) -> None:
    """Names are escaped, also with a backslash or a percent sign at the end."""
    name = TagRow(tag=name if name.strip() else "x", asset="a", point="p", address="x").tag
    given = pl.DataFrame({"tag": [name]})
    escaped = given.select(escaped_tag(tag_value(pl.col("tag"))))
    assert not escaped.item().endswith("\\")
    assert_frame_equal(escaped.select(tag_name(unescaped_tag(pl.col("tag")))), given)
