"""A web server on loopback that answers as a function says; what simulators of historians stand on."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Request(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    parameters: list[tuple[str, str]]
    authorization: str
    body: str = ""


@dataclass
class Response:
    """What is answered."""

    content: Any
    """Text, or what becomes JSON."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class RestServer:
    """Runs in a thread; it can be stopped, and started again on the same port."""

    def __init__(self, answer: Callable[[Request], Response], *, secure: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.answer = answer
        self._secure = secure
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def host(self) -> str:
        """Scheme, host and port."""
        return f"http{'s' if self._secure else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, the second time on the same port."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        if self._secure is not None:
            server.socket = self._secure.wrap_socket(server.socket, server_side=True)
        self.port, self._server = server.server_address[1], server
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuses connections from now on."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


def _handler(owner: RestServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answers a request of any method."""
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            given = parse_qsl(split.query, keep_blank_values=True)
            request = Request(self.command, split.path, given, self.headers.get("Authorization", ""), body)
            owner.requests.append(request)
            response = owner.answer(request)
            content = response.content if isinstance(response.content, str) else json.dumps(response.content)
            self.send_response(response.status)
            for name, value in {"Content-Length": str(len(content.encode())), **response.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content.encode())

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (http.server looks for these names)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
