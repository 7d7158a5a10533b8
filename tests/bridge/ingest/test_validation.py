"""What drivers read is stored or rejected, sample by sample: compared with an oracle that has a row a sample."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite, isnan, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from bridge.edge.quarantine_rows import REJECTED
from bridge.ingest.contracts.limits import contract_of
from bridge.ingest.contracts.rules import Rule
from bridge.ingest.ingest import Ingest
from bridge.ingest.validation import CONFLICT, Validated, packed, rates_of, validated
from historian.plant.connections import ConnectionConfig, Tag
from historian.quality import BAD_NO_DATA, BAD_TIMEOUT, UNCERTAIN, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
from historian.samples import SCHEMA, empty_batch
from historian.waveforms.batch import WAVEFORM_SCHEMA, waveform_batch
from historian.waveforms.packing import unpack
from tests.historian.waveforms.rows import at, bits, raw, samples, stretch

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
OVERFLOW = 0x480
LOW, HIGH = -10.0, 10.0


class Contract(NamedTuple):
    """The tags of a connection and their rules."""

    tags: list[Tag]
    rules: tuple[Rule, ...]

    def validate(self, rows: RawRows) -> Validated:
        """Pack and validate, as `Ingest` does."""
        some, unpackable = packed(rows, rates_of(self.tags))
        return validated(some, self.rules, now=NOW).with_rejected(unpackable)


@pytest.fixture
def contract(make_tag: Callable[..., Tag]) -> Contract:
    """Two vibration tags at 1 kHz, of which `a` has a range; a temperature, and a state."""
    waveform = {"kind": "vibration", "sample_rate": 1000.0}
    tags = [make_tag("a", range=(LOW, HIGH), **waveform), make_tag("b", **waveform)]
    tags += [make_tag("t"), make_tag("s", kind="state")]
    return Contract(tags, contract_of(tags, live=False))


values = st.lists(st.sampled_from([0.0, -0.0, 1.5, -10.0, 10.0, 11.0, -300.0, nan, float("inf"), 1 / 3]), min_size=1)
runs = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 30),  # of milliseconds, so that stretches overlap on one grid
    st.one_of(values, st.integers(1, 8).map(lambda count: [1.5] * count)),
    st.sampled_from([0, UNCERTAIN, OVERFLOW, BAD_TIMEOUT]),
)
singles = st.tuples(
    st.sampled_from(["a", "b"]), st.integers(0, 30), st.sampled_from([0.0, 1.5, 11.0]), st.sampled_from([0, UNCERTAIN])
)
Key = tuple[str, int]


def rejected_samples(found: Validated) -> list[tuple[str, int, bytes, int]]:
    """(tag, microseconds, bits, quality) of every rejected sample, alone or in a stretch."""
    rows, alone = found.rejected, pl.col("values").is_null()
    zero = pl.lit(0.0)
    statistics = rows.filter(~alone).with_columns(low=zero, high=zero, sum_squares=zero, not_finite=pl.lit(0))
    stretches = statistics.select(WAVEFORM_SCHEMA.names())
    plain = rows.filter(alone).select("tag", "timestamp", "value", "quality").rows()
    single = [(tag, (time - at(0)).microseconds, bits(value), quality) for tag, time, value, quality in plain]
    return samples(stretches) + single


def given_quality(row: dict[str, object], stored: list[float]) -> int:
    """The quality that a stored stretch was given; fails if it is not marked exactly where its values are outside."""
    quality = row["quality"]
    assert isinstance(quality, int)
    outside = row["tag"] == "a" and any(isfinite(each) and not LOW <= each <= HIGH for each in stored)
    marked = quality & ~0xFFFF == UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
    assert marked == (outside and (marked or quality < UNCERTAIN))
    return quality & 0xFFFF if marked else quality


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(runs, max_size=6), st.lists(singles, max_size=6))
def test_no_sample_of_a_stretch_is_lost_or_changed(
    contract: Contract, stretches: list[tuple[str, int, list[float], int]], rows: list[tuple[str, int, float, int]]
) -> None:
    """Each is stored or rejected; contradictions are rejected, and nothing else is."""
    given_stretches = [stretch(1000 * ms, content, tag=tag, quality=code) for tag, ms, content, code in stretches]
    given_rows = [raw([1000 * ms], [value], tag=tag, quality=code) for tag, ms, value, code in rows]
    waveforms, single = (
        pl.concat([kind.to_frame(), *frames])
        for kind, frames in ((WAVEFORM_SCHEMA, given_stretches), (SCHEMA, given_rows))
    )
    every = {*samples(waveforms), *((tag, 1000 * ms, bits(value), code) for tag, ms, value, code in rows)}

    found = contract.validate(RawRows(single, waveforms))

    waveform_batch(found.batches.waveforms)
    assert found.batches.samples.is_empty()
    stored: dict[Key, tuple[bytes, int]] = {}
    for number, row in enumerate(found.batches.waveforms.iter_rows(named=True)):
        one = found.batches.waveforms[[number]]
        quality = given_quality(row, unpack(one)["value"].to_list())
        for tag, time, value, _ in samples(one):
            assert (tag, time) not in stored
            stored[tag, time] = value, quality
    rejected = set(rejected_samples(found))
    assert {(*key, *content) for key, content in stored.items()} | rejected == every
    contents: dict[Key, set[tuple[bytes, int]]] = {}
    for tag, time, value, quality in every:
        contents.setdefault((tag, time), set()).add((value, quality))
    if all(len(each) == 1 for each in contents.values()):
        assert not rejected
    assert set(found.rejected["reason"]) <= {CONFLICT}
    assert found.conflicts >= len(every) - len(stored)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (RawRows(waveforms=stretch(0, [1.0], tag="t")), "a waveform for a tag of single samples"),
        (RawRows(waveforms=stretch(0, [1.0], tag="s")), "a waveform for a tag of single samples"),
        (RawRows(waveforms=stretch(0, [1.0], tag="nobody")), "unknown tag"),
        (RawRows(waveforms=stretch(26 * 3.6e9, [1.0])), "timestamp more than a day in the future"),
        (RawRows(waveforms=stretch(24.9999 * 3.6e9, np.zeros(1000))), "timestamp more than a day in the future"),
        (RawRows(waveforms=stretch(-60 * 3.2e13, [1.0])), "timestamp before 1980"),
        (RawRows(raw([0], [1.0]).with_columns(text=pl.lit("hot"))), "text for a numeric tag"),
        (RawRows(waveforms=stretch(0, [1.0]).with_columns(tag=pl.lit(None, pl.String))), "no tag, time or quality"),
        (RawRows(raw([0], [1.0]).with_columns(quality=pl.lit(None, pl.UInt32))), "no tag, time or quality"),
    ],
)
def test_what_is_no_waveform_of_its_tag_is_rejected_with_its_values(
    contract: Contract, rows: RawRows, reason: str
) -> None:
    """A stretch is one row in quarantine."""
    found = contract.validate(rows)
    assert found.batches.is_empty
    assert found.rejected["reason"].to_list() == [reason]
    assert found.rejected.schema == REJECTED
    both = pl.concat([rows.samples, rows.waveforms], how="diagonal").select(REJECTED.names()[:-2])
    assert_frame_equal(found.rejected.drop("reason", "detail"), both)


def test_a_single_sample_of_a_waveform_tag_breaks_the_contract(contract: Contract) -> None:
    """Vibration points have waveforms and nothing else."""
    found = validated(RawRows(raw([0], [1.0])), contract.rules, now=NOW)
    assert found.rejected["reason"].to_list() == ["a single sample for a tag of waveforms"]


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (0, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED),
        (OVERFLOW, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED | OVERFLOW),
        (UNCERTAIN, UNCERTAIN),
        (BAD_TIMEOUT, BAD_TIMEOUT),
    ],
)
def test_a_stretch_outside_its_range_is_kept_and_marked(contract: Contract, quality: int, expected: int) -> None:
    """A clipped sample does not cost the stretch; a quality that says worse stays, and so do info bits."""
    found = contract.validate(RawRows(waveforms=stretch(0, [0.0, 11.0, 0.5], quality=quality)))
    assert found.rejected.is_empty()
    assert found.batches.waveforms["quality"].to_list() == [expected]
    assert unpack(found.batches.waveforms)["value"].to_list() == [0.0, 11.0, 0.5]


def test_rows_of_a_waveform_tag_are_packed(contract: Contract) -> None:
    """Also those without a value, and words that say why there is none."""
    regular = raw(np.arange(0, 5000, 1000), [1.0, 2.0, 3.0, 4.0, 5.0])
    timed_out = raw([5000], [0.0], quality=BAD_TIMEOUT).with_columns(
        value=pl.lit(None, pl.Float64), text=pl.lit("I/O Timeout")
    )
    absent = raw([6000], [0.0]).with_columns(value=pl.lit(None, pl.Float64))
    temperature = raw([0], [20.0], tag="t")
    found = contract.validate(RawRows(pl.concat([temperature, absent, timed_out, regular])))
    assert found.rejected.is_empty()
    assert_frame_equal(found.batches.samples, temperature)
    stretches = found.batches.waveforms.select("timestamp", "count", "quality", "sample_rate").rows()
    assert stretches == [(at(0), 5, 0, 1000.0), (at(5000), 1, BAD_TIMEOUT, 1000.0), (at(6000), 1, BAD_NO_DATA, 1000.0)]
    stored = unpack(found.batches.waveforms)["value"].to_list()
    assert stored[:5] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(map(isnan, stored[5:]))


def test_a_connection_packs_before_it_scales(
    edge: Edge, make_tag: Callable[..., Tag], live: Callable[..., ConnectionConfig], tmp_path: Path
) -> None:
    """The range and the statistics are in engineering units; counts stay counts."""
    tag = make_tag("a", kind="vibration", sample_rate=1000.0, scale=0.5, offset=0.0, range=(0.0, 10.0))
    ingest = Ingest(live("s", [], tag), edge, live=False)
    found = ingest.validate(RawRows(raw([0, 1000], [20.0, 22.0]), stretch(2000, [1.0, 3.0])), now=NOW)
    assert found.batches.waveforms.select("count", "encoding", "low", "high", "quality").rows() == [
        (2, "int16", 10.0, 11.0, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED),
        (2, "int16", 0.5, 1.5, 0),
    ]
    assert_frame_equal(found.batches.samples, empty_batch())
