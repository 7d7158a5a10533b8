"""The plant, resolved and checked: what every command works from. Made by `historian.plant_load.load_plant`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from historian.drivers import Driver
from historian.plant_model import Asset, AssetClass


@dataclass(frozen=True)
class Tag:
    """One named signal, resolved: where it comes from and which role it plays."""

    name: str
    asset: str
    point: str
    kind: Literal["vibration", "process", "speed", "state"]
    unit: str
    sample_rate: float | None
    range: tuple[float, float] | None
    max_staleness: timedelta
    address: str
    scale: float
    offset: float
    options: BaseModel
    """The driver's own columns of the tag list, checked."""
    listed: tuple[str, str] = ("", "")
    """Where a person wrote it: file and row, as `errors.Problem` takes them."""


@dataclass(frozen=True)
class Feed:
    """A source or an archive, resolved: its driver, the driver's options and the tags it brings."""

    name: str
    driver: Driver
    options: BaseModel
    tags: tuple[Tag, ...]
    root: Path
    """Directory of `plant.toml`: relative paths in the options start here."""


@dataclass(frozen=True)
class View:
    """A feature set of an asset class, resolved; becomes a Feast feature view of the same name."""

    name: str
    asset_class: str
    points: tuple[str, ...]
    kind: Literal["vibration", "process"]
    window: timedelta
    hop: timedelta
    align: Literal["epoch", "burst"]
    ttl: timedelta | None


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
    sources: Mapping[str, Feed]
    archives: Mapping[str, Feed]
    tags: Mapping[str, Tag]
    views: Mapping[str, View]
    store_token: str = ""

    def tag_of(self, asset: str, point: str) -> Tag | None:
        """The tag that fills `point` of `asset`, or None where no tag list names one."""
        return next((tag for tag in self.tags.values() if (tag.asset, tag.point) == (asset, point)), None)

    def assets_of(self, asset_class: str) -> tuple[str, ...]:
        """The assets of a class, sorted."""
        return tuple(sorted(name for name, asset in self.assets.items() if asset.asset_class == asset_class))
