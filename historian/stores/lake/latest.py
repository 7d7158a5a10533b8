"""The newest sample of each tag, found without reading the ledger or the samples from their beginning.

The table `newest` holds one sample per tag as of some write, `up_to`; a writer replaces it now and then. The ledger's
newest files list what was written since: they name the few instants that are looked up in the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import polars as pl

from historian.samples import SCHEMA, SampleBatch, newest_wins, sample_batch
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import files_of, prune
from historian.stores.lake.layout import NEWEST, WRITTEN
from historian.stores.lake.ledger import entries_since, last_written
from historian.stores.lake.stretches import far_of, located_in, resolved
from historian.stores.lake.table import LakeTable
from historian.waveforms.packing import newest_samples

_NOTHING: Final = NEWEST.to_frame().drop("up_to")


def latest_samples(lake: LakeDirectory, tags: Sequence[str] | None) -> pl.DataFrame:
    """Return the newest sample of each of `tags`, or of every tag in the store for None.

    Returns:
        Columns of `NEWEST` without `up_to`, sorted by tag.
    """
    # In this order, so that what is written meanwhile is found by the later read.
    noted = _noted(lake)
    since = noted["up_to"].to_list()[0] if noted.height else None
    wanted = pl.lit(value=True) if tags is None else pl.col("tag").is_in(tags)
    noted = noted.filter(wanted).drop("up_to")
    entries = entries_since(lake.ledger, since).filter(wanted)
    written = entries.group_by("tag").agg(timestamp=pl.col("last").max()).collect()
    known = written.join(noted.select("tag", known="timestamp"), on="tag", how="left")
    # A newer stretch may have replaced the sample that is noted by one that is slightly earlier.
    waves = files_of(lake.waveforms)
    far = timedelta(0) if waves.is_empty() else far_of(waves)
    moved = known.filter((pl.col("timestamp") >= pl.col("known") - far).fill_null(value=True)).select(
        "tag", timestamp=pl.max_horizontal("timestamp", "known")
    )
    found = pl.concat([_samples_at(lake, moved), _ends_of_stretches(lake, moved, far)])
    return pl.concat([noted.join(moved, on="tag", how="anti"), found]).sort("tag")


def note_newest(lake: LakeDirectory) -> None:
    """Replace the table `newest` by the current newest samples. The caller holds the writers' lock."""
    up_to = last_written(lake.ledger)
    rows = latest_samples(lake, None).with_columns(up_to=pl.lit(up_to, NEWEST["up_to"]))
    if not rows.is_empty():
        lake.newest.create()
        lake.newest.replace(lake.newest.listing(), lake.newest.written([rows]))


def latest_batch(lake: LakeDirectory, tags: Sequence[str]) -> SampleBatch:
    """Return `latest_samples` as a batch."""
    rows = latest_samples(lake, tags)
    return sample_batch(rows.select(SCHEMA.names()).cast({"quality": SCHEMA["quality"]}))


def _noted(lake: LakeDirectory) -> pl.DataFrame:
    paths = lake.newest.listing()["path"].to_list()
    return pl.read_parquet(paths, glob=False).select(NEWEST.names()) if paths else NEWEST.to_frame()


def _ends_of_stretches(lake: LakeDirectory, moved: pl.DataFrame, far: timedelta) -> pl.DataFrame:
    """Return the last sample of each tag's stretches, read from those at most `far` from one instant per tag."""
    files = _files_at(lake.waveforms, moved, far)
    if files.is_empty():
        return _NOTHING
    instants = moved["timestamp"].sort().to_list()
    found = located_in(lake, files, moved["tag"].to_list(), (instants[0] - far, instants[-1] + far))
    touching = found.heads.join(moved.select("tag", at="timestamp"), on="tag").filter(
        pl.col("timestamp") <= pl.col("at"), pl.col("last") >= pl.col("at") - far
    )
    rows = resolved(replace(found, heads=touching))
    written = rows.group_by("tag").agg(pl.col(WRITTEN).last())
    return newest_samples(rows).join(written, on="tag").cast(_NOTHING.schema).select(_NOTHING.columns)


def _samples_at(lake: LakeDirectory, moved: pl.DataFrame) -> pl.DataFrame:
    """Return the samples at one instant per tag, read from the files that may hold them."""
    files = _files_at(lake.samples, moved, timedelta(0))
    if files.is_empty():
        return _NOTHING
    rows = pl.scan_parquet(files["path"].to_list(), glob=False)
    found = rows.filter(pl.col("timestamp").is_in(moved["timestamp"].unique().implode())).select(_NOTHING.columns)
    return newest_wins(found.collect().join(moved, on=["tag", "timestamp"], how="semi"), written=WRITTEN)


def _files_at(table: LakeTable, moved: pl.DataFrame, far: timedelta) -> pl.DataFrame:
    """Return the files that may have a row of some tag at most `far` from one instant per tag.

    Args:
        table: samples or waveforms.
        moved: columns `tag` and `timestamp`.
        far: zero for samples.
    """
    files, instants = files_of(table), moved["timestamp"].sort()
    if files.is_empty() or instants.is_empty():
        return files.clear()
    after = instants[-1] + far + timedelta(microseconds=1)
    files, at = prune(files, moved["tag"].to_list(), instants[0] - far, after), instants.to_physical()
    distance = far // timedelta(microseconds=1)
    until = at.search_sorted(files["last"] + distance, side="right")
    return files.filter(until > at.search_sorted(files["first"] - distance))
