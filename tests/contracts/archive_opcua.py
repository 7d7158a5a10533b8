"""OPC UA history for the contract suite: a real server of asyncua with a history as awkward as it may be."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from historian.plant.connections import ConnectionConfig
from historian.quality import BAD
from tests.bridge.drivers.opcua.awkward_history import AwkwardHistory
from tests.bridge.drivers.opcua.historian import AwkwardPlc
from tests.contracts.archives import connection_of

_NODE: Final = "ns=2;s="


class OpcuaHarness:
    """A server that returns what is requested without a continuation point, and empty pages in between."""

    resolution = timedelta(microseconds=1)
    qualities: Collection[int] = (0x40000000, 0x40940000, BAD, 0x808C0000)
    has_texts, has_repeats = True, True

    def __init__(self, request: pytest.FixtureRequest, directory: Path) -> None:
        self._directory = directory
        self._history = AwkwardHistory({}, empty_every=3, loses_every=5, nodes=3)
        self._plc = AwkwardPlc(self._history)
        self._plc.start()
        request.addfinalizer(self._end)

    def fill(self, history: pl.DataFrame) -> None:
        """A node a tag; the one that is nowhere has no history."""
        ordered = history.sort("timestamp", maintain_order=True)
        self._history.values = {
            f"{_NODE}{tag}": [
                (at, None if quality >= BAD else text if text is not None else value, quality)
                for _, at, value, text, quality in rows.iter_rows()
            ]
            for (tag,), rows in ordered.partition_by("tag", as_dict=True).items()
        }

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """The port stays the same."""
        table = f'driver = "opcua"\nendpoint = "opc.tcp://127.0.0.1:{self._plc.port}"\nhistory_page = {page_rows}'
        return connection_of(self._directory, table, {tag: {"address": f"{_NODE}{tag}"} for tag in tags})

    def most_rows(self, page_rows: int) -> int:
        """A page of each of three nodes, and what it takes to get past nine values of one time."""
        return 3 * max(page_rows, 16)

    def stop(self) -> None:
        """Makes the server unreachable."""
        self._plc.stop()

    def start(self) -> None:
        """Makes it reachable again."""
        self._plc.start()

    def _end(self) -> None:
        self._plc.stop()
        self._plc.end()
