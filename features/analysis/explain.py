"""`penstock explain`: from one value of a feature back to its window, its samples, its source and the facts behind it.

The walk goes feature -> row -> window -> samples or stretches in the store -> writes in the ledger -> tag, address and
contract -> bearing, speed and limits -> versions. Finally the value is computed again from the samples there are now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

import polars as pl

from features.compute.partition import compute_partitions
from features.compute.plan import Planner
from features.compute.run import MEMORY
from features.compute.splitting import budget
from features.define.point_plan import Column
from features.define.reasons import REASONS
from features.define.view_plan import AssetPlan, PointTag
from features.kernels.bearing import fault_orders, misfits
from features.tables.feature_table import FeatureTable
from historian.errors import InvalidInput, UnknownFeature, near_misses
from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.plant import Plant
from historian.quality import quality_name
from historian.stores.protocols import Reader
from historian.times import micros
from historian.waveforms.timing import last_us

_MICROSECOND: Final = timedelta(microseconds=1)
_SHOWN: Final = 8
"""Stretches, or writes, that are listed one by one."""
_EVENT: Final = pl.col("event_timestamp")
_LIBRARIES: Final = ("penstock", "numpy", "scipy", "polars")


@dataclass(frozen=True)
class _Subject:
    """The value that is explained, and where it belongs."""

    plant: Plant
    table: FeatureTable
    column: Column
    group: str
    plan: AssetPlan
    """What the view computes for the asset, by the facts that held in the window."""
    row: Mapping[str, Any]

    @property
    def end(self) -> datetime:
        """The end of the window."""
        end: datetime = self.row["event_timestamp"]
        return end

    @property
    def start(self) -> datetime:
        """The beginning of the window."""
        return self.end - self.plan.window

    @property
    def tag(self) -> PointTag | None:
        """The tag that fills the point; None if none does any more."""
        return next((tag for tag in self.plan.tags if tag.plan.name == self.column.point), None)


def explanation(plant: Plant, store: Reader, ref: str, asset: str, at: datetime, *, now: datetime) -> dict[str, Any]:
    """Return where one value of a feature comes from.

    Args:
        plant: the plant.
        store: where the samples are.
        ref: VIEW:COLUMN.
        asset: name of the asset.
        at: the newest row whose window ends by then is explained.
        now: the present time.

    Returns:
        What `penstock explain --json` prints, section by section.

    Raises:
        UnknownFeature: there is no such column.
        InvalidInput: the asset is unknown, or has no row by then.
    """
    subject = _subject(plant, ref, asset, at)
    tag = plant.tag_at(asset, subject.column.point, subject.end - _MICROSECOND) if subject.tag else None
    return {
        "feature": _feature(subject, ref),
        "row": _row(subject),
        "window": {"start": subject.start, "end": subject.end, **_settings(subject)},
        "samples": _samples(store, subject, tag),
        "writes": _writes(store, subject, tag),
        "tag": _tag(plant, tag),
        "facts": _facts(subject, tag),
        "versions": _versions(subject),
        "again": _again(store, subject, now),
    }


def _subject(plant: Plant, ref: str, asset: str, at: datetime) -> _Subject:
    view, _, name = ref.partition(":")
    if view not in plant.views:
        raise UnknownFeature(f"there is no view {view!r}{near_misses(view, plant.views)}; write VIEW:COLUMN")
    table = FeatureTable(plant, plant.views[view])
    columns = {column.name: column for column in table.plan.columns}
    if name not in columns:
        raise UnknownFeature(f"{view} has no column {name!r}{near_misses(name, columns)}")
    plans = {each.asset: each for each in table.plan.assets}
    if asset not in plans:
        raise InvalidInput(f"{view} has no asset {asset!r}{near_misses(asset, plans)}")
    rows = table.scan().filter(pl.col("asset") == asset, at >= _EVENT)
    newest = rows.filter(_EVENT.max() == _EVENT).sort("created_timestamp").collect()
    if newest.is_empty():
        raise InvalidInput(
            f"{asset} has no row of {view} whose window ends by {at:%Y-%m-%d %H:%M:%S} UTC; run penstock compute"
        )
    column = columns[name]
    groups = next(point.groups for point in table.plan.points if point.name == column.point)
    group = next((each for each, found in groups.items() if column.spec in found.specs), "quality")
    row = newest.row(-1, named=True)
    end = micros(row["event_timestamp"])
    [era] = plans[asset].during(end - 1, end)
    return _Subject(plant, table, column, group, era.plan, row)


def _feature(subject: _Subject, ref: str) -> dict[str, Any]:
    spec = subject.column.spec
    reason = subject.row.get(f"{subject.column.point}_reason")
    return {
        "ref": ref,
        "asset": subject.plan.asset,
        "value": subject.row[subject.column.name],
        "unit": subject.column.unit,
        "group": subject.group,
        "what": spec.what,
        "formula": spec.formula,
        "source": spec.source,
        "version": spec.version,
        "missing_when": spec.undefined,
        "reasons_of_row": {code: text for code, text in REASONS.items() if code in (reason or "").split()},
    }


def _row(subject: _Subject) -> dict[str, Any]:
    """Return when the row was computed, and what earlier rows of the same window held."""
    same = (pl.col("asset") == subject.plan.asset) & (subject.end == _EVENT)
    rows = subject.table.scan().filter(same).sort("created_timestamp").collect()
    earlier = rows.head(-1).select(created="created_timestamp", value=subject.column.name)
    point = subject.column.point
    quality = {
        key: subject.row.get(f"{point}_{key}") for key in ("n", "valid", "coverage", "clipped", "rpm", "rpm_source")
    }
    present = {key: value for key, value in quality.items() if value is not None}
    return {"created": subject.row["created_timestamp"], "earlier": earlier.to_dicts(), **present}


def _settings(subject: _Subject) -> dict[str, Any]:
    view = subject.table.plan.view
    return {"view": view.name, "length": view.window, "hop": view.hop, "align": view.align}


def _samples(store: Reader, subject: _Subject, tag: Tag | None) -> dict[str, Any]:
    """Return what the store has of the tag in the window now."""
    if tag is None:
        return {"kind": "none", "why": f"no tag fills {subject.column.point} of {subject.plan.asset}"}
    if tag.sample_rate is not None:
        return _stretches(store, subject, tag)
    pages = [page.lazy() for page in store.read([tag.name], subject.start, subject.end)]
    rows = pl.concat(pages).collect() if pages else pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC")})
    if rows.is_empty():
        return {"kind": "samples", "count": 0, "held_since": f"up to {tag.max_staleness} before the window"}
    qualities = {quality_name(code): count for code, count in rows.group_by("quality").len().sort("quality").rows()}
    first, last = rows["timestamp"].min(), rows["timestamp"].max()
    return {"kind": "samples", "count": rows.height, "first": first, "last": last, "qualities": qualities}


def _stretches(store: Reader, subject: _Subject, tag: Tag) -> dict[str, Any]:
    pages = list(store.read_waveforms([tag.name], subject.start, subject.end))
    if not pages:
        return {"kind": "waveform", "count": 0, "stretches": []}
    rows = pl.concat(pages).sort("timestamp")
    ends = pl.Series(last_us(rows)).cast(pl.Datetime("us", "UTC"))
    shown = rows.with_columns(last=ends).head(_SHOWN)
    listed = shown.select("timestamp", "last", "sample_rate", "count", "encoding", "quality").to_dicts()
    named = [{**each, "quality": quality_name(each["quality"])} for each in listed]
    return {"kind": "waveform", "count": int(rows["count"].sum()), "in": rows.height, "stretches": named}


def _writes(store: Reader, subject: _Subject, tag: Tag | None) -> list[dict[str, Any]]:
    """Return the writes that may have brought the samples of the window, the newest first."""
    if tag is None:
        return []
    touches = (pl.col("last") >= subject.start) & (pl.col("first") < subject.end)
    rows = store.changes(None).filter(pl.col("tag") == tag.name, touches).sort("ingested_at", descending=True)
    return rows.select("source", "ingested_at", "first", "last", "rows").head(_SHOWN).to_dicts()


def _tag(plant: Plant, tag: Tag | None) -> dict[str, Any] | None:
    """Return the tag, what its contract allows, and the connections that bring it."""
    if tag is None:
        return None
    connections: list[tuple[str, ConnectionConfig]] = [
        *(("source", each) for each in plant.sources.values()),
        *(("archive", each) for each in plant.archives.values()),
    ]
    brought = [
        {"section": section, "name": each.name, "driver": each.driver.options.__module__, "address": own.address}
        for section, each in connections
        for own in each.tags
        if own.name == tag.name
    ]
    contract = {"kind": tag.kind, "unit": tag.unit, "range": tag.range, "sample_rate": tag.sample_rate}
    scaled = {"scale": tag.scale, "offset": tag.offset}
    listed = dict(zip(("file", "at"), tag.listed, strict=True))
    return {"name": tag.name, "point": tag.point, **scaled, "contract": contract, "from": brought, "listed": listed}


def _facts(subject: _Subject, tag: Tag | None) -> dict[str, Any]:
    """Return what the plant file says of the machine that features may depend on."""
    own = subject.tag
    bearing = own.bearing if own else None
    orders = None if bearing is None or misfits(bearing) else vars(fault_orders(bearing))
    return {
        "bearing": None if bearing is None else bearing.model_dump(exclude_none=True),
        "fault_orders": orders,
        "speed_tag": subject.plan.speed.name if subject.plan.speed else None,
        "speed_rpm": subject.plan.fixed_rpm,
        "zones": tag.zones.model_dump() if tag and tag.zones else None,
        "teeth": list(own.plan.point.teeth) if own else [],
    }


def _versions(subject: _Subject) -> dict[str, Any]:
    """Return by which versions the row was computed, and whether these are the present ones."""
    created = int(subject.row["created_timestamp"].timestamp() * 1e6)
    definition = subject.table.definition
    then = [each for each in definition.provenance if each.since <= created][-1]
    computed = then.features.get(subject.column.name)
    keys = {name: [subject.row[name]] for name in ("asset", "event_timestamp", "created_timestamp")}
    row = pl.DataFrame(keys, {name: subject.table.schema[name] for name in keys})
    same_facts = subject.table.by_other_facts(row).is_empty()
    libraries = {name: version(name) for name in _LIBRARIES}
    return {
        "feature_then": computed,
        "feature_now": subject.column.spec.version,
        "same_facts_now": same_facts,
        "stale": computed != subject.column.spec.version or not same_facts,
        "libraries_now": libraries,
    }


def _again(store: Reader, subject: _Subject, now: datetime) -> dict[str, Any]:
    """Return the value that the samples of now give, by the same code as in `penstock compute`."""
    plan = replace(subject.table.plan, names=(subject.plan.asset,))
    names = [tag.name for tag in subject.plan.sample_tags]
    newest = dict(store.latest(names).select("tag", "timestamp").iter_rows())
    planner = Planner(store, plan, newest, now, budget(MEMORY, 1))
    wanted = pl.DataFrame(
        {"asset": [subject.plan.asset], "after": [subject.end - _MICROSECOND], "until": [subject.end]}
    )
    parts = [compute_partitions(store, [each]).rows for each in planner.partitions(_typed(wanted), store.changes(None))]
    rows = pl.concat([subject.table.empty.lazy(), *(part.lazy() for part in parts)], how="diagonal").collect()
    found = rows.filter(subject.end == _EVENT)
    if found.is_empty():
        return {"value": None, "same": False, "why": "the samples give no window that ends there any more"}
    value, stored = found.item(0, subject.column.name), subject.row[subject.column.name]
    return {"value": value, "same": _same(value, stored), "why": ""}


def _typed(wanted: pl.DataFrame) -> pl.DataFrame:
    return wanted.with_columns(pl.col("after", "until").cast(pl.Datetime("us", "UTC")))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other)) + 1e-12
    return bool(one == other)
