"""Lists the variables below the Objects folder of an OPC UA server, level by level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import polars as pl
from asyncua import ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.discovery import BrowseLimits, BrowseReport
from bridge.drivers.opcua.client import attributes, per_call, session_of
from bridge.drivers.opcua.driver import Options
from historian.plant.connections import ConnectionConfig

VARIABLES: Final = pl.Schema(
    {
        "address": pl.String(),
        "path": pl.String(),
        "type": pl.String(),
        "unit": pl.String(),
        "low": pl.Float64(),
        "high": pl.Float64(),
    }
)
"""Columns of the variables that a browse finds: the address as the tag list takes it, the names on the way there, the
type of the value, and unit and range where the server says them."""

NODES_PER_CALL: Final = 100
"""Most nodes in one browse request: a response holds all their references."""
REFERENCES: Final = 1_000
"""Most references of a node in one response; the rest is requested after it."""
_SERVER: Final = ua.NodeId(ua.ObjectIds.Server)
"""The server's own diagnostics: hundreds of variables that are no signals of the plant."""


class Views(Protocol):
    """The part of a session that lists references."""

    async def browse(self, parameters: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """Return the first references of nodes."""
        ...

    async def browse_next(self, parameters: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        """Return further references."""
        ...


@dataclass
class Walk:
    """What has been found below a root."""

    paths: dict[ua.NodeId, str] = field(default_factory=dict)
    """Path of each variable, in the order in which they were found."""
    properties: dict[tuple[ua.NodeId, str], ua.NodeId] = field(default_factory=dict)
    """Node of the property of a variable: `EURange` or `EngineeringUnits`."""
    missing: list[str] = field(default_factory=list)
    """What was left out, and why."""


async def browse(connection: ConnectionConfig, limits: BrowseLimits) -> BrowseReport:
    """See `discovery.Browse`."""
    async with session_of(cast(Options, connection.options), connection.root) as session:
        most = await per_call(session, ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse)
        found = await walk(session, ua.NodeId(ua.ObjectIds.ObjectsFolder), limits, size=min(most, NODES_PER_CALL))
        return BrowseReport(await _described(session, found), tuple(found.missing))


async def walk(views: Views, root: ua.NodeId, limits: BrowseLimits, *, size: int) -> Walk:
    """Follow hierarchical references from a root; each node is visited once, whatever cycles there are.

    Args:
        views: the session.
        root: where to begin.
        limits: where to stop.
        size: most nodes in one request.
    """
    found, level, seen, unreadable = Walk(), {root: ""}, {root, _SERVER}, Counter[str]()
    for _ in range(limits.depth):
        below: dict[ua.NodeId, str] = {}
        nodes = list(level)
        for first in range(0, len(nodes), size):
            for parent, references in await _children(views, nodes[first : first + size], unreadable):
                for reference in references:
                    _visit(found, below, seen, (parent, level[parent]), reference)
            if stop := _stop(found, seen, limits):
                found.missing.append(stop)
                found.paths = dict(list(found.paths.items())[: limits.variables])
                return _with(found, unreadable)
        level = below
    if level:
        found.missing.append(
            f"{len(level):,} nodes are more than {limits.depth} levels deep; what is below was left out"
        )
    return _with(found, unreadable)


def _stop(found: Walk, seen: Set[ua.NodeId], limits: BrowseLimits) -> str:
    """Return why a walk stops here; empty if it goes on."""
    if len(found.paths) > limits.variables:
        return f"stopped after {limits.variables:,} variables; there are more"
    return f"stopped after {limits.nodes:,} nodes; there may be more" if len(seen) > limits.nodes else ""


def _with(found: Walk, unreadable: Counter[str]) -> Walk:
    found.missing += [f"{count:,} nodes could not be browsed ({name})" for name, count in sorted(unreadable.items())]
    return found


def _visit(
    found: Walk,
    below: dict[ua.NodeId, str],
    seen: set[ua.NodeId],
    parent: tuple[ua.NodeId, str],
    reference: ua.ReferenceDescription,
) -> None:
    node, name = _local(reference.NodeId), reference.DisplayName.Text or reference.BrowseName.Name or ""
    if reference.ReferenceTypeId == ua.NodeId(ua.ObjectIds.HasProperty):
        found.properties[parent[0], str(reference.BrowseName.Name)] = node
    elif node not in seen and not getattr(reference.NodeId, "ServerIndex", 0):  # of another server
        seen.add(node)
        below[node] = f"{parent[1]}/{name}".lstrip("/")
        if reference.NodeClass == ua.NodeClass.Variable:
            found.paths[node] = below[node]


async def _children(
    views: Views, nodes: Sequence[ua.NodeId], unreadable: Counter[str]
) -> list[tuple[ua.NodeId, list[ua.ReferenceDescription]]]:
    """Return the references of nodes; those that cannot be read are counted by their status."""
    children: list[tuple[ua.NodeId, list[ua.ReferenceDescription]]] = []
    request = ua.BrowseParameters(
        RequestedMaxReferencesPerNode=REFERENCES, NodesToBrowse=[_description(node) for node in nodes]
    )
    for node, result in zip(nodes, await views.browse(request), strict=True):
        if len(nodes) > 1 and result.StatusCode.value == ua.StatusCodes.BadNoContinuationPoints:
            children += await _children(views, [node], unreadable)  # a server keeps few of them at a time
            continue
        references: list[ua.ReferenceDescription] = []
        part = result
        while part.StatusCode.is_good():
            references += part.References or []
            if not part.ContinuationPoint:
                break
            further = ua.BrowseNextParameters(
                ReleaseContinuationPoints=False, ContinuationPoints=[part.ContinuationPoint]
            )
            [part] = await views.browse_next(further)
        else:
            unreadable[part.StatusCode.name] += 1
        children.append((node, references))
    return children


def _description(node: ua.NodeId) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
        IncludeSubtypes=True,
        NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable,
        ResultMask=ua.BrowseResultMask.All,
    )


def _local(node: ua.NodeId) -> ua.NodeId:
    """Return an expanded node id as a plain one."""
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)


