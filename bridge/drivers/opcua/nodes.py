"""From the addresses of a tag list to the nodes of a server: namespaces by their URI, paths by the server's answer."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Final, TypeAlias
from uuid import UUID

from asyncua import ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.opcua.addresses import NodeAddress, parse
from historian.quality import BAD_NODE_ID_UNKNOWN

NO_NAMESPACE: Final = "the server has no namespace {uri}"
NO_PATH: Final = "no node has this path"
SEVERAL: Final = "several nodes have this path"

Place: TypeAlias = "ua.NodeId | str"
"""A node, or why there is none."""


def node_of(text: str) -> ua.NodeId:
    """Return the node of an address with a namespace index and an identifier."""
    address = parse(text)
    return _node(address.index, address.identifier)


def _node(index: int, identifier: str) -> ua.NodeId:
    kind, text = identifier[0], identifier[2:]
    if kind == "i":
        return ua.NodeId(int(text), index)
    if kind == "g":
        return ua.NodeId(UUID(text), index)
    return ua.NodeId(b64decode(text), index, ua.NodeIdType.ByteString) if kind == "b" else ua.NodeId(text, index)


def needs_server(address: NodeAddress) -> bool:
    """Return whether a node is known only once the server has said its namespaces or resolved a path."""
    return bool(address.uri or address.path)


async def resolved(session: UaSession, addresses: Sequence[NodeAddress], *, size: int) -> list[Place]:
    """Return the node of each address, or why there is none.

    Args:
        session: the session.
        addresses: where the nodes are.
        size: most paths in one request.
    """
    uris = await namespaces(session) if any(map(needs_server, addresses)) else []
    places: list[Place] = []
    for address in addresses:
        index = address.namespace_in(uris)
        known = index is not None and not address.path
        places.append(_node(index or 0, address.identifier) if known else NO_NAMESPACE.format(uri=address.uri))
    paths = [number for number, each in enumerate(addresses) if each.path and each.namespace_in(uris) is not None]
    for first in range(0, len(paths), size):
        part = paths[first : first + size]
        paths_of_part = [_browse_path(addresses[number], addresses[number].namespace_in(uris) or 0) for number in part]
        for number, answer in zip(part, await session.translate_browsepaths_to_nodeids(paths_of_part), strict=True):
            places[number] = _target(answer)
    return places


async def namespaces(session: UaSession) -> list[str]:
    """Return the URIs of the server's namespaces; the index of a namespace is its place."""
    [answer] = await session.read_attributes([ua.NodeId(ua.ObjectIds.Server_NamespaceArray)], ua.AttributeIds.Value)
    return list(map(str, answer.Value.Value or ())) if answer.Value is not None else []


def browse_path(start: ua.NodeId, names: Sequence[ua.QualifiedName]) -> ua.BrowsePath:
    """Return a path of browse names below a node, by references of any kind that build a hierarchy."""
    steps = [
        ua.RelativePathElement(
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
            IsInverse=False,
            IncludeSubtypes=True,
            TargetName=name,
        )
        for name in names
    ]
    return ua.BrowsePath(start, ua.RelativePath(steps))


def _browse_path(address: NodeAddress, index: int) -> ua.BrowsePath:
    names = [ua.QualifiedName(name, index if given is None else given) for given, name in address.path]
    return browse_path(ua.NodeId(ua.ObjectIds.ObjectsFolder), names)


def _target(answer: ua.BrowsePathResult) -> Place:
    if not answer.StatusCode.is_good() or not answer.Targets:
        return NO_PATH
    if len(answer.Targets) > 1:
        return SEVERAL
    found = answer.Targets[0].TargetId
    return ua.NodeId(found.Identifier, found.NamespaceIndex, found.NodeIdType)


def unknown_node() -> ua.MonitoredItemCreateResult:
    """Return the result of an item whose node is not known, as a server would."""
    return ua.MonitoredItemCreateResult(ua.StatusCode(BAD_NODE_ID_UNKNOWN))
