"""Retrieval on a Ray cluster gives the bytes one machine gives; without a cluster Ray is not loaded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Array, Float64, Int64, String

from historian.errors import NotEnoughData, StoreUnavailable
from tests.servers import needed_module

START = datetime(2026, 3, 1, tzinfo=UTC)
REFS = ["parquet:n", "parquet:text", "parquet:spectrum", "delta:n", "delta:text", "newest:n"]
TIMES = {"timestamp_field": "at", "created_timestamp_column": "made"}


def rows(seed: int) -> pl.DataFrame:
    """Feature rows with corrections, text and lists."""
    random = np.random.default_rng(seed)
    event = random.integers(0, 500, 4_000)
    return pl.DataFrame(
        {
            "asset": [f"c{number}" for number in random.integers(0, 9, 4_000)],
            "at": [START + timedelta(seconds=int(second)) for second in event],
            "made": [START + timedelta(seconds=int(second)) for second in event + random.integers(0, 90, 4_000)],
            "n": range(4_000),
            "text": [None if n % 7 == 0 else f"row {n} of {seed}" for n in range(4_000)],
            "spectrum": [[float(n), 1.0] for n in range(4_000)],
        }
    )


def labels() -> pl.DataFrame:
    """Labels of known and unknown assets, in no order."""
    random = np.random.default_rng(3)
    assets = [f"c{number}" for number in random.integers(0, 11, 3_000)]
    times = [START + timedelta(seconds=int(second)) for second in random.integers(-5, 600, 3_000)]
    return pl.DataFrame({"asset": assets, "event_timestamp": times, "label": range(3_000)})


def views(directory: Path) -> list[Entity | FeatureView]:
    """One over a directory of Parquet files, one over a Delta table of two versions, one without an entity."""
    (directory / "parquet").mkdir()
    for number, part in enumerate(rows(1).iter_slices(1_000)):
        part.write_parquet(directory / "parquet" / f"{number}.parquet")
    for part in rows(2).iter_slices(2_000):
        write_deltalake(directory / "delta", part, mode="append")
    parquet = FileSource(name="files", path=str(directory / "parquet"), **TIMES)
    delta = FileSource(name="table", path=str(directory / "delta"), file_format=DeltaFormat(), **TIMES)
    machine = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
    fields = [Field(name="n", dtype=Int64), Field(name="text", dtype=String)]
    by_asset = {"entities": [machine], "ttl": timedelta(seconds=30)}
    spectrum = Field(name="spectrum", dtype=Array(Float64))
    return [
        machine,
        FeatureView(name="parquet", source=parquet, schema=[*fields, spectrum], **by_asset),
        FeatureView(name="delta", source=delta, schema=fields, **by_asset),
        FeatureView(name="newest", source=parquet, schema=fields, entities=[], ttl=timedelta(0)),
    ]


def answers(store: FeatureStore, *, meanwhile: Callable[[], None]) -> list[pa.Table]:
    """The whole and the streamed answers of a store; `meanwhile` runs between the request and the reading."""
    retrieve = partial(store.get_historical_features, labels(), REFS, full_feature_names=True)
    jobs = [retrieve(filter_by_created_timestamp=by_created) for by_created in (False, True)]
    meanwhile()
    return [
        found for job in jobs for found in (job.to_arrow(), job.to_reader().read_all(), job.to_reader(1_300).read_all())
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and processes to the garbage collector
def test_two_nodes_give_the_bytes_one_machine_gives(
    feast: Callable[..., FeatureStore], tmp_path: Path, ray_address: str
) -> None:
    """They are the same whole and streamed, over files and a Delta table that grows after the request."""
    objects = views(tmp_path)
    here = answers(feast(*objects), meanwhile=lambda: None)
    assert 0 < here[0]["delta__n"].null_count < here[0].num_rows
    assert not here[0].equals(here[3])
    # So little that keys and answers are dealt out in more parts than the cluster has processors for.
    store = feast(*objects, ray_address=ray_address, memory_limit="200KiB")
    cluster: Any = needed_module("features.cluster.ray_cluster")
    with cluster.connected(ray_address):  # once for all six
        there = answers(store, meanwhile=lambda: write_deltalake(tmp_path / "delta", rows(5), mode="append"))
    for found, expected in zip(there, here, strict=True):
        assert found.schema.equals(expected.schema)
        assert found.equals(expected)


@pytest.mark.filterwarnings("ignore")
def test_batches_are_computed_by_the_cluster_too(feast: Callable[..., FeatureStore], tmp_path: Path) -> None:
    """Without a cluster there is an error, and nothing is computed locally instead."""
    job = feast(*views(tmp_path), ray_address="127.0.0.1:1").get_historical_features(labels(), REFS[:1])
    for retrieve in (job.to_arrow, job.to_reader):
        with pytest.raises(StoreUnavailable, match=r"no Ray cluster answers at 127\.0\.0\.1:1 .* or ray_address"):
            retrieve()


def node(number: int) -> tuple[int, str]:
    """The number and the node on which this ran."""
    sleep(0.1)
    return number, needed_module("ray").get_runtime_context().get_node_id()


def refused(number: int) -> int:
    """Raises an error that a user may see."""
    raise NotEnoughData(f"there is no {number}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and processes to the garbage collector
def test_both_nodes_work_and_their_results_and_errors_come_back(ray_address: str) -> None:
    """Each item is processed once, as there is room; an error of ours arrives without a stack trace."""
    ray: Any = needed_module("ray")
    cluster: Any = needed_module("features.cluster.ray_cluster")
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(12):
            taken.append(number)
            yield number

    with cluster.connected(ray_address):
        working = cluster.spread(node, items(), memory=2**20)
        found = [next(working)]
        assert len(taken) == 2 * cluster.at_once() == 4
        found += working
        assert sorted(number for number, _ in found) == list(range(12))
        assert len({where for _, where in found}) == 2
        with cluster.connected("somewhere else"), pytest.raises(NotEnoughData) as error:
            list(cluster.spread(refused, [7], memory=2**20))
        assert str(error.value) == "there is no 7"
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_an_address_of_any_form_that_does_not_answer_is_reported() -> None:
    """The error is raised at once and says what to do."""
    cluster: Any = needed_module("features.cluster.ray_cluster")
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(StoreUnavailable, match=f"no Ray cluster answers at {address} .*ray start --head"):
            cluster.connected(address).__enter__()


@pytest.mark.slow
def test_one_machine_does_not_load_ray(tmp_path: Path, warm: Path) -> None:
    """Ray need not be installed."""
    script = (
        "import sys; sys.modules['ray'] = None; from pathlib import Path; from feast import FeatureStore, RepoConfig;"
        "from tests.features.feast.offline.test_join_executor import REFS, labels, views;"
        f"path = Path({str(tmp_path)!r});"
        "store = FeatureStore(config=RepoConfig(project='p', registry=str(path / 'r.db'), provider='local',"
        "offline_store={'type': 'features.feast.offline.store.PolarsOfflineStore'}, online_store=None,"
        "entity_key_serialization_version=3));"
        "store.apply(views(path));"
        "assert store.get_historical_features(labels(), REFS[:3]).to_arrow().num_rows == 3000;"
        "assert [each for name, each in sys.modules.items() if name.partition('.')[0] == 'ray'] == [None]"
    )
    subprocess.run([str(warm / "python"), "-c", script], check=True, timeout=100)
