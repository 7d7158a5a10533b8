"""The archives that the contract suite holds to the promises of `bridge.drivers.protocols`: a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.contracts.archive_influx import ExportHarness, InfluxHarness
from tests.contracts.archive_opcua import OpcuaHarness
from tests.contracts.archive_rest import PiHarness, ProficyHarness
from tests.contracts.archive_sql import AvevaHarness, IgnitionHarness, TableHarness
from tests.contracts.archives import ArchiveHarness, FilesHarness, ServerHarness

Create = Callable[[pytest.FixtureRequest, Path], ArchiveHarness]
"""Creates a harness with an empty directory of its own; the request gives fixtures such as servers."""
SERVERS: Final[Mapping[str, Callable[[pytest.FixtureRequest, Path], ServerHarness]]] = {
    "ignition-mariadb": partial(IgnitionHarness, engine="mariadb"),
    "ignition-postgresql": partial(IgnitionHarness, engine="postgresql"),
    "influx1": partial(InfluxHarness, kind="influx1"),
    "influx2": partial(InfluxHarness, kind="influx2"),
    "opcua-history": OpcuaHarness,
    "pi-web-api": PiHarness,
    "proficy": ProficyHarness,
    "table-mariadb": partial(TableHarness, engine="mariadb"),
    "table-postgresql": partial(TableHarness, engine="postgresql"),
}
"""Name -> harness of a historian behind a server."""
HARNESSES: Final[Mapping[str, Create]] = {
    "aveva-sqlite": partial(AvevaHarness, engine="sqlite"),
    "files": FilesHarness,
    "influx-export": ExportHarness,
    "ignition-sqlite": partial(IgnitionHarness, engine="sqlite"),
    "table-sqlite": partial(TableHarness, engine="sqlite"),
    **SERVERS,
}
"""Name -> harness of every archive."""


def kinds(harnesses: Mapping[str, object]) -> list[object]:
    """The names as pytest's parameters; a server that no package registry has is one to be named."""
    marks = {"influx2": pytest.mark.influxdb2}
    return [pytest.param(name, marks=marks[name]) if name in marks else name for name in sorted(harnesses)]
