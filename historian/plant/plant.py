"""The plant, resolved and checked, for every command. Created by `historian.plant.load.load_plant`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.model import BANDS, Asset, AssetClass, Band


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
    fixed_rpm: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Asset -> fixed speed of its shaft in rpm, for assets where no tag fills that point."""


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

    def tag_of(self, asset: str, point: str) -> Tag | None:
        """Return the tag that fills `point` of `asset`, or None if no tag list has one."""
        return self._by_role.get((asset, point))

    @cached_property
    def _by_role(self) -> dict[tuple[str, str], Tag]:
        return {(tag.asset, tag.point): tag for tag in self.tags.values()}

    def assets_of(self, asset_class: str) -> tuple[str, ...]:
        """Return the names of the assets of a class, sorted."""
        return tuple(sorted(name for name, asset in self.assets.items() if asset.asset_class == asset_class))
