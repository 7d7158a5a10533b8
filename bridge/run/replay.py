"""Replay: rejected rows are checked against the current contract, and those it accepts are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import polars as pl

from bridge.delivery.sink_runner import SinkRunner
from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine, Selection
from bridge.edge.quarantine_rows import STRETCH
from bridge.edge.spool import Spool
from bridge.ingest.contracts.limits import contract_of
from bridge.ingest.validation import CONFLICT, packed, rates_of, validated
from historian.errors import InvalidInput, near_misses
from historian.plant.plant import Plant
from historian.samples import SCHEMA
from historian.stores.protocols import Sink
from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.encoding import with_statistics

_CHUNK: Final = 50_000


@dataclass(frozen=True)
class Replayed:
    """The result of a replay: numbers of rows; a stretch of a waveform is one."""

    replayed: int = 0
    """Rows that the contract accepts now; they are in the store, or in the spool on their way there."""
    rejected: int = 0
    """Rows that the contract still rejects; they stay in quarantine."""
    waiting: int = 0
    """Samples that wait in the spool because the store could not be written."""


async def replay(plant: Plant, edge: Edge, store: Sink, selection: Selection, *, now: datetime) -> Replayed:
    """Check the selected rows against the contract again, and send the accepted ones to the store.

    Rows that contradict another sample are replayed only if the selection names that reason: they overwrite it.

    Raises:
        InvalidInput: the selection names a source that the plant does not have.
    """
    connections = {**plant.archives, **plant.sources}
    if selection.source is not None and selection.source not in connections:
        hint = near_misses(selection.source, connections)
        raise InvalidInput(f"the plant file has no source or archive {selection.source!r}{hint}")
    done = Replayed()
    for source, reason in _groups(edge, selection, connections):
        part = _replay_group(edge, replace(selection, source=source, reason=reason), plant, now=now)
        done = Replayed(done.replayed + part.replayed, done.rejected + part.rejected)
    runner = SinkRunner(edge, store, list(connections))
    finish = asyncio.Event()
    finish.set()
    await runner.run(finish)
    return replace(done, waiting=sum(Spool(edge).waiting().values()))


def _groups(edge: Edge, selection: Selection, connections: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the sources and reasons to replay."""
    counted = Quarantine(edge).counts().filter(pl.col("source").is_in(list(connections)))
    return [
        (source, reason)
        for source, reason in counted.select("source", "reason").rows()
        if selection.source in (None, source)
        and (selection.reason == reason or (selection.reason is None and reason != CONFLICT))
    ]


def _replay_group(edge: Edge, selection: Selection, plant: Plant, *, now: datetime) -> Replayed:
    """Replay one source and reason in chunks; a chunk moves from quarantine to spool in one transaction."""
    quarantine, spool, source = Quarantine(edge), Spool(edge), selection.source or ""
    live = source in plant.sources
    tags = (plant.sources if live else plant.archives)[source].tags
    rules, rates = contract_of(tags, live=live), rates_of(tags)
    replayed = rejected = after = 0
    while True:
        ids, rows = quarantine.take(selection, limit=_CHUNK, after=after)
        if not ids:
            return Replayed(replayed, rejected)
        raw, unpackable = packed(_raw_rows(rows), rates)
        found = validated(raw, rules, now=now).with_rejected(unpackable)
        numbered = rows.with_columns(id=pl.Series(ids, dtype=pl.Int64))
        accepted = numbered.join(found.rejected, on=[*SCHEMA, *STRETCH], how="anti", nulls_equal=True)
        with edge.transaction():
            if not found.batches.is_empty:
                spool.append(found.batches, source=source, now=now)
            quarantine.release(accepted["id"].to_list())
        replayed, rejected, after = replayed + accepted.height, rejected + len(ids) - accepted.height, ids[-1]


def _raw_rows(kept: pl.DataFrame) -> RawRows:
    """Return quarantined rows as a driver would have returned them in engineering units."""
    is_stretch = pl.col("values").is_not_null()
    stretches = with_statistics(kept.filter(is_stretch)).select(WAVEFORM_SCHEMA.names())
    return RawRows(kept.filter(~is_stretch).select(SCHEMA.names()), stretches.cast(WAVEFORM_SCHEMA))
