"""The archives that the contract suite holds to the promises of `bridge.drivers.protocols`: a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.contracts.archive_opcua import OpcuaHarness
from tests.contracts.archive_rest import PiHarness, ProficyHarness
from tests.contracts.archives import ArchiveHarness, FilesHarness, ServerHarness

Create = Callable[[pytest.FixtureRequest, Path], ArchiveHarness]
"""Creates a harness with an empty directory of its own; the request gives fixtures such as servers."""
SERVERS: Final[Mapping[str, Callable[[pytest.FixtureRequest, Path], ServerHarness]]] = {
    "opcua-history": OpcuaHarness,
    "pi-web-api": PiHarness,
    "proficy": ProficyHarness,
}
"""Name -> harness of a historian behind a server."""
HARNESSES: Final[Mapping[str, Create]] = {
    "files": FilesHarness,
    **SERVERS,
}
"""Name -> harness of every archive."""
