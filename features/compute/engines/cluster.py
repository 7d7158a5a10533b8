"""Partitions on a Ray cluster: for what one machine cannot compute in time.

A partition is a pure function of the stored samples, so it does not matter how often, or where, it is computed. The
nodes must be able to open the store. Its token is read from the environment variable PENSTOCK_STORE_TOKEN of each node:
it never travels with the work.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Final

from features.cluster.ray_cluster import connected, spread
from features.compute.engines.processes import Engine
from features.compute.partition import Computed, Partition, Samples, compute_partitions
from historian.stores.open import open_url

TOKEN: Final = "PENSTOCK_STORE_TOKEN"  # noqa: S105 - the name of a variable


def cluster(url: str, *, address: str, memory: int) -> Engine:
    """Return an engine that runs on the Ray cluster at an address.

    Args:
        url: of the store, as the nodes can open it.
        address: HOST:PORT of the cluster; `auto` for the one this machine is part of.
        memory: bytes a partition may take. A node works on as many at once as it has memory for.

    Raises, when it runs:
        StoreUnavailable: no cluster answers there.
        InvalidInput: no node has so much memory.
        FeatureError: work died again and again.
    """

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        with connected(address):
            yield from spread(partial(_compute, url), partitions, memory=memory)

    return run


def _compute(url: str, partition: Partition) -> Computed:
    return compute_partitions(_opened(url, os.environ.get(TOKEN, "")), [partition])


@cache
def _opened(url: str, token: str) -> Samples:
    """Open a store once in this process."""
    return open_url(url, token)
