"""Partitions on a Ray cluster: for what one machine cannot do in time. The only module that knows Ray.

Ray's own retries make up for nodes that die: a partition is a pure function of the stored samples, so it does not
matter how often, or where, it is computed. The nodes need Penstock installed and the store within reach. A store's
token is taken from the environment variable PENSTOCK_STORE_TOKEN of each node: it never travels with the work.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from socket import create_connection
from typing import Any, Final

from features.jobs.engine import Engine
from features.jobs.partition import Computed, Partition, Samples, compute_partition
from historian.errors import ConfigError, FeatureError, InvalidInput, StoreUnavailable
from historian.open_store import open_url

# Before Ray is imported, and inherited by what it starts: nothing is sent to anybody, nothing is said about it.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
try:
    import ray
except ImportError:
    raise ConfigError("Ray is not installed; pip install 'penstock[ray]', or leave out --engine ray") from None

TOKEN: Final = "PENSTOCK_STORE_TOKEN"  # noqa: S105 - the name of a variable
_RETRIES: Final = 10
_CONNECT_S: Final = 5.0


def cluster(url: str, *, address: str, memory: int) -> Engine:
    """The cluster at the address: `auto` for the one this machine is part of, else HOST:PORT.

    Args:
        url: of the store, as the nodes reach it.
        address: of the cluster.
        memory: bytes a partition may take. A node works on as many at once as it has memory for.

    Raises, when it runs:
        StoreUnavailable: no cluster answers there.
        InvalidInput: no node has so much memory.
        FeatureError: work died again and again.
    """

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        _connect(address)
        remote = ray.remote(max_retries=_RETRIES, num_cpus=1, memory=memory)(_compute)
        work = iter(partitions)
        pending: list[Any] = []
        try:
            _check_memory(memory)
            while True:
                # What the cluster can do at once may change as nodes come and go.
                room = 2 * int(ray.cluster_resources().get("CPU", 1)) - len(pending)
                pending += [remote.remote(url, each) for each in islice(work, max(room, 0))]
                if not pending:
                    return
                done, pending = ray.wait(pending, num_returns=1)
                yield from ray.get(done)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            raise FeatureError(f"the Ray cluster at {address} lost the work for good: {error}; run it again") from None
        finally:
            for each in pending:
                ray.cancel(each, force=True)
            ray.shutdown()

    return run


def _check_memory(memory: int) -> None:
    """Ray would wait for such a node for ever."""
    most = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if most < memory:
        raise InvalidInput(
            f"a part of the work may take {memory / 2**20:.0f}MiB, but no node of the Ray cluster has more than "
            f"{most / 2**20:.0f}MiB for it; say less with --memory"
        )


def _compute(url: str, partition: Partition) -> Computed:
    return compute_partition(_opened(url, os.environ.get(TOKEN, "")), partition)


@cache
def _opened(url: str, token: str) -> Samples:
    """It stays open for the next partition."""
    return open_url(url, token)


def _connect(address: str) -> None:
    try:
        host, _, port = address.rpartition(":")
        if port.isdecimal():  # Ray itself would wait for a minute and a half
            create_connection((host, int(port)), timeout=_CONNECT_S).close()
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StoreUnavailable(
            f"no Ray cluster answers at {address} ({reason}); start one with ray start --head, or omit --engine ray"
        ) from None
