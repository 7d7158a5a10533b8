"""A simulator of Proficy Historian's REST interface, as strict as its published reference: no other parameter exists.

It is no Proficy Historian: what a real one does beside its reference is not shown by a test against it.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from tests.bridge.drivers.rest_server import Request, Response, RestServer

API: Final = "/historian-rest-api/v1"
PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    f"{API}/tags": frozenset({"nameMask", "maxNumber"}),
    f"{API}/datapoints/raw": frozenset({"tagNames", "start", "end", "direction", "count"}),
}


@dataclass
class Stored:
    """A tag and its samples, oldest first: (TimeStamp, Value, Quality)."""

    data_type: str = "DoubleFloat"
    samples: list[tuple[str, str, int]] = field(default_factory=list)
    error: int = 0


class Proficy:
    """Serves some tags."""

    def __init__(
        self,
        tags: Mapping[str, Stored],
        *,
        client: tuple[str, str] | None = None,
        limit_is_total: bool = False,
        secure: ssl.SSLContext | None = None,
    ) -> None:
        self.tags = dict(tags)
        self.busy: list[Response] = []
        """Answers that come first."""
        self.logins: list[dict[str, list[str]]] = []
        """Forms of the requests for tokens."""
        self.token = ""
        self._client = client
        self._limit_is_total = limit_is_total
        self.server = RestServer(self.answer, secure=secure)
        self.url = self.server.host

    def answer(self, request: Request) -> Response:
        """Answers one request."""
        if request.path == "/uaa/oauth/token":
            return self._login(request)
        if request.method != "GET":
            return Response({"message": "Request method not supported"}, 405)
        if self._client is not None and (not self.token or request.authorization != f"Bearer {self.token}"):
            return Response({"error": "invalid_token"}, 401)
        if self.busy:
            return self.busy.pop(0)
        known = PARAMETERS.get(request.path)
        if known is None:
            return Response({"message": "No message available"}, 404)
        if unknown := {name for name, _ in request.parameters} - known:
            return _error(-4, f"unknown parameters {sorted(unknown)}")
        if request.path.endswith("/tags"):
            return Response({"ErrorCode": 0, "ErrorMessage": "", "Tags": [{"TagName": name} for name in self.tags]})
        return self._raw(dict(request.parameters))

    def _login(self, request: Request) -> Response:
        if request.method != "POST" or self._client is None:
            return Response({"error": "unsupported"}, 405)
        self.logins.append(parse_qs(request.body))
        expected = "Basic " + base64.b64encode(":".join(self._client).encode()).decode()
        if request.authorization != expected:
            return Response({"error": "unauthorized"}, 401)
        self.token = f"token{len(self.logins)}"
        return Response({"access_token": self.token, "token_type": "bearer", "expires_in": 43199})

    def _raw(self, given: Mapping[str, str]) -> Response:
        assert given.keys() == PARAMETERS[f"{API}/datapoints/raw"]
        if given["start"] > given["end"]:
            return _error(-7, "start is after end")
        most = int(given["count"]) or 1_000_000
        data: list[dict[str, Any]] = []
        left = most
        for name in given["tagNames"].split(";"):
            stored = self.tags.get(name)
            if stored is None or stored.error:
                code = stored.error if stored else -6
                data.append({"TagName": name, "DataType": "", "ErrorCode": code, "ErrorMessage": "unknown tag"})
                continue
            found = [each for each in stored.samples if given["start"] <= each[0] <= given["end"]]
            found = (found[::-1] if given["direction"] == "1" else found)[:left]
            left = left - len(found) if self._limit_is_total else most
            samples = [{"TimeStamp": at, "Value": value, "Quality": quality} for at, value, quality in found]
            data.append({"TagName": name, "DataType": stored.data_type, "ErrorCode": 0, "Samples": samples})
        return Response({"ErrorCode": 0, "ErrorMessage": "", "Data": data})


def _error(code: int, message: str) -> Response:
    return Response({"ErrorCode": code, "ErrorMessage": message, "Data": []})
