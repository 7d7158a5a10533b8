"""What a manifest records: enough to make its training set again, whatever has become of plant file and registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features.define.view_plan import view_plan
from features.feast.feature_refs import column_of
from features.feast.offline.join_executor import JoinExecutor
from features.tables.feature_table import table_path
from features.training.known_names import KnownNames
from features.training.manifest import STATISTICS, Manifest
from features.training.pinned import TableSource, TableVersion, pin
from features.training.plan import Feature, Plan
from features.training.request import Request, Resolved
from historian.errors import InvalidInput, NotEnoughData
from historian.plant.plant import Plant, View
from historian.times import format_duration, parse_duration


@dataclass(frozen=True)
class RecordedTable:
    """A feature table as a manifest records it."""

    version: TableVersion
    source: TableSource


@dataclass(frozen=True)
class Recorded:
    """The parts of a manifest that its training set is made from."""

    request: Request
    resolved: Resolved
    tables: Mapping[str, RecordedTable]
    """By view."""
    features: tuple[Feature, ...]

    def names(self) -> KnownNames:
        """Return the names that the label files could use then."""
        assets = {*self.resolved.assets, *self.resolved.named_assets}
        return KnownNames(assets, dict.fromkeys(self.tables, self.resolved.assets))

    def plan(self, executor: JoinExecutor) -> Plan:
        """Return the plan, over the recorded versions of the tables.

        Args:
            executor: Runs the join; has no effect on its result.

        Raises:
            NotEnoughData: a table is gone.
            StoreUnavailable: a table cannot be read.
        """
        request, as_of = self.request, self.request.as_of
        tables = {view: _pinned(table, as_of) for view, table in sorted(self.tables.items())}
        return Plan(self.features, tables, request.created_by_label_time, as_of, executor, request.ages)


def recorded(manifest: Manifest, path: Path, plant: Plant) -> Recorded:
    """Return what a manifest records.

    Args:
        manifest: The manifest.
        path: Where it was read from, for messages.
        plant: Its feature tables are read.

    Raises:
        InvalidInput: the manifest is not as it was written.
    """
    try:
        resolved = Resolved.model_validate(manifest["resolved"])
        tables = {view: _table(view, about, plant) for view, about in manifest["tables"].items()}
        features = tuple(_feature(ref, manifest["columns"]) for ref in resolved.features)
        return Recorded(Request.model_validate(manifest["request"]), resolved, tables, features)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"{path} is not as it was written, and the training set cannot be made again from it: {_why(error)}"
        ) from None


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{error.title.lower()} {each['loc'][0]}: {each['msg']}" for each in error.errors())
    return f"tables: {error!r}"


def gone(found: Recorded, plant: Plant) -> Iterator[str]:
    """Yield a sentence for everything the plant file no longer has, or states otherwise now.

    Args:
        found: What a manifest records.
        plant: The plant now.
    """
    if lost := sorted(set(found.resolved.assets) - set(plant.assets)):
        yield f"the plant file no longer has the asset {', '.join(lost)}; its rows are still in the feature tables"
    for view, table in found.tables.items():
        if view in plant.views:
            yield from _changed(
                plant, plant.views[view], [each.name for each in found.features if each.view == view], table
            )
        else:
            yield f"the plant file no longer has the feature view {view}; its table {table.source.path} was read"


def _changed(plant: Plant, view: View, names: Sequence[str], table: RecordedTable) -> Iterator[str]:
    present = {column.name for column in view_plan(plant, view).columns}
    if lost := [name for name in names if name not in present]:
        yield f"the feature view {view.name} no longer has {', '.join(lost)}; its table still does"
    if view.ttl != table.source.ttl:
        yield f"the ttl of {view.name} is {_ttl(view.ttl)} now; {_ttl(table.source.ttl)} was used"


def _ttl(ttl: Any) -> str:
    return format_duration(ttl) if ttl else "none"


def _pinned(table: RecordedTable, as_of: datetime | None) -> Any:
    try:
        return pin(table.source, table.version, as_of=as_of)
    except NotEnoughData:
        raise NotEnoughData(
            f"the feature table of {table.source.view} is gone: there is no Delta table at {table.source.path}. The "
            f"training set cannot be made again without it; restore it from a backup"
        ) from None


def _table(view: str, about: Mapping[str, Any], plant: Plant) -> RecordedTable:
    ttl, until = about["ttl"], about["created_until"]
    version = TableVersion(
        _number(about["version"]), datetime.fromisoformat(until) if until else None, about.get("as_of")
    )
    path = table_path(plant, view).as_posix()
    source = TableSource(view, path, parse_duration(ttl) if ttl else None, parse_duration(about["window"]))
    return RecordedTable(version, source)


def _number(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"there is no version {number}")
    return number


def _feature(ref: str, columns: Mapping[str, Any]) -> Feature:
    view, name = ref.split(":")
    column = column_of(ref)
    meaning = {key: text for key, text in columns[column].items() if key not in STATISTICS}
    return Feature(ref, view, name, column, meaning)
