"""What servers of some vendors can bear, where their own limits do not say it or say more than is good for them. Pure.

A request is never larger than the smallest of the server's limit, its profile's and ours. A server that turns down a
request as too large is sent smaller ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bridge.drivers.opcua.client import ITEMS_PER_CALL


@dataclass(frozen=True)
class Profile:
    """What a kind of server can bear."""

    name: str
    known_by: str
    """Regular expression that is found in manufacturer and product, in lower case."""
    items_per_call: int = ITEMS_PER_CALL
    """Most monitored items, nodes or paths in one request."""
    has_filters: bool = True
    """Whether an item may have a filter, which a deadband needs."""
    fastest_publishing_ms: float = 0.0
    """Shortest publishing interval that does not overload it, in milliseconds."""


GENERIC: Final = Profile("generic", "")
PROFILES: Final = (
    # A controller of this family takes 50 times as long for a request of more than 200 nodes.
    Profile("Siemens S7-1200", r"s7-?1200", items_per_call=100, has_filters=False, fastest_publishing_ms=500.0),
    Profile("Siemens S7-1500", r"s7-?1500|et ?200sp cpu", items_per_call=500, fastest_publishing_ms=100.0),
    Profile("Kepware", r"kepware|kepserver|thingworx kepware", items_per_call=1_000),
    Profile("Ignition", r"inductive automation|ignition", items_per_call=100),
    Profile("Prosys", r"prosys", items_per_call=800),
    Profile("node-opcua", r"node-?opcua", items_per_call=1_000, fastest_publishing_ms=50.0),
)


def profile_of(manufacturer: str, product: str, uri: str = "") -> Profile:
    """Return the profile of a server by its build information; `GENERIC` if it is of no known kind."""
    said = f"{manufacturer} {product} {uri}".lower()
    return next((each for each in PROFILES if re.search(each.known_by, said)), GENERIC)
