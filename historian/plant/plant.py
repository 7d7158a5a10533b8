"""The plant, resolved and checked, for every command. Created by `historian.plant.load.load_plant`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.facts import ALWAYS, Era, era_at, eras_of, facts_at
from historian.plant.model import BANDS, Asset, AssetClass, Band, SpoolBounds


@dataclass(frozen=True)
class View:
    """A resolved feature set of an asset class; becomes a Feast feature view of the same name."""

    name: str
    asset_class: str
    points: tuple[str, ...]
    kind: Literal["vibration", "process"]
    """Whether its points are waveforms, or process tags (numbers and states)."""
    window: timedelta
    hop: timedelta
    align: Literal["epoch", "burst"]
    ttl: timedelta | None
    features: tuple[str, ...] = ()
    """Names of groups of features; if empty, those in `feature_groups.DEFAULTS` for each kind of point."""
    bands: tuple[Band, ...] = BANDS
    speed: str | None = None
    """Name of the point that measures the shaft's speed."""


def source_points(view: View) -> tuple[str, ...]:
    """Return the points whose samples a view is computed from: its own, and the one that measures the speed."""
    return (*view.points, view.speed) if view.speed else view.points


@dataclass(frozen=True)
class Plant:
    """The contents of `plant.toml` and its tag lists, resolved."""

    site: str
    root: Path
    state: Path
    """Directory for spool, lake, feature tables, online store and registry."""
    store_url: str
    classes: Mapping[str, AssetClass]
    assets: Mapping[str, Asset]
    sources: Mapping[str, ConnectionConfig]
    archives: Mapping[str, ConnectionConfig]
    tags: Mapping[str, Tag]
    views: Mapping[str, View]
    store_token: str = ""
    write_features: tuple[str, ...] = ()
    """Names of features whose values are written to the store as samples."""
    online_url: str = ""
    """Url of a Redis as the online store; empty for the SQLite file."""
    online_password: str = ""
    served_for: timedelta | None = None
    """How long served values are kept; None if they are not logged."""
    spool: SpoolBounds = field(default_factory=SpoolBounds)
    """How much a bridge may keep on its disk."""

    def tag_of(self, asset: str, point: str) -> Tag | None:
        """Return the tag that fills `point` of `asset`, the newest one; None if no tag list has one."""
        return next(reversed(self.tags_of(asset, point)), None)

    def tags_of(self, asset: str, point: str) -> tuple[Tag, ...]:
        """Return all tags that fill `point` of `asset` at some time, oldest first."""
        return self._by_role.get((asset, point), ())

    def tag_at(self, asset: str, point: str, instant: datetime) -> Tag | None:
        """Return the tag that filled `point` of `asset` at an instant, with the facts that held then; None if none."""
        found = [each for each in self.tags_of(asset, point) if (each.since or ALWAYS) <= instant]
        if not found or asset not in self._eras:
            return next(reversed(found), None)
        held = self.asset_at(asset, instant)
        return replace(found[-1], **facts_at(self.classes[held.asset_class].points[point], point, held))

    def asset_at(self, asset: str, instant: datetime) -> Asset:
        """Return an asset with the facts that held at an instant."""
        return era_at(self._eras[asset], instant).asset if asset in self._eras else self.assets[asset]

    def dates(self, asset: str, points: Iterable[str]) -> tuple[datetime, ...]:
        """Return the instants, ascending, at which facts about an asset change or another tag fills one of the points.

        Args:
            asset: name of the asset.
            points: names of points of its class.
        """
        eras = [era.since for era in self._eras.get(asset, ())[1:]]
        tags = [tag.since for point in points for tag in self.tags_of(asset, point) if tag.since]
        return tuple(sorted({*eras, *tags}))

    @cached_property
    def _by_role(self) -> dict[tuple[str, str], tuple[Tag, ...]]:
        """(asset, point) -> its tags, oldest first."""
        found: dict[tuple[str, str], tuple[Tag, ...]] = {}
        for tag in sorted(self.tags.values(), key=lambda each: each.since or ALWAYS):
            found[tag.asset, tag.point] = (*found.get((tag.asset, tag.point), ()), tag)
        return found

    @cached_property
    def _eras(self) -> dict[str, tuple[Era, ...]]:
        """Name of an asset with changes -> its eras."""
        return {name: eras_of(asset) for name, asset in self.assets.items() if asset.changes}

    def assets_of(self, asset_class: str) -> tuple[str, ...]:
        """Return the names of the assets of a class, sorted."""
        return tuple(sorted(name for name, asset in self.assets.items() if asset.asset_class == asset_class))
