"""A cluster of two nodes on this machine gives the rows of one process, also when a node dies in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.compute.engines.processes import Engine, in_process
from features.compute.partition import Computed, Partition
from features.compute.run import ViewJob
from features.compute.splitting import Budget
from features.tables.feature_table import FeatureTable
from historian.cli.main import app
from historian.errors import StoreUnavailable
from historian.plant.plant import Plant
from historian.stores.open import open_store
from tests.features.stretches import write_plant
from tests.servers import complaints, needed_module

# Otherwise Ray takes 127.0.0.1 for another name of the machine's outer address; to be said before it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
ray_cluster_utils: Any = needed_module("ray.cluster_utils")
cluster = import_module("features.compute.engines.cluster").cluster

# Ray leaves sockets and child processes of its own to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

START = datetime(2026, 3, 1, tzinfo=UTC)
SMALL = Budget(samples=20_000, cells=10**9)


def fill(plant: Plant, seconds: int) -> None:
    """Two assets with one vibration signal of 1 kHz each."""
    times = pl.datetime_range(
        START, START + timedelta(seconds=seconds), timedelta(milliseconds=1), time_unit="us", eager=True, closed="left"
    )
    for seed, tag in enumerate(("c101.de_h", "c102.de_h")):
        values = np.random.default_rng(seed).normal(size=len(times))
        rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": values})
        write_plant(plant, rows, now=START)


def rows_by(plant: Plant, state: Path, engine: Engine) -> pl.DataFrame:
    """All rows computed by the engine, in a table of its own."""
    site = Plant(**{**vars(plant), "state": state})
    job = ViewJob(site, plant.views["compressor_vibration"], open_store(plant), lambda: START + timedelta(days=1))
    planned = job.plan(SMALL)
    assert len(planned.partitions) >= 10
    job.run(planned, engine)
    return FeatureTable(site, job.view).scan().sort("asset", "event_timestamp").collect()


def stopped_at_work(node: Any) -> int:
    """Stops a worker of the node for good while it computes a partition; returns its process id."""
    (raylet,) = node.all_processes["raylet"]
    children = Path(f"/proc/{raylet.process.pid}/task/{raylet.process.pid}/children")
    until = monotonic() + 30
    while monotonic() < until:
        for worker in map(int, children.read_text().split()):
            os.kill(worker, signal.SIGSTOP)
            if Path(f"/proc/{worker}/cmdline").read_bytes().startswith(b"ray::_done"):
                return worker
            os.kill(worker, signal.SIGCONT)
    raise AssertionError("the node was never at work")


def test_two_nodes_of_which_one_is_killed_give_the_rows_of_one_process(plant: Plant, tmp_path: Path) -> None:
    """Row for row; no partition is lost with its node, and none is appended twice. The node dies holding one."""
    fill(plant, 100)
    expected = rows_by(plant, tmp_path / "single", in_process(open_store(plant)))
    assert expected.height == 200
    url = (plant.state / "lake").as_uri()
    nodes = ray_cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False},
    )
    try:
        victim = nodes.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        nodes.wait_for_nodes()
        engine = cluster(url, address=nodes.address, memory=64 * 2**20)

        def with_a_death(partitions: Iterable[Partition]) -> Iterator[Computed]:
            for number, done in enumerate(engine(partitions)):
                if number == 1:
                    worker = stopped_at_work(victim)
                    nodes.remove_node(victim, allow_graceful=False)
                    os.kill(worker, signal.SIGKILL)
                yield done

        assert_frame_equal(rows_by(plant, tmp_path / "cluster", with_a_death), expected)
        command = ["compute", "--plant", str(plant.root), "--engine", "ray", "--address", nodes.address]
        refused = CliRunner().invoke(app, [*command, "--memory", "100TiB"])
        assert "lower --memory" in str(refused.exception)
        with complaints(nodes.address):
            done = CliRunner().invoke(app, [*command, "--memory", "64MiB", "--json"], catch_exceptions=False)
        assert "a node has died" in done.stderr
        assert json.loads(done.stdout)["views"]["compressor_vibration"]["feature_rows"] == expected.height
    finally:
        nodes.shutdown()


def test_a_missing_cluster_is_reported(plant: Plant) -> None:
    """The error says what to do, without a stack trace."""
    with pytest.raises(StoreUnavailable, match=r"no Ray cluster answers at 127.0.0.1:1 .*ray start --head"):
        next(cluster("file:///nowhere", address="127.0.0.1:1", memory=1)([]))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
