"""Defects and gaps of Feast 0.67's own local stores, each shown not to exist in ours through a FeatureStore."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, String

from tests.features.processes import took

START = datetime(2026, 3, 1, tzinfo=UTC)
ASSET = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
LINE = Entity(name="line", join_keys=["line"], value_type=ValueType.STRING)
UNIT = Entity(name="unit", join_keys=["unit"], value_type=ValueType.INT64)
TYPES = {"asset": String, "line": String, "unit": Int64}


def at(*seconds: float) -> list[datetime]:
    """Instants, given in seconds after START."""
    return [START + timedelta(seconds=float(second)) for second in seconds]


@pytest.fixture
def opened(feast: Callable[..., FeatureStore]) -> Callable[..., FeatureStore]:
    """A FeatureStore with these views registered."""
    return partial(feast, ASSET, LINE, UNIT)


def view(path: Path, rows: pl.DataFrame, *, key: Entity = ASSET, ttl: timedelta | None = None) -> FeatureView:
    """A view `vib_<key>` of one feature, over a file."""
    name = f"vib_{key.name}"
    rows.write_parquet(path / f"{name}.parquet")
    feature = next(column for column in rows.columns if column not in ("event_timestamp", "created", key.name))
    return FeatureView(
        name=name,
        entities=[key],
        ttl=ttl,
        schema=[Field(name=key.name, dtype=TYPES[key.name]), Field(name=feature, dtype=Float64)],
        source=FileSource(
            path=f"{name}.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_column="created" if "created" in rows.columns else "",
        ),
    )


def rows(key: str, values: list[Any], event: list[float], rms: list[float], feature: str = "rms") -> pl.DataFrame:
    """Feature rows of one view."""
    return pl.DataFrame({key: values, "event_timestamp": at(*event), feature: rms})


def values(store: FeatureStore, labels: Mapping[str, Any], *refs: str) -> list[Any]:
    """The features of labels, row by row."""
    found = store.get_historical_features(pd.DataFrame(labels), list(refs)).to_arrow()
    return pl.DataFrame(found).select(ref.split(":")[1] for ref in refs).rows()


def test_d1_a_label_without_a_matching_row_stays(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The dask store drops a label when all its candidates are expired or in its future."""
    store = opened(view(tmp_path, rows("asset", ["a", "b"], [0, 100], [1.0, 2.0]), ttl=timedelta(seconds=10)))
    labels = {"asset": ["a", "b"], "event_timestamp": at(50, 50)}
    assert values(store, labels, "vib_asset:rms") == [(None,), (None,)]


