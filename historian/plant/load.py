"""Reads and checks a plant file with its tag lists; all problems are reported together, with file and row.

No socket is opened and no data is read.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from historian.errors import ConfigError, InvalidInput, Problem, near_misses
from historian.plant.alarms import unknown_sets
from historian.plant.connections import ConnectionConfig, DriverSpec, Section, Tag
from historian.plant.document import Document, problems_of, read_unset_toml, readable_message
from historian.plant.drivers import find_driver
from historian.plant.facts import eras_of, facts_at, ranges_of, speeds_of
from historian.plant.feature_sets import complaints, view_of
from historian.plant.model import Connection, PlantFile, TagRow
from historian.plant.plant import Plant, View
from historian.plant.statements import Statement, fact_problems, plant_statements, read_replacements
from historian.plant.tag_list import PlacedRow, parse_row, read_rows


def load_plant(path: Path, *, every_variable: bool = False) -> Plant:
    """Read and check a plant file.

    A `${NAME}` under `[sources.X]` or `[archives.X]` may be missing from the environment: only a command that uses
    that connection needs it, and `ConnectionConfig.check_variables` reports it.

    Args:
        path: the plant file, or its directory.
        every_variable: whether missing variables of connections are problems too.

    Raises:
        ConfigError: with every problem found, each with file and row.
    """
    with _uncollected():
        return _resolver(path, every_variable=every_variable).plant()


def load_connection(path: Path, section: Section, name: str) -> ConnectionConfig:
    """Read one connection of a plant file without its tags, whose list need not exist yet.

    Args:
        path: the plant file, or its directory.
        section: section of the connection.
        name: name of the connection.

    Raises:
        InvalidInput: the plant file has no such connection.
        ConfigError: with every problem of the plant file's form and of the connection's keys.
    """
    return _resolver(path, every_variable=False).without_tags(section, name)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: of all that is made, nothing goes, and searching it for cycles takes a third."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _resolver(path: Path, *, every_variable: bool) -> _Resolver:
    """Read a plant file and check the form of it."""
    document = read_unset_toml(path / "plant.toml" if path.is_dir() else path)
    unset = list(document.unset())
    if any(not _is_of_connection(keys) for keys, _ in unset):
        # With references instead of values, most other problems would be about the references.
        raise ConfigError([problem for keys, problem in unset if every_variable or not _is_of_connection(keys)])
    return _Resolver(_model(document), document, unset, every_variable=every_variable)


def _model(document: Document) -> PlantFile:
    try:
        return PlantFile.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(list(problems_of(error, document))) from None


def _is_of_connection(keys: Sequence[str]) -> bool:
    return keys[0] in ("sources", "archives")


class _Resolver:
    """Joins classes, assets and tag lists, collecting problems as it goes."""

    def __init__(
        self,
        model: PlantFile,
        document: Document,
        unset: Sequence[tuple[tuple[str, ...], Problem]],
        *,
        every_variable: bool,
    ) -> None:
        self.model = model
        self.document = document
        self.unset = unset
        self.root = document.path.resolve().parent
        self.problems = [problem for _, problem in unset] if every_variable else []
        self.assets = dict(model.assets)
        self.tags: dict[str, Tag] = {}
        self.where: dict[str, str] = {}
        self.filled: dict[tuple[str, str, datetime | None], str] = {}

    def plant(self) -> Plant:
        self._check_assets()
        sources = {name: self._connection("sources", name) for name in self.model.sources}
        archives = {name: self._connection("archives", name) for name in self.model.archives}
        views = {view.name: view for view in self._views()}
        if self.problems:
            raise ConfigError(self.problems)
        model = self.model
        return Plant(
            site=model.site.name,
            root=self.root,
            state=self._state(),
            store_url=os.environ.get("PENSTOCK_HISTORIAN", model.historian.url),
            write_features=model.historian.write_features,
            store_token=os.environ.get("PENSTOCK_HISTORIAN_TOKEN", model.historian.token),
            online_url=model.online.url,
            online_password=os.environ.get("PENSTOCK_ONLINE_PASSWORD", model.online.password),
            served_for=model.online.log,
            spool=model.spool,
            classes=model.classes,
            assets=self.assets,
            sources={name: connection for name, connection in sources.items() if connection},
            archives={name: connection for name, connection in archives.items() if connection},
            tags=self.tags,
            views=views,
        )

    def without_tags(self, section: Section, name: str) -> ConnectionConfig:
        connections: Mapping[str, Connection] = getattr(self.model, section)
        if name not in connections:
            raise InvalidInput(f"the plant file has no [{section}.{name}]{near_misses(name, connections)}")
        driver = self._driver(section, name, connections[name].driver)
        unset = tuple(problem for keys, problem in self.unset if keys[:2] == (section, name))
        options = self._options(section, name, connections[name], driver) if driver and not unset else None
        if driver is None or self.problems:
            raise ConfigError(self.problems)
        return ConnectionConfig(name, driver, options, (), self.root, unset, self._state())

    def _state(self) -> Path:
        return self.root / self.model.site.state

    def _check_assets(self) -> None:
        for name, asset in self.assets.items():
            if asset.asset_class not in self.model.classes:
                hint = near_misses(asset.asset_class, self.model.classes)
                text = f"asset {name} has the unknown class {asset.asset_class!r}{hint}"
                self.problems.append(self.document.problem(text, "assets", name, "class"))
        statements = [*plant_statements(self.model.assets, self.document), *self._replacements()]
        self.problems += fact_problems(statements, self.model.classes, self.assets)

    def _replacements(self) -> list[Statement]:
        """Read the event table, and add its changes to those of the assets."""
        name = self.model.site.replacements
        if not name:
            return []
        try:
            found, problems = read_replacements(self.root / name, name, self.assets)
        except InvalidInput as error:
            self.problems.append(self.document.problem(str(error), "site", "replacements"))
            return []
        self.problems += problems
        for each in found:
            asset = self.assets[each.asset]
            self.assets[each.asset] = asset.model_copy(update={"changes": (*asset.changes, each.facts)})
        return found

    def _connection(self, section: Section, name: str) -> ConnectionConfig | None:
        written: Connection = getattr(self.model, section)[name]
        driver = self._driver(section, name, written.driver)
        if driver is None:
            return None
        unset = tuple(problem for keys, problem in self.unset if keys[:2] == (section, name))
        # With a reference instead of a value, the options cannot be checked.
        options = None if unset else self._options(section, name, written, driver)
        tags = tuple(self._tags(written, driver, (section, name)))
        if unset:
            return ConnectionConfig(name, driver, None, tags, self.root, unset, self._state())
        if options is None:
            return None
        connection = ConnectionConfig(name, driver, options, tags, self.root, state=self._state())
        self._check_connection(connection, section)
        return connection

    def _check_connection(self, connection: ConnectionConfig, section: Section) -> None:
        try:
            connection.driver.check(connection, section)
        except ConfigError as error:
            self.problems += error.problems

    def _driver(self, section: Section, name: str, driver_name: str) -> DriverSpec | None:
        try:
            driver = find_driver(driver_name)
        except ValueError as error:
            self.problems.append(self.document.problem(str(error), section, name, "driver"))
            return None
        if driver.offers(section):
            return driver
        other = "an archive" if section == "sources" else "a live source"
        text = f"driver {driver_name!r} is {other}; it cannot be used under [{section}.{name}]"
        self.problems.append(self.document.problem(text, section, name, "driver"))
        return None

    def _options(self, section: Section, name: str, written: Connection, driver: DriverSpec) -> BaseModel | None:
        try:
            return driver.options.model_validate(written.options)
        except ValidationError as error:
            for detail in error.errors():
                keys = (section, name, *map(str, detail["loc"]))
                given = "" if detail["type"] == "extra_forbidden" else detail["input"]
                text = f"{'.'.join(keys)}: {readable_message(detail['msg'], given)}"
                self.problems.append(self.document.problem(text, *keys))
        return None

    def _tags(self, connection: Connection, driver: DriverSpec, keys: tuple[str, str]) -> Iterator[Tag]:
        for place, cells in self._rows(connection, keys):
            try:
                row, options = parse_row(cells, driver)
            except InvalidInput as error:
                self.problems += [Problem(connection.tags, place, problem.text) for problem in error.problems]
                continue
            problem = self._row_problem(row, section=keys[0], place=f"{connection.tags} {place}")
            if problem:
                self.problems.append(Problem(connection.tags, place, problem))
                continue
            tag = self._tag(row, options, (connection.tags, place))
            self.tags.setdefault(tag.name, tag)
            yield tag

    def _rows(self, connection: Connection, keys: tuple[str, str]) -> list[PlacedRow]:
        try:
            return read_rows(self.root / connection.tags, connection.tags)
        except InvalidInput as error:
            self.problems.append(self.document.problem(str(error), *keys, "tags"))
            return []

    def _tag(self, row: TagRow, options: BaseModel, listed: tuple[str, str]) -> Tag:
        asset = eras_of(self.assets[row.asset])[-1].asset
        point = self.model.classes[asset.asset_class].points[row.point]
        return Tag(
            name=row.tag,
            asset=row.asset,
            point=row.point,
            kind=point.kind,
            unit=point.unit,
            sample_rate=point.sample_rate,
            max_staleness=point.max_staleness,
            address=row.address,
            scale=row.scale,
            offset=row.offset,
            options=options,
            listed=listed,
            ranges=ranges_of(point, row.point, self.assets[row.asset]),
            since=row.since,
            fixed_rpm=speeds_of(self.assets[row.asset]) if point.kind == "speed" else (),
            **facts_at(point, row.point, asset),
        )

    def _row_problem(self, row: TagRow, *, section: str, place: str) -> str | None:
        """Return the problem of a row, given the other rows and the plant file; None if it has none."""
        if unknown := self._unknown_name(row):
            return unknown
        name = f"{section} {row.tag}"  # an archive has the history of the same tags that a source streams
        if name in self.where:
            return f"tag {row.tag!r} is already in {self.where[name]}"
        filled_by = self.filled.setdefault((row.asset, row.point, row.since), row.tag)
        if filled_by != row.tag:
            at_that_time = f"since {row.since}" if row.since else "already; give the later one of them a since"
            return f"point {row.point} of {row.asset} is filled by tag {filled_by!r} {at_that_time}"
        known = self.tags.get(row.tag)
        if known and (known.asset, known.point) != (row.asset, row.point):
            return f"tag {row.tag!r} fills {known.point} of {known.asset} elsewhere; a tag fills one point"
        if known and known.since != row.since:
            return f"tag {row.tag!r} has the since {known.since} in {known.listed[0]}; write the same one here"
        self.where[name] = place
        return None

    def _unknown_name(self, row: TagRow) -> str | None:
        asset = self.assets.get(row.asset)
        if asset is None:
            return f"unknown asset {row.asset!r}{near_misses(row.asset, self.assets)}"
        points = self.model.classes[asset.asset_class].points if asset.asset_class in self.model.classes else {}
        if row.point not in points:
            return f"class {asset.asset_class} has no point {row.point!r}{near_misses(row.point, points)}"
        return None

    def _views(self) -> Iterator[View]:
        names: set[str] = set()
        for class_name, asset_class in self.model.classes.items():
            assets = {name: asset for name, asset in self.assets.items() if asset.asset_class == class_name}
            for alarm, text in unknown_sets(asset_class.alarms, asset_class.features):
                keys = ("classes", class_name, "alarms", alarm)
                self.problems.append(self.document.problem(f"{'.'.join(keys)}: {text}", *keys, "feature"))
            for set_name, features in asset_class.features.items():
                keys = ("classes", class_name, "features", set_name)
                name = f"{class_name}_{set_name}"
                found = complaints(asset_class, features, assets)
                if name in names:
                    found.append(f"makes a second feature view {name}; call one of them differently")
                self.problems += [self.document.problem(f"{'.'.join(keys)}: {text}", *keys) for text in found]
                if not found:
                    names.add(name)
                    yield view_of(name, class_name, asset_class.points, features)
