"""HTTP to InfluxDB for reading: GET /query and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx

from bridge.drivers.influxdb.chunks import Answer, Block
from bridge.drivers.influxdb.driver import Options
from bridge.drivers.tls import client_context
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.stores.influx.address import clean_secret
from historian.stores.influx.wire import answer_reason


class ReadingWire:
    """A connection to one database; the same client serves several reads at a time."""

    def __init__(self, connection: ConnectionConfig, options: Options) -> None:
        """Create it; it connects when first used. Raises `ConfigError` for a token or TLS file that cannot be used."""
        address = options.address
        secret = clean_secret(options.token.get_secret_value(), address)
        database, _, policy = address.bucket.partition("/") if not address.org else (address.bucket, "", "")
        self.policy = policy
        self.peer = f"InfluxDB at {address.base}"
        self._params = {"db": database, "epoch": "u", "chunked": "true"}
        headers = {"Authorization": f"Token {secret}"} if address.org and secret else {}
        table = f"archives.{connection.name}.tls"
        verify = client_context(options.tls, root=connection.root, table=table) if options.tls else True
        self._client = httpx.Client(
            base_url=address.base,
            auth=httpx.BasicAuth(address.user, secret) if address.user and not address.org else None,
            headers={**headers, "Accept-Encoding": "identity" if address.is_local else "gzip"},
            timeout=options.timeout.total_seconds(),
            verify=verify,
        )
        self.close = self._client.close

    def blocks(self, query: str, *, rows: int, numeric: bool) -> Iterator[Block]:
        """Yield the rows of an answer as they arrive, in blocks of at most `rows` rows of one series.

        Raises:
            NotConnected: InfluxDB does not respond, or the connection broke.
            SourceError: it refuses, or its answer has an error or is not complete.
        """
        answer = Answer(numeric=numeric)
        for line in self._lines(query, rows):
            yield from answer.blocks(line)
        answer.check_complete()

    def rows(self, query: str) -> list[tuple[Block, list[Any]]]:
        """Return the few rows of an answer such as that of SHOW, each with its block."""
        blocks = self.blocks(query, rows=10_000, numeric=False)
        return [(block, row) for block in blocks if isinstance(block.values, list) for row in block.values]

    def _lines(self, query: str, rows: int) -> Iterator[bytes]:
        request = self._client.build_request("GET", "/query", params={**self._params, "q": query, "chunk_size": rows})
        with self._connecting(), closing(self._client.send(request, stream=True)) as response:
            if response.is_error:
                response.read()
                raise self._refusal(response)
            rest = b""
            for block in response.iter_bytes(1 << 20):
                *lines, rest = (rest + block).split(b"\n")
                yield from filter(None, lines)
            if rest.strip():
                yield rest

    def _refusal(self, response: httpx.Response) -> SourceError:
        text = f"{self.peer} answers {response.status_code}: {answer_reason(response)}"
        if response.status_code in (401, 403):
            return SourceError(f"{text}; check token, the user in url, and that it may read the database")
        return NotConnected(text) if response.status_code >= 429 else SourceError(text)

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise NotConnected(f"{self.peer} cannot be reached: {error or type(error).__name__}") from None
        except json.JSONDecodeError as error:
            raise SourceError(f"{self.peer} sent what is no JSON: {error}") from None
