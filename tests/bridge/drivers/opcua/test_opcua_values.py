"""Decoding of OPC UA values, compared with a decoder that works element by element."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.drivers.opcua.values import Channel, bad_rows
from historian.quality import BAD, BAD_NO_DATA, BAD_NODE_ID_UNKNOWN, UNCERTAIN
from historian.samples import SCHEMA
from historian.times import from_micros
from historian.waveforms.batch import waveform_batch
from historian.waveforms.encoding import decode
from tests.bridge.drivers.opcua.encoded import NOW, rows_of_values

T0 = datetime(2026, 3, 1, tzinfo=UTC)
FIRST, LAST = Channel("v", 25_600), Channel("v", 25_600, "last")
PROCESS = Channel("t")


def value(content: Any, kind: ua.VariantType, *, status: int = 0, at: datetime | None = T0) -> ua.DataValue:
    """A value as a server sends it."""
    return ua.DataValue(ua.Variant(content, kind), ua.StatusCode(status), at)


def rows_of(channel: Channel, given_value: ua.DataValue) -> list[tuple[Any, ...]]:
    """(value, text, quality) of what one value becomes."""
    found = rows_of_values([(channel, given_value)])
    assert found.waveforms.is_empty()
    return found.samples.drop("tag", "timestamp").rows()


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    st.lists(floats, min_size=1, max_size=200),
    st.floats(0.1, 250_000),
    st.sampled_from(["first", "last"]),
    st.integers(0, 4_000_000_000_000_000),
    st.sampled_from([0, UNCERTAIN, 0x480]),
)
def test_an_array_becomes_one_stretch(
    elements: list[float], rate: float, stamp: Literal["first", "last"], micros: int, status: int
) -> None:
    """It has the sample rate of its tag, lies at the stamped end, and has the value's quality."""
    at, count = from_micros(micros), len(elements)
    given_value = value(elements, ua.VariantType.Float, status=status, at=at)
    first = at - timedelta(microseconds=round((count - 1) * 1e6 / rate) if stamp == "last" else 0)
    found = rows_of_values([(Channel("v", rate, stamp), given_value)], received=at)
    assert found.samples.is_empty()
    heads = found.waveforms.select("tag", "timestamp", "sample_rate", "count", "quality").rows()
    assert heads == [("v", first, rate, count, status)]
    np.testing.assert_array_equal(decode(found.waveforms).values, np.array(elements))
    waveform_batch(found.waveforms)


@pytest.mark.parametrize(
    ("kind", "elements", "encoding"),
    [
        (ua.VariantType.Int16, [-32_768, 32_767], "int16"),
        (ua.VariantType.Byte, [0, 255], "int16"),
        (ua.VariantType.UInt16, [0, 1, 65_535], "float32"),
        (ua.VariantType.Int32, [1, 2], "int16"),
        (ua.VariantType.Float, [0.10000000149011612, -(2.0**100)], "float32"),
        (ua.VariantType.Double, [1 / 3, 1e30], "float64"),
        (ua.VariantType.Int64, [2**53 - 1, 7], "float64"),
    ],
)
def test_an_array_is_kept_in_the_smallest_type_that_holds_it(
    kind: ua.VariantType, elements: list[float], encoding: str
) -> None:
    """No element changes."""
    found = rows_of_values([(FIRST, value(elements, kind))]).waveforms
    assert found["encoding"].to_list() == [encoding]
    assert decode(found).values.tolist() == elements


def test_arrays_of_a_tag_stay_in_the_order_in_which_they_arrived() -> None:
    """They may be of several tags and types, and among other values."""
    other = Channel("w", 1000)
    given_values = [
        (FIRST, value([1.0, 2.0], ua.VariantType.Float, at=T0)),
        (PROCESS, value(7.0, ua.VariantType.Double)),
        (other, value([5], ua.VariantType.Int16, at=T0)),
        (FIRST, value([3.0], ua.VariantType.Float, at=T0 - timedelta(seconds=1))),
        (FIRST, value([0.0], ua.VariantType.Float, at=T0 + timedelta(seconds=1))),
    ]
    found = rows_of_values(given_values)
    assert found.samples["value"].to_list() == [7.0]
    of = {tag: found.waveforms.filter(tag=tag) for tag in ("v", "w")}
    assert decode(of["v"]).values.tolist() == [1.0, 2.0, 3.0, 0.0]
    assert decode(of["w"]).values.tolist() == [5.0]


numbers = st.one_of(
    st.tuples(floats, st.just(ua.VariantType.Float)),
    st.tuples(st.floats(), st.just(ua.VariantType.Double)),
    st.tuples(st.booleans(), st.just(ua.VariantType.Boolean)),
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.just(ua.VariantType.Int32)),
)


