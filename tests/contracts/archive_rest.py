"""Archives behind REST for the contract suite: simulators of PI Web API and of Proficy Historian."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from historian.plant.connections import ConnectionConfig
from tests.bridge.drivers.pi_web_api.simulator import PiWebApi, Point, event
from tests.bridge.drivers.proficy.simulator import Proficy, Stored
from tests.contracts.archives import connection_of

_SYSTEM: Final = {0x80000000: "Calc Failed", 0x800A0000: "I/O Timeout", 0x809B0000: "No Data"}
_QUALITIES: Final = {0: 3, 0x40000000: 1, 0x80000000: 0, 0x809B0000: 2}


class PiHarness:
    """A simulator of PI Web API."""

    resolution = timedelta(microseconds=1)
    qualities: Collection[int] = (0x40000000, *_SYSTEM)
    has_texts, has_repeats = True, True

    def __init__(self, request: pytest.FixtureRequest, directory: Path) -> None:
        self._directory = directory
        self._pi = PiWebApi({})
        request.addfinalizer(self._pi.server.stop)

    def fill(self, history: pl.DataFrame) -> None:
        """Values with the seven decimals of PI's clock."""
        for (tag,), rows in history.sort("timestamp", maintain_order=True).partition_by("tag", as_dict=True).items():
            is_text = rows["text"].null_count() < rows.height
            items = [_item(*row) for row in rows.select("timestamp", "value", "text", "quality").iter_rows()]
            self._pi.points[str(tag)] = Point("String" if is_text else "Float64", items)

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """Three points a request."""
        table = f'driver = "pi-web-api"\nurl = "{self._pi.url}"\nserver = "PISRV1"\npage = {page_rows}'
        return _connection(self._directory, f"{table}\npoints_per_request = 3", tags)

    def most_rows(self, page_rows: int) -> int:
        """A page of each of three points, and what it takes to get past nine samples of one time."""
        return 3 * max(page_rows, 16)

    def stop(self) -> None:
        """Makes the server unreachable."""
        self._pi.server.stop()

    def start(self) -> None:
        """Makes it reachable again."""
        self._pi.server.start()


class ProficyHarness:
    """A simulator of Proficy's REST interface."""

    resolution = timedelta(milliseconds=1)
    qualities: Collection[int] = (0x40000000, 0x80000000, 0x809B0000)
    has_texts, has_repeats = True, True

    def __init__(self, request: pytest.FixtureRequest, directory: Path) -> None:
        self._directory = directory
        self._proficy = Proficy({})
        request.addfinalizer(self._proficy.server.stop)

    def fill(self, history: pl.DataFrame) -> None:
        """Values as texts, times in milliseconds."""
        for (tag,), rows in history.sort("timestamp", maintain_order=True).partition_by("tag", as_dict=True).items():
            is_text = rows["text"].null_count() < rows.height
            cells = rows.select("timestamp", pl.coalesce("text", pl.col("value").cast(pl.String)), "quality")
            samples = [
                (_stamp(at, "milliseconds"), text or "", _QUALITIES[quality]) for at, text, quality in cells.iter_rows()
            ]
            self._proficy.tags[str(tag)] = Stored("VariableString" if is_text else "DoubleFloat", samples)

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """Three tags a request."""
        table = f'driver = "proficy"\nurl = "{self._proficy.url}"\npage = {page_rows}\ntags_per_request = 3'
        return _connection(self._directory, table, tags)

    def most_rows(self, page_rows: int) -> int:
        """A page of each of three tags, and what it takes to get past nine samples of one time."""
        return 3 * max(page_rows, 16)

    def stop(self) -> None:
        """Makes the server unreachable."""
        self._proficy.server.stop()

    def start(self) -> None:
        """Makes it reachable again."""
        self._proficy.server.start()


def _connection(directory: Path, table: str, tags: Collection[str]) -> ConnectionConfig:
    return connection_of(directory, table, {tag: {"address": tag} for tag in tags})


def _item(at: datetime, value: float | None, text: str | None, quality: int) -> dict[str, Any]:
    content: Any = text if text is not None else value
    if quality in _SYSTEM:
        content = {"Name": _SYSTEM[quality], "Value": 246, "IsSystem": True}
    stamp = _stamp(at, "microseconds").replace("Z", "0Z")
    return event(stamp, content, Good=quality < 0x80000000, Questionable=quality == 0x40000000)


def _stamp(at: datetime, timespec: str) -> str:
    return at.isoformat(timespec=timespec).replace("+00:00", "Z")
