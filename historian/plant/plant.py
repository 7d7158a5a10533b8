"""The plant, resolved and checked: what every command works from. Made by `historian.plant.load.load_plant`."""

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
    """A feature set of an asset class, resolved; becomes a Feast feature view of the same name."""

    name: str
    asset_class: str
    points: tuple[str, ...]
    kind: Literal["vibration", "process"]
    """Waveforms, or process tags: numbers and states."""
    window: timedelta
    hop: timedelta
    align: Literal["epoch", "burst"]
    ttl: timedelta | None
    features: tuple[str, ...] = ()
    """Names of groups of features; none means what `feature_groups.DEFAULTS` has for each kind of point."""
    bands: tuple[Band, ...] = BANDS
    speed: str | None = None
    """The point that tells the shaft's speed."""
    fixed_rpm: Mapping[str, float] = field(default_factory=dict, hash=False)
    """The shaft's speed of the assets where no tag fills that point."""


def source_points(view: View) -> tuple[str, ...]:
    """The points whose samples a view is computed from: its own, and the one that tells the speed."""
    return (*view.points, view.speed) if view.speed else view.points


@dataclass(frozen=True)
class Plant:
    """Everything `plant.toml` and its tag lists say."""

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
    online_url: str = ""
    """Of a Redis; empty for the SQLite file."""
    online_password: str = ""
    served_for: timedelta | None = None
    """How long served values are kept; None for not at all."""

    def tag_of(self, asset: str, point: str) -> Tag | None:
        """The tag that fills `point` of `asset`, or None where no tag list names one."""
        return self._by_role.get((asset, point))

    @cached_property
    def _by_role(self) -> dict[tuple[str, str], Tag]:
        return {(tag.asset, tag.point): tag for tag in self.tags.values()}

    def assets_of(self, asset_class: str) -> tuple[str, ...]:
        """The assets of a class, sorted."""
        return tuple(sorted(name for name, asset in self.assets.items() if asset.asset_class == asset_class))
