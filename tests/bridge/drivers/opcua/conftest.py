"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bridge.drivers.opcua.plc import (
    NODES,
    Plc,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Plc]:
    """One server for all tests: its address space takes seconds to make."""
    one = Plc()
    one.start()
    yield one
    one.stop()
    one.end()


@pytest.fixture
def device(server: Plc) -> Plc:
    """The server, with every node reset to its initial value."""
    for point, (content, _) in NODES.items():
        server.say(point, content, second=0)
    return server
