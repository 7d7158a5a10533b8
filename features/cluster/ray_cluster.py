"""Work on a Ray cluster, for jobs that are too large for one machine. The only module that imports Ray.

Importing it loads Ray, so it is imported only if a cluster is named. Ray retries the work of nodes that die: work must
not depend on how often it runs, or where. The nodes need Penstock installed, and access to the files that are read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from socket import create_connection
from typing import Any, Final, TypeVar

from historian.errors import ConfigError, FeatureError, HistorianError, InvalidInput, StoreUnavailable

# Set before Ray is imported, and inherited by the processes it starts: no usage data is sent, and no notice printed.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
try:
    import ray
except ImportError:
    raise ConfigError(
        "Ray is not installed; pip install 'penstock[ray]', or leave out --engine ray or ray_address"
    ) from None

_RETRIES: Final = 10
_CONNECT_S: Final = 5.0
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to the cluster while the block runs. An existing connection is used and left open.

    Args:
        address: `auto` for the cluster this machine is part of, HOST:PORT, or any address that Ray accepts.

    Raises:
        StoreUnavailable: no cluster responds there.
    """
    if ray.is_initialized():
        yield
        return
    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def at_once() -> int:
    """Return the number of tasks that the cluster can run at once; changes as nodes join and leave."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def spread(work: Callable[[_Item], _Done], items: Iterable[_Item], *, memory: int) -> Iterator[_Done]:
    """Yield the results of `work` for the items as they finish. Call while connected.

    Args:
        work: the function; sent to the cluster once.
        items: arguments of the function; consumed as the cluster has room for them.
        memory: bytes that one item may take. A node processes as many at once as it has memory for.

    Raises:
        InvalidInput: no node has that much memory.
        FeatureError: the work died repeatedly.
        HistorianError: as raised by `work`.
    """
    _check_memory(memory)
    remote = ray.remote(max_retries=_RETRIES, num_cpus=1, memory=memory)(_done)
    sent, waiting, pending = ray.put(work), iter(items), list[Any]()
    try:
        while True:
            room = 2 * at_once() - len(pending)
            pending += [remote.remote(sent, item) for item in islice(waiting, max(room, 0))]
            if not pending:
                return
            done, pending = ray.wait(pending, num_returns=1)
            yield from ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, HistorianError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise FeatureError(f"the Ray cluster lost the work for good: {error}; run it again") from None
    finally:
        for each in pending:
            ray.cancel(each, force=True)


def _done(work: Callable[[_Item], _Done], item: _Item) -> _Done:
    return work(item)


def _check_memory(memory: int) -> None:
    """Raise `InvalidInput` if no node has that much memory; Ray would wait for one for ever."""
    most = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if most < memory:
        raise InvalidInput(
            f"a part of the work may take {memory / 2**20:.0f}MiB, but no node of the Ray cluster has more than "
            f"{most / 2**20:.0f}MiB for it; lower --memory, or memory_limit in feature_store.yaml"
        )


def _connect(address: str) -> None:
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdecimal():  # Ray itself would wait for 90 seconds
            create_connection((host, int(port)), timeout=_CONNECT_S).close()
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StoreUnavailable(
            f"no Ray cluster answers at {address} ({reason}); start one with ray start --head, or leave out "
            f"--engine ray or ray_address"
        ) from None
