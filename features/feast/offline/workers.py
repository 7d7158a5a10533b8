"""Who does a retrieval's joins: this machine, or a Ray cluster. The parts are the same, and so is the answer.

Every node of a cluster must see the sources under the same paths. Nothing of Ray is loaded unless one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

_PARTS_PER_CPU: Final = 2

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Takes work and items; gives what the work makes of each item, in any order."""


@dataclass(frozen=True)
class Workers:
    """Who does the parts, and how large they may be."""

    memory_limit: int = 2 << 30
    """Bytes a part may take."""
    parts: int = 1
    """So many keep all of them busy."""
    run: Run = map


HERE: Final = Workers()


@contextmanager
def workers(memory_limit: int, ray_address: str | None = None) -> Iterator[Workers]:
    """This machine; or the Ray cluster at the address, which is connected to until this is closed.

    Args:
        memory_limit: Bytes a part may take; on Ray also what is reserved for it.
        ray_address: See `features.cluster.ray_cluster.connected`.

    Raises:
        ConfigError: Ray is not installed. StoreUnavailable: no cluster answers there.
    """
    if ray_address is None:
        yield Workers(memory_limit)
        return
    cluster: Any = import_module("features.cluster.ray_cluster")
    with cluster.connected(ray_address):
        parts = _PARTS_PER_CPU * cluster.at_once()
        yield Workers(memory_limit, parts, partial(cluster.spread, memory=memory_limit))
