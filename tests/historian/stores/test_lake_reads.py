"""After any writes, merges and compactions the lake reads what the store in memory reads.

Row groups, files and pages are small here, so that every path of a read is taken within a few hundred samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.quality import BAD_TIMEOUT
from historian.samples import SampleBatch, empty_batch, normalise
from historian.stores.lake.layout import FileLayout
from historian.stores.lake.store import LakeStore
from historian.stores.memory import MemoryStore
from historian.stores.protocols import Store

MIDNIGHT: Final = datetime(2026, 3, 2, tzinfo=UTC)
NOW: Final = datetime(2026, 4, 1, tzinfo=UTC)
LONG: Final = "a.name.longer.than.the.statistics.of.a.file"
TAGS: Final = ("a", "b", LONG, LONG + "2", "d")
LAYOUT: Final = FileLayout(group_rows=50, merge_every=4, small=3_000, crowded=6)


class SampleRun(NamedTuple):
    """Samples of a tag, evenly spaced."""

    tag: str
    start: int
    """Milliseconds after a minute before midnight, so that ranges cross a day."""
    step: int
    """Milliseconds: a few samples a second, or hundreds."""
    length: int
    """Samples."""
    kind: str


class Query(NamedTuple):
    """The arguments of a read."""

    tags: list[str]
    start: int
    length: int
    """Milliseconds."""


RUNS: Final = st.builds(
    SampleRun,
    st.sampled_from(TAGS),
    st.integers(0, 100_000),
    st.sampled_from([1, 300]),
    st.integers(1, 250),
    st.sampled_from(["numbers", "mixed", "bad"]),
)
WRITES: Final = st.lists(st.lists(RUNS, min_size=1, max_size=3), min_size=1, max_size=6)
QUERIES: Final = st.builds(
    Query,
    st.lists(st.sampled_from((*TAGS, "never")), min_size=1, max_size=4, unique=True),
    st.integers(-1_000, 150_000),
    st.integers(1, 160_000),
)


@settings(max_examples=10, deadline=None)
@given(WRITES, st.sets(st.integers(0, 5)), st.lists(QUERIES, min_size=4, max_size=8), st.sampled_from([40, 300, 10**6]))
def test_the_lake_reads_what_memory_reads(
    writes: list[list[SampleRun]], compacted_after: set[int], reads: list[Query], page_rows: int
) -> None:
    """Pages follow one another, and have the samples that were written last."""
    with TemporaryDirectory() as root:
        lake, memory = LakeStore(Path(root), page_rows=page_rows, layout=LAYOUT), MemoryStore()
        for number, runs in enumerate(writes):
            batch = samples(runs, np.random.default_rng(number))
            for store in (lake, memory):
                store.write(batch, source="s", now=NOW)
            if number in compacted_after:
                lake.compact(small=2_000, target=8_000)
        for query in reads:
            assert_frame_equal(found(lake, query), found(memory, query))
            assert_frame_equal(latest(lake, query.tags), latest(memory, query.tags))


def samples(runs: Sequence[SampleRun], generator: np.random.Generator) -> SampleBatch:
    """Numbers, numbers and texts, or Bad samples; of several at one instant one is kept."""
    frames = []
    for tag, start, step, length, kind in runs:
        at = pl.Series(start + np.arange(length) * step).cast(pl.Duration("ms")).cast(pl.Duration("us"))
        frame = pl.DataFrame({"timestamp": MIDNIGHT - timedelta(minutes=1) + at}).with_columns(
            tag=pl.lit(tag),
            value=pl.Series(generator.normal(size=length)),
            text=pl.when(pl.Series(generator.random(length) < (0.5 if kind == "mixed" else 0))).then(pl.lit("run")),
            quality=pl.lit(BAD_TIMEOUT if kind == "bad" else 0, pl.UInt32),
        )
        frames.append(frame.select(empty_batch().columns))
    return normalise(pl.concat(frames)).batch


def found(store: Store, query: Query) -> pl.DataFrame:
    """All pages as one frame."""
    start = MIDNIGHT - timedelta(minutes=1) + timedelta(milliseconds=query.start)
    pages = list(store.read(query.tags, start, start + timedelta(milliseconds=query.length)))
    for page, after in pairwise(pages):
        assert page["timestamp"].max() < after["timestamp"].min()  # type: ignore[operator]
    return pl.concat([empty_batch(), *pages]).sort("tag", "timestamp")


def latest(store: Store, tags: Sequence[str]) -> pl.DataFrame:
    """Newest sample of each."""
    return store.latest(tags).sort("tag")
