"""A simulator of PI Web API, as strict as its published reference: what that does not have is refused.

It is no PI System: what a real one does beside its reference is not shown by a test against it.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.bridge.drivers.rest_server import Request, Response, RestServer

_RANGE: Final = frozenset({"startTime", "endTime", "boundaryType", "maxCount", "timeZone"})
RECORDED: Final = _RANGE | {
    "includeFilteredValues",
    "desiredUnits",
    "filterExpression",
    "selectedFields",
    "associations",
}
PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    "/piwebapi/dataservers": frozenset({"selectedFields", "webIdType"}),
    "/piwebapi/points": frozenset({"path", "selectedFields", "webIdType"}),
    "/piwebapi/streamsets/recorded": RECORDED | {"webId", "sortField", "sortOrder"},
}
MOST: Final = 150_000
"""MaxReturnedItemsPerCall by default."""


@dataclass
class Point:
    """A point and its recorded values, in the order in which PI returns them."""

    kind: str = "Float64"
    items: list[dict[str, Any]] = field(default_factory=list)
    forbidden: bool = False


def event(stamp: str, value: Any, **flags: Any) -> dict[str, Any]:
    """A recorded value as the reference shows it."""
    usual = {"UnitsAbbreviation": "", "Good": True, "Questionable": False, "Substituted": False, "Annotated": False}
    return {"Timestamp": stamp, "Value": value, **usual, **flags}


class PiWebApi:
    """Serves points of the data server PISRV1."""

    def __init__(
        self,
        points: Mapping[str, Point],
        *,
        login: tuple[str, str] | str | None = None,
        limit_is_total: bool = False,
        secure: ssl.SSLContext | None = None,
    ) -> None:
        self.points = dict(points)
        self.most = MOST
        self.busy: list[Response] = []
        """Answers that come first."""
        self._login = login
        self._limit_is_total = limit_is_total
        self.server = RestServer(self.answer, secure=secure)
        self.url = f"{self.server.host}/piwebapi"

    def answer(self, request: Request) -> Response:
        """Answers one request."""
        if request.method != "GET":
            return _error(405, f"the requested resource does not support http method '{request.method}'")
        if self._login is not None and request.authorization != _authorization(self._login):
            return _error(401, "Authorization has been denied for this request.")
        if self.busy:
            return self.busy.pop(0)
        routes: dict[str, Callable[[Request], Response]] = {
            "/piwebapi/dataservers": lambda _: Response({"Items": [{"Name": "PISRV1"}]}),
            "/piwebapi/points": self._point,
            "/piwebapi/streamsets/recorded": self._set,
        }
        stream = request.path.removeprefix("/piwebapi/streams/").removesuffix("/recorded")
        is_stream = request.path == f"/piwebapi/streams/{stream}/recorded"
        if unknown := {name for name, _ in request.parameters} - PARAMETERS.get(request.path, RECORDED):
            return _error(400, f"The following query parameters are invalid: {sorted(unknown)}")
        if is_stream:
            return self._recorded([stream], request)
        return routes[request.path](request) if request.path in routes else _error(404, "The resource is not found.")

    def _point(self, request: Request) -> Response:
        [path] = [value for name, value in request.parameters if name == "path"]
        name = path.removeprefix("\\\\PISRV1\\")
        if name not in self.points:
            return _error(404, f"Failed to retrieve the point '{path}'; it was not found.")
        if self.points[name].forbidden:
            return _error(403, "Access to the point is denied.")
        return Response(_selected({"WebId": _web_id(name), "Name": name, "PointType": self.points[name].kind}, request))

    def _set(self, request: Request) -> Response:
        return self._recorded([value for name, value in request.parameters if name == "webId"], request)

    def _recorded(self, ids: Sequence[str], request: Request) -> Response:
        names = {_web_id(name): name for name in self.points}
        given = dict(request.parameters)
        most = int(given.get("maxCount", 1000))
        if unknown := [each for each in ids if each not in names]:
            return _error(404, f"unknown WebId {unknown}")
        if most > self.most or most < 1:
            return _error(400, f"Parameter 'maxCount' is greater than the maximum allowed ({self.most}).")
        assert given.get("boundaryType", "Inside") == "Inside"
        start, end = ticks(given["startTime"]), ticks(given["endTime"])
        streams, left = [], most
        for each in ids:
            items = _between(self.points[names[each]].items, start, end)[:left]
            left = left - len(items) if self._limit_is_total else most
            streams.append({"WebId": each, "Name": names[each], "Items": items, "UnitsAbbreviation": ""})
        if request.path.endswith("streamsets/recorded"):
            return Response(_selected({"Links": {}, "Items": streams}, request))
        return Response(_selected({"Links": {}, **streams[0]}, request))


def ticks(stamp: str) -> int:
    """A time in units of 100 ns; only ISO 8601 in UTC is understood here."""
    whole, _, decimals = stamp.removesuffix("Z").partition(".")
    assert stamp.endswith("Z")
    assert len(decimals) <= 7
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10_000_000 + int(decimals.ljust(7, "0"))


def _between(items: Sequence[dict[str, Any]], start: int, end: int) -> list[dict[str, Any]]:
    """Both ends are included; the newest come first if the end is before the start."""
    low, high = min(start, end), max(start, end)
    found = [item for item in items if low <= ticks(item["Timestamp"]) <= high]
    return found if start <= end else found[::-1]


def _selected(content: Any, request: Request) -> Any:
    """Only the fields of `selectedFields`, which are written `Items.Value`."""
    fields = dict(request.parameters).get("selectedFields")
    return content if fields is None else _picked(content, [field.split(".") for field in fields.split(";")])


def _picked(content: Any, paths: Sequence[Sequence[str]]) -> Any:
    if isinstance(content, list):
        return [_picked(each, paths) for each in content]
    heads = {path[0] for path in paths}
    inner = {head: [path[1:] for path in paths if path[0] == head and len(path) > 1] for head in heads}
    return {
        name: _picked(value, inner[name]) if inner[name] else value for name, value in content.items() if name in heads
    }


def _web_id(name: str) -> str:
    return "P0" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _authorization(login: tuple[str, str] | str) -> str:
    """Of a user and password, or of a token."""
    if isinstance(login, str):
        return f"Bearer {login}"
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _error(status: int, message: str) -> Response:
    return Response({"Errors": [message]}, status)
