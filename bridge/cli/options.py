"""Selection of connections by name, for the bridge's commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from historian.errors import InvalidInput, near_misses
from historian.plant.connections import ConnectionConfig, Section


def chosen(
    connections: Mapping[str, ConnectionConfig], names: Sequence[str] | None, section: Section
) -> list[ConnectionConfig]:
    """Return the connections of these names, or all of them.

    Raises:
        InvalidInput: the plant has no connections, or none of that name.
    """
    if not connections:
        raise InvalidInput(f"the plant file has no {section}; describe one under [{section}.NAME]")
    for name in names or ():
        if name not in connections:
            raise InvalidInput(f"the plant file has no [{section}.{name}]{near_misses(name, connections)}")
    return [connections[name] for name in dict.fromkeys(names or connections)]
