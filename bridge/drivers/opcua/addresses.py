"""Addresses as a tag list writes them: node ids and paths, by namespace index or by namespace URI. Pure.

    ns=2;s=c101.de_h                       a node id with a namespace index
    nsu=urn:plant;s=c101.de_h              the same by the namespace's URI, whose index may change
    nsu=urn:plant;/Line 1/M1/Temperature   browse names below the Objects folder, in that namespace
    /2:Line 1/2:M1/2:Temperature           each in a namespace of its own; 0 if none is given

In a path, `&` makes the character after it an ordinary one: `&/`, `&:`, `&&`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_NAMESPACE: Final = re.compile(r"(?:ns=(?P<index>\d{1,5})|nsu=(?P<uri>[^;]+));", re.DOTALL)
_IDENTIFIER: Final = re.compile(
    r"i=(?P<number>\d{1,10})|s=.+|g=[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|b=[A-Za-z0-9+/]+=*", re.DOTALL
)
_SEGMENT: Final = re.compile(r"/(?P<name>(?:&.|[^&/])+)", re.DOTALL)
_QUALIFIED: Final = re.compile(r"(?:(?P<index>\d{1,5}):)?(?P<name>.+)", re.DOTALL)
_UINT16, _UINT32 = 2**16, 2**32


@dataclass(frozen=True)
class NodeAddress:
    """Where a tag's node is; its namespace is known only once the server has said which URIs it has."""

    index: int = 0
    """The namespace's index, where `uri` is empty."""
    uri: str = ""
    identifier: str = ""
    """The identifier with its type, such as `s=c101.de_h`; empty for a path."""
    path: tuple[tuple[int | None, str], ...] = ()
    """Namespace index, if it is given, and browse name of each step below the Objects folder."""

    def namespace_in(self, uris: Sequence[str]) -> int | None:
        """Return the index of the namespace on a server with these namespaces; None if it does not have it."""
        if not self.uri:
            return self.index
        return list(uris).index(self.uri) if self.uri in uris else None


def parse(text: str) -> NodeAddress:
    """Return what an address says. Raises `ValueError` with the reason if it says nothing."""
    found = _NAMESPACE.match(text)
    rest = text[found.end() :] if found else text
    index, uri = (int(found["index"] or 0), found["uri"] or "") if found else (0, "")
    if index >= _UINT16:
        raise ValueError(f"there is no namespace {index:,}")
    if rest.startswith("/"):
        return NodeAddress(index, uri, path=tuple(_steps(rest, foreign=found is not None)))
    if (identifier := _IDENTIFIER.fullmatch(rest)) is None or int(identifier["number"] or 0) >= _UINT32:
        raise ValueError("write it as ns=2;s=c101.de_h, nsu=urn:plant;s=c101.de_h or nsu=urn:plant;/Line 1/Temperature")
    return NodeAddress(index, uri, identifier=rest)


def _steps(text: str, *, foreign: bool) -> list[tuple[int | None, str]]:
    """Return the steps of a path; one without an index is of namespace 0, or of the address's: None."""
    segments = list(_SEGMENT.finditer(text))
    if "".join(each[0] for each in segments) != text:
        raise ValueError("a path is /NAME/NAME, and & makes a / in a name an ordinary character")
    steps = list[tuple[int | None, str]]()
    for segment in segments:
        qualified = _QUALIFIED.fullmatch(segment["name"])
        given = qualified["index"] if qualified else None
        name = qualified["name"] if qualified else segment["name"]
        index = int(given) if given is not None else None if foreign else 0
        steps.append((index, re.sub(r"&(.)", r"\1", name, flags=re.DOTALL)))
    return steps