def test_d2_labels_of_one_key_and_time_stay_apart(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The dask store makes one of them, and loses the other's label."""
    store = opened(view(tmp_path, rows("asset", ["a"], [0], [1.0])))
    labels = {"asset": ["a"] * 3, "event_timestamp": at(5, 5, 5), "failed": [0, 1, 0]}
    found = store.get_historical_features(pd.DataFrame(labels), ["vib_asset:rms"]).to_df()
    assert found[["failed", "rms"]].to_numpy().tolist() == [[0, 1], [1, 1], [0, 1]]


def test_d3_a_correction_replaces_what_it_corrects(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The dask store answers 16 of these 20 with the superseded value: its sorts are not stable."""
    first = [(f"a{key}", float(time), 60.0, float(time)) for key in range(5) for time in range(20)]
    second = [(key, time, 500.0, value + 1000) for key, time, _, value in first]
    shuffled = np.random.default_rng(0).permutation(len(first) * 2)
    every = [(first + second)[index] for index in shuffled]
    table = rows("asset", [row[0] for row in every], [row[1] for row in every], [row[3] for row in every])
    store = opened(view(tmp_path, table.with_columns(created=pl.Series(at(*[row[2] for row in every])))))
    labels = {"asset": [f"a{key}" for key in range(5) for _ in range(4)], "event_timestamp": at(*[3, 8, 13, 19] * 5)}
    assert values(store, labels, "vib_asset:rms") == [(1003,), (1008,), (1013,), (1019,)] * 5


def test_d4_views_of_different_entities_keep_all_labels(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The dask store drops duplicates by the keys of the views joined so far, and drops labels."""
    store = opened(
        view(tmp_path, rows("asset", ["a"], [0], [1.0])),
        view(tmp_path, rows("line", ["x", "y"], [0, 0], [5.0, 6.0], "speed"), key=LINE),
    )
    labels = {"asset": ["a", "a"], "line": ["x", "y"], "event_timestamp": at(5, 5)}
    assert values(store, labels, "vib_asset:rms", "vib_line:speed") == [(1.0, 5.0), (1.0, 6.0)]


_BIG = """
import sys; sys.path.insert(0, {root!r})
import pandas as pd, polars as pl
from datetime import UTC, datetime, timedelta
from benchmarks.memory import peak_bytes
from features.feast.offline.entity_frames import from_pandas
from features.feast.offline.feature_source import open_rows
from features.feast.offline.historical import HistoricalRetrieval
from features.feast.offline.view_join import ViewQuery
from feast import FileSource
rows = open_rows(FileSource(path={path!r}), None, event="event_timestamp", created=None)
query = ViewQuery(rows, {{"asset": "asset"}}, {{"rms": "rms"}}, timedelta(hours=2))
times = pd.date_range("2026-03-01", periods=5_000, freq="20s", tz="UTC")
labels = from_pandas(pd.DataFrame({{"asset": ["a"] * 5_000, "event_timestamp": times}}))
before = peak_bytes()
assert HistoricalRetrieval(labels, [query], False, 2 << 30).table()["rms"].null_count == 0
print("took", peak_bytes() - before)
"""


@pytest.mark.slow
def test_d5_memory_grows_with_the_rows_not_with_rows_times_labels(tmp_path: Path) -> None:
    """The dask store merges each label with the whole history of its key: 2.7 GB here, ours takes a few per cent."""
    event = pl.datetime_range(START, START + timedelta(seconds=99_999), "1s", eager=True, time_unit="us")
    pl.DataFrame({"asset": ["a"] * 100_000, "event_timestamp": event, "rms": range(100_000)}).write_parquet(
        tmp_path / "rows.parquet"
    )
    script = _BIG.format(root=str(Path(__file__).parents[4]), path=str(tmp_path / "rows.parquet"))
    ((grown,),) = took(script, tmp_path)
    assert int(grown) < 150 * 2**20


@pytest.mark.parametrize("ttl", [timedelta(hours=25), timedelta(hours=100), timedelta(days=3, microseconds=1)])
def test_d6_any_ttl_is_exact(tmp_path: Path, opened: Callable[..., FeatureStore], ttl: timedelta) -> None:
    """The duckdb store refuses days mixed with seconds."""
    store = opened(view(tmp_path, rows("asset", ["a"], [0], [1.0]), ttl=ttl))
    times = [START + ttl, START + ttl + timedelta(microseconds=1)]
    assert values(store, {"asset": ["a", "a"], "event_timestamp": times}, "vib_asset:rms") == [(1.0,), (None,)]


def test_d7_nanosecond_files_are_materialised(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The duckdb store cannot convert times of nanoseconds with a zone."""
    table = rows("asset", ["a"], [5], [1.0]).with_columns(pl.col("event_timestamp").dt.cast_time_unit("ns"))
    store = opened(view(tmp_path, table))
    store.materialize(START, at(60)[0])
    assert store.get_online_features(["vib_asset:rms"], [{"asset": "a"}]).to_dict()["rms"] == [1.0]


def test_d8_no_labels_queries_and_keys_with_gaps(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The duckdb store takes neither a range nor a query, and makes a key with a gap a float."""
    store = opened(view(tmp_path, rows("unit", [1, 2], [0, 1], [1.0, 2.0]), key=UNIT))
    in_range = store.get_historical_features(None, ["vib_unit:rms"], start_date=START, end_date=at(9)[0]).to_arrow()
    assert in_range["rms"].to_pylist() == [1.0, 2.0]
    query = store.get_historical_features("SELECT unit, event_timestamp FROM vib_unit", ["vib_unit:rms"]).to_arrow()
    assert sorted(query["rms"].to_pylist()) == [1.0, 2.0]
    gaps = pd.DataFrame({"unit": pd.array([2, None], "Int64"), "event_timestamp": at(5, 5)})
    found = store.get_historical_features(gaps, ["vib_unit:rms"]).to_arrow()
    assert (str(found["unit"].type), found["unit"].to_pylist()) == ("int64", [2, None])
    assert found["rms"].to_pylist() == [2.0, None]


def test_d8_an_entity_column_called_like_a_feature_is_named(
    tmp_path: Path, opened: Callable[..., FeatureStore]
) -> None:
    """The duckdb store fails somewhere in its query builder."""
    store = opened(view(tmp_path, rows("asset", ["a"], [0], [1.0])))
    labels = pd.DataFrame({"asset": ["a"], "rms": [0.0], "event_timestamp": at(5)})
    with pytest.raises(ValueError, match="called as features are: rms"):
        store.get_historical_features(labels, ["vib_asset:rms"])
    found = store.get_historical_features(labels, ["vib_asset:rms"], full_feature_names=True).to_arrow()
    assert found["vib_asset__rms"].to_pylist() == [1.0]


@pytest.mark.parametrize("layout", ["directory", "delta"])
def test_d9_an_offline_write_leaves_the_files_there_are(
    tmp_path: Path, opened: Callable[..., FeatureStore], layout: str
) -> None:
    """Both upstream stores read the table and write it again in place; here a write is a file of its rows.

    test_offline_writes has the races.
    """
    table, path = rows("asset", ["a"], [0], [1.0]), tmp_path / "rows"
    written = view(tmp_path, table)
    written.batch_source.file_options.uri = "rows"
    if layout == "delta":
        write_deltalake(path, table)
        written.batch_source.file_options.file_format = DeltaFormat()
    else:
        path.mkdir()
        table.write_parquet(path / "0.parquet")
    store = opened(written)
    before = in_use(path)
    for second in (2.0, 3.0):
        store.write_to_offline_store("vib_asset", rows("asset", ["a"], [second], [second]).to_pandas())
        assert values(store, {"asset": ["a"], "event_timestamp": at(5)}, "vib_asset:rms") == [(second,)]
    after = in_use(path)
    assert before.items() < after.items()
    assert [pl.read_parquet(file).height for file in after.keys() - before.keys()] == [1, 1]


def in_use(path: Path) -> dict[str, tuple[bytes, int, int]]:
    """For each file of a table its bytes, and the attributes that change when it is rewritten."""
    files = DeltaTable(path).file_uris() if (path / "_delta_log").exists() else map(str, path.iterdir())
    return {file: (Path(file).read_bytes(), Path(file).stat().st_ino, Path(file).stat().st_mtime_ns) for file in files}


def test_d9_only_a_single_file_is_rewritten(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The exception: a Parquet file ends with the index of all its rows, so that nothing can be added behind it.

    It is not written in place either: whoever reads it meanwhile has the old file to its end.
    """
    store = opened(view(tmp_path, rows("asset", ["a"], [0], [1.0])))
    with (tmp_path / "vib_asset.parquet").open("rb") as old:
        store.write_to_offline_store("vib_asset", rows("asset", ["a"], [2], [2.0]).to_pandas())
        assert pl.read_parquet(old)["rms"].to_list() == [1.0]
    assert pl.read_parquet(tmp_path / "vib_asset.parquet")["rms"].to_list() == [1.0, 2.0]


def test_d10_the_end_of_a_range_belongs_to_it(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """The dask store once left it out; here it counts, in whatever zone it is given."""
    store = opened(view(tmp_path, rows("asset", ["a", "b"], [0, 9], [1.0, 2.0])))
    store.materialize(
        START.astimezone(timezone(timedelta(hours=5))), at(9)[0].astimezone(timezone(-timedelta(hours=3)))
    )
    found = store.get_online_features(["vib_asset:rms"], [{"asset": "a"}, {"asset": "b"}]).to_dict()
    assert found["rms"] == [1.0, 2.0]


def test_d11_a_long_range_can_be_pulled_in_pieces(tmp_path: Path, opened: Callable[..., FeatureStore]) -> None:
    """Upstream's stores hold the whole range before the first row is written."""
    table = rows("asset", ["a", "b"] * 500, list(range(1000)), [float(n) for n in range(1000)])
    store = opened(view(tmp_path, table))
    source = store.get_feature_view("vib_asset").batch_source
    pull = store.provider.offline_store.pull_all_from_table_or_query
    job = pull(store.config, source, ["asset"], ["rms"], "event_timestamp", None, at(100)[0], at(899)[0])
    batches = list(job.to_arrow_batches(100))
    assert max(batch.num_rows for batch in batches) <= 100
    assert [n for batch in batches for n in batch["rms"].to_pylist()] == [float(n) for n in range(100, 900)]
    latest = store.provider.offline_store.pull_latest_from_table_or_query
    newest = latest(store.config, source, ["asset"], ["rms"], "event_timestamp", None, START, at(899)[0])
    assert newest.to_arrow()["rms"].to_pylist() == [898.0, 899.0]


_MATERIALISE = """
import sys; sys.path.insert(0, {root!r})
from datetime import UTC, datetime
from benchmarks.memory import peak_bytes
from feast import FeatureStore
for repo in {repos!r}:
    store = FeatureStore(repo)
    store.materialize(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    print("took", peak_bytes(), store.get_online_features(["vib_asset:rms"], [{{"asset": "a7"}}]).to_dict()["rms"][0])
"""


@pytest.mark.slow
def test_d11_materialising_takes_no_more_memory_for_ten_times_the_rows(
    tmp_path: Path, opened: Callable[..., FeatureStore]
) -> None:
    """Ten assets at 50 Hz have 300,000 rows, then 3,000,000: upstream's stores hold the whole range."""
    (tmp_path / "rows").mkdir()
    for part in range(10):
        number = pl.int_range(part * 300_000, (part + 1) * 300_000)
        pl.select(
            *[(number + 0.1 * n).alias(f"other_{n}") for n in range(4)],
            asset="a" + (number % 10).cast(pl.String),
            event_timestamp=pl.lit(START) + pl.duration(milliseconds=number // 10 * 20),
            rms=number.cast(pl.Float64),
        ).write_parquet(tmp_path / "rows" / f"{part}.parquet", row_group_size=25_000)
    repos = [tmp_path / "few", tmp_path / "many"]
    for repo, files in zip(repos, ["rows/0.parquet", "rows"], strict=True):
        repo.mkdir()
        seen = view(tmp_path, rows("asset", ["a"], [0], [1.0]))
        seen.batch_source.file_options.uri = str(tmp_path / files)
        opened(seen, repo=repo)
        config = json.loads((repo / "feature_store.yaml").read_text())
        config["materialization"] = {"pull_latest_features": True}
        (repo / "feature_store.yaml").write_text(json.dumps(config))
    script = _MATERIALISE.format(root=str(Path(__file__).parents[4]), repos=[str(repo) for repo in repos])
    few, many = took(script, tmp_path)
    assert (float(few[1]), float(many[1])) == (299_997.0, 2_999_997.0)
    assert int(many[0]) - int(few[0]) < 55 << 20
