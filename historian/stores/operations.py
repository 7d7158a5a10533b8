"""The operations of `penstock store`, as functions that take plain arguments and return records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from historian.errors import ConfigError, InvalidInput, near_misses
from historian.plant.plant import Plant
from historian.stores.copy import Copied, copy
from historian.stores.influx.address import parse_address
from historian.stores.lake.store import LakeStore
from historian.stores.open import open_store, open_url
from historian.stores.protocols import Store
from historian.stores.urls import is_influx, lake_path


@dataclass(frozen=True)
class Initialised:
    """The result of `initialise`."""

    store: str
    """Url of the store, or the directory of a lake."""
    done: str
    """What was done, as a sentence."""


@dataclass(frozen=True)
class StoreStatus:
    """The size of a store, and the times of its newest samples."""

    facts: Mapping[str, Any]
    """Figures that this kind of store reports, such as `version`, `series`, `rows_on_disk`, `disk_bytes`."""
    newest: Mapping[str, datetime | None]
    """The time of each asset's newest sample; None if it has none."""


@dataclass(frozen=True)
class CopyPlan:
    """The extent of a copy."""

    source: Store
    tags: Sequence[str]
    samples: int
    """Upper bound on the number of samples: those written several times are counted several times."""


def initialise(plant: Plant, *, retention: timedelta | None) -> Initialised:
    """Create the plant's store if it does not exist. May be repeated.

    Args:
        plant: the plant that has the store.
        retention: how long InfluxDB keeps samples; for ever if None.

    Raises:
        InvalidInput: a retention was given for the embedded store, which keeps samples for ever.
        AccessDenied: the token lacks the permission.
        StoreUnavailable: the store does not respond, or the directory cannot be created.
    """
    if is_influx(plant.store_url):
        from historian.stores.influx import admin

        done = admin.initialise(parse_address(plant.store_url), plant.store_token, retention=retention)
        return Initialised(plant.store_url, done)
    if retention:
        raise InvalidInput("the embedded store keeps samples for ever; leave out --retention")
    path = lake_path(plant)
    LakeStore(path).create()
    return Initialised(plant.store_url or str(path), f"the lake at {path} is there")


def store_status(plant: Plant) -> StoreStatus:
    """Return the size of the plant's store and the time of each asset's newest sample.

    Raises:
        AccessDenied: the token may not read.
        StoreUnavailable: the store does not respond, or a file cannot be read.
    """
    if is_influx(plant.store_url):
        from historian.stores.influx import admin

        facts = admin.status(parse_address(plant.store_url), plant.store_token)
    else:
        facts = LakeStore(lake_path(plant)).size()
    latest = open_store(plant).latest(list(plant.tags))
    tags = pl.DataFrame([(tag.name, tag.asset) for tag in plant.tags.values()], ["tag", "asset"], orient="row")
    newest = latest.join(tags, on="tag").group_by("asset").agg(pl.col("timestamp").max()) if plant.tags else latest
    instants = dict(newest.select("asset", "timestamp").iter_rows()) if plant.tags else {}
    return StoreStatus(facts, {asset: instants.get(asset) for asset in plant.assets})


def plan_copy(source: str, target: str, *, source_token: str) -> CopyPlan:
    """Return what there is to copy.

    Args:
        source: url of the store to read.
        target: url of the store to write.
        source_token: token or password of the source, if it is an InfluxDB.

    Raises:
        InvalidInput: both are the same store, or the source is a directory that does not exist.
        StoreError: the source cannot be read.
    """
    if source == target:
        raise InvalidInput("source and target are the same store")
    store = open_url(source, source_token)
    if isinstance(store, LakeStore) and not store.path.exists():
        raise InvalidInput(f"there is no lake at {store.path}")
    ledger = store.changes(None)
    return CopyPlan(store, ledger["tag"].unique().sort().to_list(), int(ledger["rows"].sum()))


def run_copy(
    plan: CopyPlan, target: str, *, target_token: str, now: datetime, advance: Callable[[int], None]
) -> Copied:
    """Copy what was planned; run it again to resume.

    Args:
        plan: from `plan_copy`.
        target: url of the store to write.
        target_token: token or password of the target, if it is an InfluxDB.
        now: time of the writes.
        advance: called with the number of samples of each page, once they are in both.

    Raises:
        StoreError: a store failed, or the target returned other samples than were written to it.
    """
    return copy(plan.source, open_url(target, target_token), plan.tags, now=now, advance=advance)


def find_gaps(
    plant: Plant, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta
) -> pl.DataFrame:
    """Return where tags have no samples of any quality, columns of `historian.stores.protocols.GAPS`.

    Args:
        plant: the plant that has the store.
        tags: names of tags; all if empty.
        start: first instant of the range.
        end: first instant after the range.
        longer_than: shorter gaps are left out.

    Raises:
        InvalidInput: there is no such tag.
        StoreError: the store cannot be read.
    """
    for name in tags:
        if name not in plant.tags:
            raise InvalidInput(f"there is no tag {name!r}{near_misses(name, plant.tags)}")
    return open_store(plant).gaps(tags or sorted(plant.tags), start, end, longer_than=longer_than)


def compact_lake(plant: Plant) -> dict[str, int]:
    """Merge the embedded store's small files; see `LakeStore.compact`. Raises as `vacuum_lake` does."""
    return _lake(plant, "compact").compact()


def vacuum_lake(plant: Plant, *, keep: timedelta, dry_run: bool) -> list[str]:
    """Delete files of the embedded store that compaction has replaced; see `LakeStore.vacuum`.

    Raises:
        ConfigError: the plant's store is an InfluxDB.
        StoreUnavailable: a file cannot be read, written or deleted.
    """
    return _lake(plant, "vacuum").vacuum(keep=keep, dry_run=dry_run)


def _lake(plant: Plant, command: str) -> LakeStore:
    if is_influx(plant.store_url):
        raise ConfigError(f"store {command} is for the embedded store; InfluxDB compacts and deletes by itself")
    return LakeStore(lake_path(plant))