@given(st.lists(st.tuples(numbers, st.sampled_from([0, UNCERTAIN, BAD, 0xC0000000])), max_size=20))
def test_numbers_and_booleans_become_values(given_values: list[tuple[tuple[Any, Any], int]]) -> None:
    """Order is kept; values with a Bad status are dropped and their status is kept."""
    pairs = [(PROCESS, value(content, kind, status=status)) for (content, kind), status in given_values]
    found = rows_of_values(pairs).samples
    expected = [float(content) if status < BAD else None for (content, _), status in given_values]
    same = [
        mine == theirs or (mine is not None and theirs is not None and math.isnan(mine) and math.isnan(theirs))
        for mine, theirs in zip(found["value"], expected, strict=True)
    ]
    assert all(same)
    assert found["quality"].to_list() == [status for _, status in given_values]
    assert found["text"].null_count() == found.height


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ('käse,"x" = y', ua.VariantType.String, 'käse,"x" = y'),
        ("", ua.VariantType.String, ""),
        (b"l\xe4uft".decode(errors="surrogateescape"), ua.VariantType.String, "l\ufffduft"),  # a server's Latin-1
        (2**53 + 1, ua.VariantType.Int64, "9007199254740993"),
        (T0, ua.VariantType.DateTime, "2026-03-01T00:00:00+00:00"),
        (b"\x01\xff", ua.VariantType.ByteString, "01ff"),
        (ua.LocalizedText("läuft", "de"), ua.VariantType.LocalizedText, "läuft"),
        (ua.QualifiedName("Pump", 2), ua.VariantType.QualifiedName, "Pump"),
        (ua.NodeId("x", 2), ua.VariantType.NodeId, "ns=2;s=x"),
        (["RUN", "STOP"], ua.VariantType.String, "['RUN', 'STOP']"),
        ([1, 2], ua.VariantType.Int32, "[1, 2]"),
    ],
)
def test_what_is_no_number_becomes_text(content: Any, kind: ua.VariantType, text: str) -> None:
    """This includes integers that float64 would change, and arrays of a tag without sample rate."""
    assert rows_of(PROCESS, value(content, kind)) == [(None, text, 0)]


def test_a_matrix_is_no_waveform() -> None:
    """It becomes text, which the contract rejects for a numeric tag."""
    assert rows_of(FIRST, value([[1.0, 2.0], [3.0, 4.0]], ua.VariantType.Double)) == [
        (None, "[[1.0, 2.0], [3.0, 4.0]]", 0)
    ]


def test_an_array_without_elements_is_a_sample_without_data() -> None:
    """It shows that an expected burst did not arrive."""
    assert rows_of(FIRST, value([], ua.VariantType.Float)) == [(None, None, BAD_NO_DATA)]


def test_a_scalar_of_a_waveform_tag_is_one_sample() -> None:
    """Some servers send a scalar before the first burst."""
    assert rows_of(LAST, value(1.5, ua.VariantType.Float)) == [(1.5, None, 0)]


@pytest.mark.parametrize("status", [0, BAD])
def test_no_value_is_a_row_without_value(status: int) -> None:
    """The quality says whether the server meant it."""
    assert rows_of(PROCESS, ua.DataValue(None, ua.StatusCode(status), T0)) == [(None, None, status)]


@pytest.mark.parametrize(
    ("source", "server", "expected"),
    [
        (T0, NOW, T0),
        (None, T0, T0),
        (datetime(1601, 1, 1, tzinfo=UTC), T0, T0),
        (None, None, NOW),
        (datetime(1601, 1, 1, tzinfo=UTC), datetime(1601, 1, 1, tzinfo=UTC), NOW),
    ],
)
def test_the_time_is_the_sources_else_the_servers_else_ours(
    source: datetime | None, server: datetime | None, expected: datetime
) -> None:
    """The null DateTime, 1601, counts as none."""
    given_value = ua.DataValue(ua.Variant(1.0), ua.StatusCode(0), source, server)
    assert rows_of_values([(PROCESS, given_value)]).samples["timestamp"].to_list() == [expected]


def test_bad_rows_carry_the_codes() -> None:
    """There is one row per tag, without a value."""
    expected = pl.DataFrame([("t", T0, None, None, BAD_NODE_ID_UNKNOWN)], schema=SCHEMA, orient="row")
    assert_frame_equal(bad_rows([("t", BAD_NODE_ID_UNKNOWN)], at=T0).samples, expected)
    assert bad_rows([], at=T0).is_empty