async def _described(session: UaSession, found: Walk) -> pl.DataFrame:
    """Return the variables with type, unit and range: columns of `VARIABLES`."""
    size = await per_call(session, ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead)
    nodes = list(found.paths)
    types = await _type_names(session, nodes, size)
    ranks = await attributes(session, nodes, ua.AttributeIds.ValueRank, size=size)
    units = await _property_values(session, found, "EngineeringUnits", size)
    ranges = await _property_values(session, found, "EURange", size)
    names = [
        f"{name}[]" if isinstance(rank, int) and rank >= 0 else name for name, rank in zip(types, ranks, strict=True)
    ]
    bounds = [(each.Low, each.High) if isinstance(each, ua.Range) else (None, None) for each in map(ranges.get, nodes)]
    texts = [each.DisplayName.Text if isinstance(each, ua.EUInformation) else None for each in map(units.get, nodes)]
    rows = [
        (node.to_string(), path, name, text, *bound)
        for (node, path), name, text, bound in zip(found.paths.items(), names, texts, bounds, strict=True)
    ]
    return pl.DataFrame(rows, schema=VARIABLES, orient="row")


async def _property_values(session: UaSession, found: Walk, name: str, size: int) -> dict[ua.NodeId, object]:
    nodes = {node: found.properties[node, name] for node in found.paths if (node, name) in found.properties}
    values = await attributes(session, list(nodes.values()), ua.AttributeIds.Value, size=size)
    return dict(zip(nodes, values, strict=True))


async def _type_names(session: UaSession, nodes: Sequence[ua.NodeId], size: int) -> list[str | None]:
    """Return the name of each variable's data type; None where the server does not say."""
    types = await attributes(session, nodes, ua.AttributeIds.DataType, size=size)
    distinct = list(dict.fromkeys(each for each in types if isinstance(each, ua.NodeId)))
    found = await attributes(session, distinct, ua.AttributeIds.BrowseName, size=size)
    names = {node: name.Name for node, name in zip(distinct, found, strict=True) if isinstance(name, ua.QualifiedName)}
    return [names.get(each) if isinstance(each, ua.NodeId) else None for each in types]
