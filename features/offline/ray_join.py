"""The same retrieval on a Ray cluster: labels dealt out by key, each part joined where a worker is free.

Every worker must see the sources under the same paths. Nothing here is loaded unless a cluster is configured.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import polars as pl
import pyarrow as pa

from features.offline.view_join import ViewQuery, features_at, row_numbers, split

_AT: Final = "__at"
_PARTS_PER_CPU: Final = 2


def ray_features(query: ViewQuery, labels: pl.DataFrame, *, address: str, known_then: bool) -> pa.Table:
    """What `row_numbers` and `features_at` give for these labels, computed on the cluster at `address`.

    Args:
        query: The view.
        labels: The query's keys and `EVENT`, any order.
        address: As Ray takes it: `auto`, `ray://head:10001`, `local`. A connection that is open already is used.
        known_then: See `row_numbers`.
    """
    ray: Any = import_module("ray")
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    count = _PARTS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    parts = list(split(labels.with_row_index(_AT), query.keys, count))
    join = ray.remote(_joined)
    asked = ray.put(query)
    answers = ray.get([join.remote(asked, part.drop(_AT).to_arrow(), known_then) for part in parts])
    order = pl.concat(part[_AT] for part in parts).arg_sort()
    return pa.concat_tables(answers).take(order.to_arrow()).combine_chunks()


def _joined(query: ViewQuery, labels: pa.Table, known_then: bool) -> pa.Table:  # noqa: FBT001 - Ray's calls are positional
    numbers = row_numbers(query, pl.DataFrame(labels), known_then=known_then, memory_limit=sys.maxsize)
    return features_at(query, numbers)
