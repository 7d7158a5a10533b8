"""Addresses: node ids and paths by index or URI, and the parts of arrays and structures that tags name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asyncua import ua

from bridge.drivers.opcua.addresses import NodeAddress, parse
from bridge.drivers.opcua.nodes import NO_PATH, SEVERAL, node_of, resolved
from historian.errors import ConfigError
from historian.quality import BAD_DECODING_ERROR
from tests.bridge.drivers.opcua.plc import Plc, connected, connection_of, heard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ns=2;s=c101.de_h", NodeAddress(2, identifier="s=c101.de_h")),
        ("i=2258", NodeAddress(identifier="i=2258")),
        ("nsu=urn:plant;i=7", NodeAddress(uri="urn:plant", identifier="i=7")),
        ("nsu=http://a.b/c;s=x;y=z", NodeAddress(uri="http://a.b/c", identifier="s=x;y=z")),
        ('ns=3;s="DB_1"."Temp"[2]', NodeAddress(3, identifier='s="DB_1"."Temp"[2]')),
        ("ns=2;s=Line1.nsuri=M.NS;s=M.State", NodeAddress(2, identifier="s=Line1.nsuri=M.NS;s=M.State")),
        ("ns=2;s=V40;0;3", NodeAddress(2, identifier="s=V40;0;3")),
        ("nsu=urn:plant;/Line 1/0:M1", NodeAddress(uri="urn:plant", path=((None, "Line 1"), (0, "M1")))),
        ("ns=4;/a", NodeAddress(4, path=((None, "a"),))),
        ("/2:Line 1/M1", NodeAddress(path=((2, "Line 1"), (0, "M1")))),
        ("ns=2;/a&/b/12&:30/&&", NodeAddress(2, path=((None, "a/b"), (None, "12:30"), (None, "&")))),
    ],
)
def test_addresses_say_where_a_node_is(text: str, expected: NodeAddress) -> None:
    """A namespace by its URI is not one by its index, and an identifier may hold whatever it likes."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "c101", "ns=65536;i=1", "i=4294967296", "g=1", "nsu=;i=1", "/", "ns=2;/a//b", "s="]
)
def test_what_says_nothing_is_refused(text: str) -> None:
    """`penstock check` reports it with its row."""
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_identifiers_of_all_kinds_become_nodes() -> None:
    """A text keeps its spaces."""
    guid = "72962b91-fa75-4ae6-8d28-b404dc7daf63"
    assert node_of("ns=2;s= lead") == ua.NodeId(" lead", 2)
    assert node_of(f"ns=2;g={guid}") == ua.NodeId(UUID(guid), 2)
    assert node_of("b=AP8=") == ua.NodeId(b"\x00\xff", 0, ua.NodeIdType.ByteString)
    assert node_of("ns=1;i=5") == ua.NodeId(5, 1)


class Session:
    """A session with a server that has these namespaces, and some nodes by their paths."""

    def __init__(self, uris: Sequence[str], paths: dict[tuple[str, ...], list[int]]) -> None:
        self.uris = uris
        self.paths = paths
        self.most = 0

    async def read_attributes(self, *_: object) -> list[ua.DataValue]:
        """Reads the namespaces."""
        return [ua.DataValue(ua.Variant(list(self.uris)))]

    async def translate_browsepaths_to_nodeids(self, paths: list[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        """Finds nodes."""
        self.most = max(self.most, len(paths))
        return [self._found(path) for path in paths]

    def _found(self, path: ua.BrowsePath) -> ua.BrowsePathResult:
        names = tuple(element.TargetName.to_string() for element in path.RelativePath.Elements)
        numbers = self.paths.get(names, [])
        status = ua.StatusCode(0 if numbers else ua.StatusCodes.BadNoMatch)
        return ua.BrowsePathResult(status, [ua.BrowsePathTarget(ua.ExpandedNodeId(n, 5)) for n in numbers])


def places_on(session: Any, *texts: str) -> list[ua.NodeId | str]:
    """Where addresses are on a server."""
    return asyncio.run(resolved(session, [parse(text) for text in texts], size=1))


def test_an_index_that_moves_does_not_matter_to_a_uri() -> None:
    """After a server's update, its namespaces may be in another order; what is gone is named."""
    before, after = Session(["ua", "a", "b"], {}), Session(["ua", "new", "b", "a"], {})
    wanted = ("nsu=b;i=7", "nsu=a;s=x", "ns=1;i=2")
    assert places_on(before, *wanted) == [ua.NodeId(7, 2), ua.NodeId("x", 1), ua.NodeId(2, 1)]
    assert places_on(after, *wanted) == [ua.NodeId(7, 2), ua.NodeId("x", 3), ua.NodeId(2, 1)]
    assert places_on(Session(["ua"], {}), "nsu=a;s=x") == ["the server has no namespace a"]


def test_a_path_is_found_by_the_server() -> None:
    """In parts that it bears; a path that is nowhere or means several nodes is named."""
    session = Session(["ua", "a"], {("1:Line", "0:M"): [9], ("1:Line", "1:N"): [1, 2], ("1:X",): [3]})
    found = places_on(session, "nsu=a;/Line/0:M", "nsu=a;/Line/N", "/1:nowhere", "/1:X")
    assert found == [ua.NodeId(9, 5), SEVERAL, NO_PATH, ua.NodeId(3, 5)]
    assert session.most == 1


PARTS = [
    "x1,nsu=urn:plant;/Line 1/M1/Temperature,,,",
    "x2,nsu=urn:plant;s=array,1,,",
    "x3,ns=2;s=array,,,1:2",
    "x4,ns=2;s=range,,Low,",
    "x5,ns=2;s=range,,Middle,",
    "x6,ns=2;s=words,1,,",
    "x7,ns=2;s=big,,,",
    "x8,ns=2;s=bigs,1,,",
    "x9,nsu=urn:gone;s=array,,,",
    "s1,ns=2;s=mode,,,",
    "s2,ns=2;s=step,,,",
    "x10,ns=2;s=mode,,,",
]


def test_parts_and_texts_of_values_become_samples(tmp_path: Path, device: Plc) -> None:
    """Elements, ranges and fields; integers that float64 may not hold as text; the text of an enumeration."""

    async def main() -> dict[str, tuple[float | None, str | None, int]]:
        connection = connection_of(tmp_path, device.port, PARTS, columns="element,field,index_range")
        async with connected(connection) as source:
            found = await heard(source, len(PARTS))
        rows = found.select("tag", "value", "text", "quality").rows()
        return {tag.removeprefix("c101."): (value, text, quality) for tag, value, text, quality in rows}

    assert asyncio.run(main()) == {
        "x1": (20.0, None, 0),
        "x2": (2.5, None, 0),
        "x3": (None, "[2.5, 3.5]", 0),
        "x4": (-1.0, None, 0),
        "x5": (None, None, BAD_DECODING_ERROR),
        "x6": (None, "b", 0),
        "x7": (None, str(2**60), 0),
        "x8": (None, str(2**53 + 1), 0),
        "x9": (None, None, 0x80340000),
        "s1": (None, "Auto", 0),
        "s2": (None, "Mix", 0),
        "x10": (1.0, None, 0),
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x1,ns=2;s=a,1,Low,", "exclude each other"),
        ("x1,ns=2;s=a,one,,", "element"),
        ("x1,ns=2;s=a,,,1-2", "index_range"),
    ],
)
def test_wrong_parts_are_found_with_the_plant_file(tmp_path: Path, row: str, message: str) -> None:
    """With file and row."""
    with pytest.raises(ConfigError, match=message):
        connection_of(tmp_path, 1, [row], columns="element,field,index_range")
