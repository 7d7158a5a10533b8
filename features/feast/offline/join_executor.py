"""Executors of a retrieval's joins: this machine, or a Ray cluster. Parts and results are the same on both.

Every node of a cluster must see the sources under the same paths. Ray is loaded only if a cluster is named.
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
"""A function from a function and items to the function's results, in any order."""


@dataclass(frozen=True)
class JoinExecutor:
    """Runs the parts of a join, with limits on their number and memory."""

    memory_limit: int = 2 << 30
    """Largest memory of a part in bytes."""
    parts: int = 1
    """Number of parts that keeps every processor busy."""
    run: Run = map


LOCAL: Final = JoinExecutor()


@contextmanager
def join_executor(memory_limit: int, ray_address: str | None = None) -> Iterator[JoinExecutor]:
    """Yield this machine's executor, or that of a Ray cluster, which stays connected until this is closed.

    Args:
        memory_limit: Largest memory of a part in bytes; on Ray also the memory reserved for it.
        ray_address: See `features.cluster.ray_cluster.connected`; this machine if None.

    Raises:
        ConfigError: Ray is not installed.
        StoreUnavailable: No cluster responds there.
    """
    if ray_address is None:
        yield JoinExecutor(memory_limit)
        return
    cluster: Any = import_module("features.cluster.ray_cluster")
    with cluster.connected(ray_address):
        parts = _PARTS_PER_CPU * cluster.at_once()
        yield JoinExecutor(memory_limit, parts, partial(cluster.spread, memory=memory_limit))
