"""Retrieval on a Ray cluster gives the bytes one machine gives; without a cluster Ray is not even loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from feast import FileSource

from features.offline.entity_frames import EntityFrame, from_columns
from features.offline.feature_source import open_rows
from features.offline.historical import HistoricalRetrieval
from features.offline.view_join import ViewQuery
from tests.servers import needed_module

START = datetime(2026, 3, 1, tzinfo=UTC)


def question(directory: Path) -> tuple[EntityFrame, list[ViewQuery]]:
    """Labels, and two views over a Parquet directory with corrections, text and lists."""
    random = np.random.default_rng(3)
    event = random.integers(0, 500, 4_000)
    rows = pl.DataFrame(
        {
            "asset": [f"c{number}" for number in random.integers(0, 9, 4_000)],
            "at": [START + timedelta(seconds=int(second)) for second in event],
            "made": [START + timedelta(seconds=int(second)) for second in event + random.integers(0, 90, 4_000)],
            "n": range(4_000),
            "text": [None if n % 7 == 0 else f"row {n}" for n in range(4_000)],
            "spectrum": [[float(n), 1.0] for n in range(4_000)],
        }
    )
    for number, part in enumerate(rows.iter_slices(1_000)):
        part.write_parquet(directory / f"{number}.parquet")
    labels = pl.DataFrame(
        {
            "asset": [f"c{number}" for number in random.integers(0, 11, 3_000)],
            "event_timestamp": [START + timedelta(seconds=int(s)) for s in random.integers(-5, 600, 3_000)],
        }
    )
    source = open_rows(FileSource(path=str(directory)), None, event="at", created="made")
    columns = {"n": "n", "text": "text", "spectrum": "spectrum"}
    by_asset = ViewQuery(source, {"asset": "asset"}, columns, timedelta(seconds=30))
    return from_columns(labels), [by_asset, ViewQuery(source, {}, {"newest": "n"}, None)]


@pytest.fixture
def cluster() -> Iterator[None]:
    """A head and a second node, on this machine; connected to."""
    # Ray looks for a way to other machines unless it is told that there are none.
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    ray, utils = needed_module("ray"), needed_module("ray.cluster_utils")
    options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    started = utils.Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    try:
        started.add_node(**options)
        ray.init(address=started.address, log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        started.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and processes to the garbage collector
def test_two_nodes_give_the_bytes_one_machine_gives(tmp_path: Path) -> None:
    """Whichever rows count, and with a view that has no key to divide it by."""
    assert len([node for node in import_module("ray").nodes() if node["Alive"]]) == 2
    labels, queries = question(tmp_path)
    for known_then in (False, True):
        here = HistoricalRetrieval(labels, queries, known_then, 2 << 30).table()
        there = HistoricalRetrieval(labels, queries, known_then, 2 << 30, ray_address="auto").table()
        assert there.equals(here)
        assert there.schema.equals(here.schema)
        assert here["n"].null_count < here.num_rows


def test_one_machine_does_not_load_ray(tmp_path: Path) -> None:
    """Nor need it be installed."""
    script = (
        "import sys; from pathlib import Path; from tests.features.offline.test_ray_join import question;"
        "from features.offline.historical import HistoricalRetrieval; import features.offline.store;"
        f"labels, queries = question(Path({str(tmp_path)!r}));"
        "assert HistoricalRetrieval(labels, queries, False, 2 << 30).table().num_rows == 3000;"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3], timeout=100)
