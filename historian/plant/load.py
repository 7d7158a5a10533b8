"""Reads and checks a plant file with its tag lists; every problem is reported at once, with file and row.

No socket is opened and no data touched: a plant that loads is a plant that can be tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from historian.errors import ConfigError, InvalidInput, Problem, near_misses
from historian.plant.connections import ConnectionConfig, DriverSpec, Section, Tag
from historian.plant.document import Document, problems_of, read_toml, readable_message
from historian.plant.drivers import find_driver
from historian.plant.feature_sets import complaints, view_of
from historian.plant.model import Asset, Bearing, Connection, FeatureSet, PlantFile, TagRow
from historian.plant.plant import Plant, View
from historian.plant.tag_list import parse_row, read_rows


def load_plant(path: Path) -> Plant:
    """Reads and checks a plant file.

    Raises:
        ConfigError: with every problem found, each with file and row.
    """
    file = path / "plant.toml" if path.is_dir() else path
    document = read_toml(file)
    try:
        model = PlantFile.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(list(problems_of(error, document))) from None
    return _Resolver(model, document).plant()


class _Resolver:
    """Joins classes, assets and tag lists, collecting problems as it goes."""

    def __init__(self, model: PlantFile, document: Document) -> None:
        self.model = model
        self.document = document
        self.root = document.path.resolve().parent
        self.problems: list[Problem] = []
        self.tags: dict[str, Tag] = {}
        self.where: dict[str, str] = {}
        self.filled: dict[tuple[str, str], str] = {}

    def plant(self) -> Plant:
        self._check_assets()
        sources = {name: self._feed("sources", name) for name in self.model.sources}
        archives = {name: self._feed("archives", name) for name in self.model.archives}
        views = {view.name: view for view in self._views()}
        if self.problems:
            raise ConfigError(self.problems)
        model = self.model
        return Plant(
            site=model.site.name,
            root=self.root,
            state=self.root / model.site.state,
            store_url=os.environ.get("PENSTOCK_HISTORIAN", model.historian.url),
            store_token=os.environ.get("PENSTOCK_HISTORIAN_TOKEN", model.historian.token),
            online_url=model.online.url,
            online_password=os.environ.get("PENSTOCK_ONLINE_PASSWORD", model.online.password),
            served_for=model.online.log,
            classes=model.classes,
            assets=model.assets,
            sources={name: feed for name, feed in sources.items() if feed},
            archives={name: feed for name, feed in archives.items() if feed},
            tags=self.tags,
            views=views,
        )

    def _check_assets(self) -> None:
        for name, asset in self.model.assets.items():
            if asset.asset_class not in self.model.classes:
                hint = near_misses(asset.asset_class, self.model.classes)
                text = f"asset {name} has the unknown class {asset.asset_class!r}{hint}"
                self.problems.append(self.document.problem(text, "assets", name, "class"))
            self._check_bearings(name, asset)

    def _check_bearings(self, name: str, asset: Asset) -> None:
        points = self.model.classes[asset.asset_class].points if asset.asset_class in self.model.classes else {}
        for point in asset.bearings:
            if point not in points or points[point].kind != "vibration":
                known = [each for each in points if points[each].kind == "vibration"]
                text = f"asset {name}: bearings has no vibration point {point!r}{near_misses(point, known)}"
                self.problems.append(self.document.problem(text, "assets", name, "bearings"))
        places: dict[str, Bearing | None] = {"bearing": asset.bearing}
        places |= {f"bearings.{point}": bearing for point, bearing in asset.bearings.items()}
        for place, bearing in places.items():
            if bearing and bearing.ball_diameter >= bearing.pitch_diameter:
                prefix = "" if place == "bearing" else f"{place}: "
                text = f"asset {name}: {prefix}ball_diameter must be smaller than pitch_diameter"
                self.problems.append(self.document.problem(text, "assets", name, *place.split(".")))

    def _feed(self, section: Section, name: str) -> ConnectionConfig | None:
        connection: Connection = getattr(self.model, section)[name]
        keys = (section, name)
        try:
            driver = find_driver(connection.driver)
        except ValueError as error:
            self.problems.append(self.document.problem(str(error), *keys, "driver"))
            return None
        if not driver.offers(section):
            other = "an archive" if section == "sources" else "a live source"
            text = f"driver {connection.driver!r} is {other}; it cannot stand under [{section}.{name}]"
            self.problems.append(self.document.problem(text, *keys, "driver"))
            return None
        options = None
        try:
            options = driver.options.model_validate(connection.options)
        except ValidationError as error:
            for detail in error.errors():
                inner = tuple(map(str, detail["loc"]))
                given = "" if detail["type"] == "extra_forbidden" else detail["input"]
                text = f"{'.'.join(keys + inner)}: {readable_message(detail['msg'], given)}"
                self.problems.append(self.document.problem(text, *keys, *inner))
        tags = tuple(self._tags(connection, driver, keys))
        if options is None:
            return None
        feed = ConnectionConfig(name, driver, options, tags, self.root)
        try:
            driver.check(feed, section)
        except ConfigError as error:
            self.problems += error.problems
        return feed

    def _tags(self, connection: Connection, driver: DriverSpec, keys: tuple[str, str]) -> Iterator[Tag]:
        try:
            rows = read_rows(self.root / connection.tags, connection.tags)
        except InvalidInput as error:
            self.problems.append(self.document.problem(str(error), *keys, "tags"))
            return
        for place, cells in rows:
            try:
                row, options = parse_row(cells, driver)
            except InvalidInput as error:
                self.problems += [Problem(connection.tags, place, problem.text) for problem in error.problems]
                continue
            complaint = self._complaint(row, section=keys[0], place=f"{connection.tags} {place}")
            if complaint:
                self.problems.append(Problem(connection.tags, place, complaint))
                continue
            asset = self.model.assets[row.asset]
            point = self.model.classes[asset.asset_class].points[row.point]
            tag = Tag(
                name=row.tag,
                asset=row.asset,
                point=row.point,
                kind=point.kind,
                unit=point.unit,
                sample_rate=point.sample_rate,
                range=point.range,
                max_staleness=point.max_staleness,
                address=row.address,
                scale=row.scale,
                offset=row.offset,
                options=options,
                listed=(connection.tags, place),
                states=point.states,
                zones=point.zones,
                bearing=asset.bearings.get(row.point, asset.bearing) if point.kind == "vibration" else None,
            )
            self.tags.setdefault(tag.name, tag)
            yield tag

    def _complaint(self, row: TagRow, *, section: str, place: str) -> str | None:
        """What is wrong with a row in the light of the other rows and of the plant file."""
        asset = self.model.assets.get(row.asset)
        if asset is None:
            return f"unknown asset {row.asset!r}{near_misses(row.asset, self.model.assets)}"
        points = self.model.classes[asset.asset_class].points if asset.asset_class in self.model.classes else {}
        if row.point not in points:
            return f"class {asset.asset_class} has no point {row.point!r}{near_misses(row.point, points)}"
        name = f"{section} {row.tag}"  # an archive brings the history of the very tags a source brings live
        if name in self.where:
            return f"tag {row.tag!r} stands in {self.where[name]} already"
        filled_by = self.filled.setdefault((row.asset, row.point), row.tag)
        if filled_by != row.tag:
            return f"point {row.point} of {row.asset} is filled by tag {filled_by!r} already"
        known = self.tags.get(row.tag)
        if known and (known.asset, known.point) != (row.asset, row.point):
            return f"tag {row.tag!r} fills {known.point} of {known.asset} elsewhere; a tag fills one point"
        self.where[name] = place
        return None

    def _views(self) -> Iterator[View]:
        names: set[str] = set()
        for class_name, asset_class in self.model.classes.items():
            assets = {name: asset for name, asset in self.model.assets.items() if asset.asset_class == class_name}
            for set_name, features in asset_class.features.items():
                keys = ("classes", class_name, "features", set_name)
                name = f"{class_name}_{set_name}"
                found = complaints(asset_class, features, assets)
                if name in names:
                    found.append(f"makes a second feature view {name}; call one of them differently")
                self.problems += [self.document.problem(f"{'.'.join(keys)}: {text}", *keys) for text in found]
                if not found:
                    names.add(name)
                    fixed = self._fixed_rpm(features, assets)
                    yield view_of(name, class_name, asset_class.points, features, fixed)

    def _fixed_rpm(self, features: FeatureSet, assets: Mapping[str, Asset]) -> dict[str, float]:
        """The speeds of the assets that no tag tells."""
        return {
            name: asset.speed_rpm
            for name, asset in assets.items()
            if asset.speed_rpm is not None and (name, features.speed) not in self.filled
        }
