"""Probing and browsing an OPC UA server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from asyncua import ua
from polars.testing import assert_frame_equal

from bridge.drivers.discovery import VARIABLES, BrowseLimits
from bridge.drivers.opcua.browse import walk
from bridge.run.discover import browse_source, probe_source
from historian.errors import NotConnected
from historian.plant.load import load_connection
from tests.bridge.drivers.opcua.plc import Plc, connection_of, free_port
from tests.bridge.drivers.opcua.relay import READING, Relay

ROOT = ua.NodeId("root", 2)


def test_a_server_says_what_it_is(tmp_path: Path, server: Plc) -> None:
    """Its endpoints and namespaces, its product, its clock against ours, and its limits."""
    report = asyncio.run(probe_source(connection_of(tmp_path, server.port)))
    assert report.ok
    assert report.tables["endpoints"] == [
        {"url": f"opc.tcp://127.0.0.1:{server.port}", "mode": "None", "policy": "None", "users": "Anonymous, UserName"}
    ]
    assert report.tables["namespaces"][2] == {"index": 2, "uri": "urn:plant"}
    assert report.facts["product"] == "FreeOpcUa Python Server"
    assert report.facts["max_nodes_per_read"] == 10_000
    ahead = report.facts["clock_ahead_s"]
    assert isinstance(ahead, float)
    assert abs(ahead) < 30  # one machine has one clock, but a busy server sets it late


def test_endpoints_are_reported_even_if_the_server_refuses_a_session(tmp_path: Path, server: Plc) -> None:
    """That is when they are needed."""
    wrong = connection_of(tmp_path, server.port, username="bridge", password="guess")  # noqa: S106 (wrong on purpose)
    report = asyncio.run(probe_source(wrong))
    assert not report.ok
    assert "User" in str(report.facts["session"])
    assert (len(report.tables["endpoints"]), report.tables["namespaces"]) == (1, [])


def test_a_server_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """By both."""
    connection = connection_of(tmp_path, free_port())
    with pytest.raises(NotConnected, match=r"cannot connect to opc\.tcp://127"):
        asyncio.run(probe_source(connection))
    with pytest.raises(NotConnected, match=r"cannot connect to opc\.tcp://127"):
        asyncio.run(browse_source(connection, BrowseLimits()))


def test_variables_are_listed_with_path_type_unit_and_range(tmp_path: Path, server: Plc) -> None:
    """Without a tag list, and by nothing but reading."""
    port, wire = free_port(), Relay()
    connection_of(tmp_path, port)
    (tmp_path / "line1.csv").unlink()

    async def browse() -> pl.DataFrame:
        async with wire.between(port, server.port):
            report = await browse_source(load_connection(tmp_path, "sources", "line1"), BrowseLimits())
        assert report.missing == ()
        return report.variables

    expected = [
        ("ns=2;s=c101.de_h", "de_h", "Float[]", None, None, None),
        ("ns=2;s=c101.running", "running", "Boolean", None, None, None),
        ("ns=2;s=c101.speed", "speed", "Double", None, None, None),
        ("ns=2;s=c101.state", "state", "String", None, None, None),
        ("ns=2;s=line.m1.t", "Line 1/M1/Temperature", "Double", "°C", -10.0, 120.0),
    ]
    found = asyncio.run(browse())
    assert_frame_equal(found.sort("address"), pl.DataFrame(expected, schema=VARIABLES, orient="row"))
    assert set(wire.services) <= READING


@pytest.mark.parametrize(
    ("limits", "count", "missing"),
    [
        (BrowseLimits(depth=1), 4, "nodes are more than 1 levels deep; what is below was left out"),
        (BrowseLimits(variables=2), 2, "stopped after 2 variables; there are more"),
    ],
)
def test_what_the_limits_leave_out_is_reported(
    tmp_path: Path, server: Plc, limits: BrowseLimits, count: int, missing: str
) -> None:
    """A browse never returns less without a word."""
    report = asyncio.run(browse_source(connection_of(tmp_path, server.port), limits))
    assert report.variables.height == count
    [why] = report.missing
    assert missing in why


def variable(number: int, kind: ua.NodeClass = ua.NodeClass.Variable) -> ua.ReferenceDescription:
    """A reference to a node of this number."""
    return ua.ReferenceDescription(
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.Organizes),
        NodeId=ua.ExpandedNodeId(number, 2),
        BrowseName=ua.QualifiedName(f"v{number}", 2),
        NodeClass=kind,
    )


@dataclass
class Stingy:
    """A server that returns a few references at a time and keeps one continuation point; nodes may be forbidden."""

    tree: Mapping[ua.NodeId, Sequence[ua.ReferenceDescription]]
    page: int = 3
    forbidden: frozenset[ua.NodeId] = frozenset()
    kept: dict[bytes, list[ua.ReferenceDescription]] = field(default_factory=dict)

    async def browse(self, parameters: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """See `Views.browse`."""
        self.kept.clear()
        return [self._first(each.NodeId) for each in parameters.NodesToBrowse]

    async def browse_next(self, parameters: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        """See `Views.browse_next`."""
        assert not parameters.ReleaseContinuationPoints
        return [self._part(self.kept.pop(point)) for point in parameters.ContinuationPoints]

    def _first(self, node: ua.NodeId) -> ua.BrowseResult:
        if node in self.forbidden:
            return ua.BrowseResult(ua.StatusCode(ua.StatusCodes.BadUserAccessDenied))
        references = list(self.tree.get(node, ()))
        if self.kept and len(references) > self.page:
            return ua.BrowseResult(ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints))
        return self._part(references)

    def _part(self, references: list[ua.ReferenceDescription]) -> ua.BrowseResult:
        point = b""
        if len(references) > self.page:
            point = b"point"
            self.kept[point] = references[self.page :]
        return ua.BrowseResult(ua.StatusCode(0), point, references[: self.page])


def paths_in(views: Stingy, limits: BrowseLimits | None = None) -> tuple[list[str], list[str]]:
    """The paths that a walk finds, and what it left out."""
    found = asyncio.run(walk(views, ROOT, limits or BrowseLimits(), size=100))
    return list(found.paths.values()), found.missing


def test_every_reference_is_read_however_few_a_server_returns_at_a_time() -> None:
    """Two long folders in one request need more continuation points than the server keeps."""
    folders = [variable(number, ua.NodeClass.Object) for number in (1, 2)]
    children = {ua.NodeId(n, 2): [variable(10 * n + k) for k in range(8)] for n in (1, 2)}
    found, missing = paths_in(Stingy({ROOT: folders, **children}))
    assert (found, missing) == ([f"v{n}/v{10 * n + k}" for n in (1, 2) for k in range(8)], [])


def test_cycles_end_and_a_variable_in_two_folders_is_listed_once() -> None:
    """A folder refers to itself and to its parent, and both folders to one variable."""
    folders = [variable(number, ua.NodeClass.Object) for number in (1, 2)]
    up = ua.ReferenceDescription(NodeId=ua.ExpandedNodeId("root", 2), NodeClass=ua.NodeClass.Object)
    tree = {ROOT: folders, ua.NodeId(1, 2): [folders[0], up, variable(9)], ua.NodeId(2, 2): [folders[0], variable(9)]}
    assert paths_in(Stingy(tree)) == (["v1/v9"], [])


def test_a_node_that_may_not_be_browsed_is_counted() -> None:
    """The others are listed."""
    tree = {ROOT: [variable(1), variable(2)]}
    found, missing = paths_in(Stingy(tree, forbidden=frozenset({ua.NodeId(2, 2)})))
    assert (found, missing) == (["v1", "v2"], ["1 nodes could not be browsed (BadUserAccessDenied)"])


def test_a_space_without_end_is_left_after_the_limit_of_nodes() -> None:
    """Even if it holds no variable."""
    tree = {ROOT: [variable(0, ua.NodeClass.Object)]}
    tree |= {ua.NodeId(n, 2): [variable(n + 1, ua.NodeClass.Object)] for n in range(1000)}
    found, [missing] = paths_in(Stingy(tree), BrowseLimits(depth=10_000, variables=5))
    assert (found, missing) == ([], "stopped after 50 nodes; there may be more")
