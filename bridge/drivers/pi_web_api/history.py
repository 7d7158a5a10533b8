"""The history of a PI System through PI Web API's streams; `bridge.drivers.pi_web_api.driver` is the manual."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

import polars as pl

from bridge.drivers.pi_web_api.driver import Options, check_tags, path_of
from bridge.drivers.pi_web_api.values import rows_of
from bridge.drivers.rest.archive import RestArchive, Sizes
from bridge.drivers.rest.client import Auth, Refused, RestClient, bearer, secret_of
from historian.errors import SourceError
from historian.plant.connections import ConnectionConfig, Tag

_FIELDS: Final = tuple(f"Items.{name}" for name in ("Timestamp", "Value", "Good", "Questionable", "Errors"))
_POINT: Final = "WebId;PointType"
_NUMBERS: Final = frozenset({"Int16", "Int32", "Float16", "Float32", "Float64", "Digital"})


class _Point(NamedTuple):
    web_id: str
    is_number: bool


class PiHistory:
    """The `History` of a PI System."""

    earliest = "1970-01-01T00:00:00Z"
    latest = "2100-01-01T00:00:00Z"
    finest = timedelta(microseconds=1)

    def __init__(self, connection: ConnectionConfig) -> None:
        """Check the addresses, without connecting. Raises `ConfigError`."""
        check_tags(connection)
        self._options = cast(Options, connection.options)
        table = f"archives.{connection.name}"
        auth = _auth(self._options, connection)
        self._client = RestClient(
            self._options.url, tls=self._options.tls, root=connection.root, table=f"{table}.tls", auth=auth
        )
        self._points: dict[str, _Point] = {}

    async def open(self) -> None:
        """See `History.open`."""
        self._client.open()
        await self._client.get("/dataservers", [("selectedFields", "Items.Name")])

    async def close(self) -> None:
        """See `History.close`."""
        await self._client.close()

    async def missing(self, tags: Sequence[Tag]) -> Mapping[str, str]:
        """See `History.missing`: looks up the points that are not known yet."""
        missing: dict[str, str] = {}
        for tag in tags:
            try:
                await self._point(tag)
            except Refused as error:
                missing[tag.name] = str(error)
        return missing

    async def page(self, tags: Sequence[Tag], start: str, end: str, most: int) -> Sequence[pl.DataFrame | str]:
        """See `History.page`: one stream, or a set of them."""
        try:
            points = [await self._point(tag) for tag in tags]
            streams = await self._recorded([point.web_id for point in points], start, end, most)
        except Refused as error:
            if len(tags) == 1:
                return [str(error)]
            # One of them is at fault: the others must not suffer.
            return [answer for tag in tags for answer in await self.page([tag], start, end, most)]
        return await asyncio.to_thread(_answers, tags, points, streams)

    async def _point(self, tag: Tag) -> _Point:
        if tag.address not in self._points:
            path = path_of(tag, self._options.server)
            found = await self._client.get("/points", [("path", path), ("selectedFields", _POINT)])
            self._points[tag.address] = _Point(str(found["WebId"]), found.get("PointType") in _NUMBERS)
        return self._points[tag.address]

    async def _recorded(self, ids: Sequence[str], start: str, end: str, most: int) -> list[Mapping[str, Any]]:
        """Return the recorded values of streams, in the order of their ids."""
        wanted = [("startTime", start), ("endTime", end), ("boundaryType", "Inside"), ("maxCount", str(most))]
        if len(ids) == 1:
            fields = ("selectedFields", ";".join(_FIELDS))
            return [await self._client.get(f"/streams/{ids[0]}/recorded", [*wanted, fields])]
        fields = ("selectedFields", ";".join(["Items.WebId", *(f"Items.{field}" for field in _FIELDS)]))
        ours = [("webId", each) for each in ids]
        found = await self._client.get("/streamsets/recorded", [*ours, *wanted, fields])
        by_id = {stream.get("WebId"): stream for stream in found["Items"]}
        if missing := [each for each in ids if each not in by_id]:
            raise SourceError(f"{self._options.url} leaves {len(missing)} of {len(ids)} streams out of its answer")
        return [by_id[each] for each in ids]


def _answers(
    tags: Sequence[Tag], points: Sequence[_Point], streams: Sequence[Mapping[str, Any]]
) -> list[pl.DataFrame | str]:
    """Return the rows of each stream, or its error."""
    answers: list[pl.DataFrame | str] = []
    for tag, point, stream in zip(tags, points, streams, strict=True):
        if errors := stream.get("Errors"):
            answers.append("; ".join(map(str, errors)))
        else:
            items = stream.get("Items") or ()
            answers.append(rows_of(items, tag.name, is_number=point.is_number, is_state=tag.kind == "state"))
    return answers


def _auth(options: Options, connection: ConnectionConfig) -> Auth | None:
    token = secret_of(options.token, options.token_file, root=connection.root, key="token")
    if token:
        return bearer(token)
    password = secret_of(options.password, options.password_file, root=connection.root, key="password")
    return (options.username, password) if options.username is not None else None


def archive_of(connection: ConnectionConfig) -> RestArchive:
    """Create the archive of a connection, not opened yet. Raises `ConfigError` for tags or files that cannot work."""
    options = cast(Options, connection.options)
    sizes = Sizes(options.page, options.points_per_request, options.slice)
    return RestArchive(connection, PiHistory(connection), sizes)
