"""The spool keeps stretches as it keeps samples, and adds little to their bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from historian.samples import SCHEMA, newest_wins, sample_batch
from historian.waveforms.batch import empty_waveforms, waveform_batch
from tests.bridge.edge.batches import SAMPLE, T0, bursts, numbered, samples
from tests.historian.waveforms.rows import signals, stretch


@settings(max_examples=25)
@given(st.lists(samples, max_size=5), st.lists(signals(longest=30), max_size=4))
def test_stretches_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], arrays: list[npt.NDArray[np.float64]]
) -> None:
    """With the samples of the same batch; what is counted are the samples of both."""
    single = sample_batch(newest_wins(pl.DataFrame(rows, schema=SCHEMA, orient="row")))
    frames = [stretch(1_000_000 * number, values) for number, values in enumerate(arrays)]
    waveforms = waveform_batch(pl.concat([empty_waveforms(), *frames]))
    edge = Edge(tmp_path_factory.mktemp("edge") / "edge.db")
    Spool(edge).append(Batches(single, waveforms), source="s", now=T0)
    count = single.height + sum(map(len, arrays))
    assert (Spool(edge).waiting(), Spool(edge).accepted()) == ({"s": count} if count else {}, {"s": count})
    item = Spool(edge).oldest("s", now=T0)
    edge.close()
    assert item is not None
    assert_frame_equal(item.batches.samples, single, check_exact=True)
    assert_frame_equal(item.batches.waveforms, waveforms, check_exact=True)
    assert item.rows == count


def test_stretches_are_joined_and_the_newest_counts_where_they_overlap(edge: Edge) -> None:
    """As in the store; an item's size is that of the values, not the number of samples."""
    spool = Spool(edge)
    for number in range(4):
        spool.append(Batches(numbered(number, 1), bursts(number, 1)), source="s", now=T0)
    again = bursts(0, 1, encoding="int16")
    spool.append(Batches(waveforms=again), source="s", now=T0)
    item = spool.oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.batches.waveforms, pl.concat([again, *(bursts(number, 1) for number in (1, 2, 3))]))
    assert_frame_equal(item.batches.samples, numbered(0, 4))
    assert item.rows == 4 + 5 * 2_560
    two = spool.oldest("s", now=T0, max_memory=2 * (2_560 * 4 + SAMPLE))
    assert two is not None
    assert (two.rows, two.more) == (2 + 2 * 2_560, True)


@pytest.mark.parametrize(("encoding", "size"), [("int16", 2), ("float32", 4), ("float64", 8)])
def test_a_waveform_takes_little_more_on_disk_than_its_values(tmp_path: Path, encoding: str, size: int) -> None:
    """As an OPC UA source delivers it: a quarter of a second of four channels at a time."""
    edge = Edge(tmp_path / "edge.db")
    [(before,)] = edge.rows("PRAGMA page_count")
    for number in range(20):
        frames = [bursts(3 * number, 3, encoding=encoding, tag=tag) for tag in ("a", "b", "c", "d")]
        Spool(edge).append(Batches(waveforms=waveform_batch(pl.concat(frames))), source="s", now=T0)
    [(after,)] = edge.rows("PRAGMA page_count")
    segments = sum(file.stat().st_size for file in tmp_path.glob("spool/*/*"))
    edge.close()
    assert 4_096 * (after - before) + segments <= 1.15 * size * 20 * 12 * 2_560
