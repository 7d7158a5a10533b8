"""The texts of enumerations and of discrete items: which text a server gives each number of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession

from bridge.drivers.opcua.client import attributes, in_parts
from bridge.drivers.opcua.nodes import browse_path

_LISTS: Final = ("EnumStrings", "EnumValues", "FalseState", "TrueState")
"""Properties with texts: of a data type or a node (OPC UA Part 3, 5.8.3; Part 8, 5.3.3)."""

Texts = Mapping[int, str]


async def enumeration_texts(session: UaSession, nodes: Mapping[int, ua.NodeId], *, size: int) -> dict[int, Texts]:
    """Return the texts of the numbers of nodes, by their key; nodes whose numbers have no texts are left out.

    Args:
        session: the session.
        nodes: key -> node.
        size: most nodes in one request.
    """
    keys = list(nodes)
    types = await attributes(session, [nodes[key] for key in keys], ua.AttributeIds.DataType, size=size)
    holders = dict.fromkeys([*nodes.values(), *(each for each in types if isinstance(each, ua.NodeId))])
    texts = await _texts_of(session, list(holders), size)
    found = {key: texts.get(nodes[key]) or texts.get(kind) for key, kind in zip(keys, types, strict=True)}
    return {key: named for key, named in found.items() if named}


async def _texts_of(session: UaSession, holders: Sequence[ua.NodeId], size: int) -> dict[object, Texts]:
    """Return the texts that nodes or data types have as properties."""
    wanted = [(holder, name) for holder in holders for name in _LISTS]
    paths = [browse_path(holder, [ua.QualifiedName(name, 0)]) for holder, name in wanted]

    async def request(part: range) -> list[ua.BrowsePathResult]:
        answers: list[ua.BrowsePathResult] = await session.translate_browsepaths_to_nodeids([paths[n] for n in part])
        return answers

    answers = await in_parts(len(paths), size, request)
    there = [(pair, answer.Targets[0].TargetId) for pair, answer in zip(wanted, answers, strict=True) if answer.Targets]
    nodes = [ua.NodeId(each.Identifier, each.NamespaceIndex, each.NodeIdType) for _, each in there]
    values = await attributes(session, nodes, ua.AttributeIds.Value, size=size)
    texts: dict[object, dict[int, str]] = {}
    for ((holder, name), _), value in zip(there, values, strict=True):
        texts.setdefault(holder, {}).update(_named(name, value))
    return dict(texts)


def _named(name: str, value: object) -> dict[int, str]:
    """Return number -> text of one property."""
    listed = value if isinstance(value, list) else [value]
    if name == "EnumValues":
        return {int(each.Value): str(each.DisplayName.Text) for each in listed if isinstance(each, ua.EnumValueType)}
    first = 1 if name == "TrueState" else 0
    return {first + place: str(each.Text) for place, each in enumerate(listed) if isinstance(each, ua.LocalizedText)}
