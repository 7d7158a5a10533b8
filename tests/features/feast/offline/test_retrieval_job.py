"""The members of Feast's RetrievalJob: its results in every form, and its metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.data_format import DeltaFormat
from feast.dataframe import DataFrameEngine
from feast.dqm.errors import ValidationFailed
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.bigquery_source import SavedDatasetBigQueryStorage
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float64, String

from historian.errors import NotOffered
from tests.features.files import contents
from tests.features.processes import took
from tests.servers import needed_module

pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:(Saving|Retrieving) datasets? is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Dataset validation is an experimental feature:RuntimeWarning"),
]

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(*seconds: float) -> list[datetime]:
    """Instants, given in seconds after START."""
    return [START + timedelta(seconds=second) for second in seconds]


LABELS = pd.DataFrame({"asset": ["b", "a"], "event_timestamp": at(12, 7), "factor": [2.0, 3.0]})
REFS = ["vib:level", "vib:spectrum", "weather:rain", "scaled:product"]
ANSWER = {
    "asset": ["b", "a"],
    "event_timestamp": at(12, 7),
    "factor": [2.0, 3.0],
    "level": [3.0, 1.0],
    "spectrum": [[], [1.0, 2.0]],
    "rain": ["wet", "dry"],
    "product": [6.0, 3.0],
}


@pytest.fixture
def store(tmp_path: Path, feast: Callable[..., FeatureStore]) -> FeatureStore:
    """Numbers and lists by asset, with other names in their file; the weather of the place; a product on demand."""
    pl.DataFrame(
        {"machine": ["a", "a", "b"], "rms": [1.0, 2.0, 3.0], "bins": [[1.0, 2.0], [3.0], []], "seen": at(0, 10, 5)}
    ).write_parquet(tmp_path / "rows.parquet")
    pl.DataFrame({"rain": ["dry", "wet"], "event_timestamp": at(0, 8)}).write_parquet(tmp_path / "sky.parquet")
    asset = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
    mapping = {"machine": "asset", "rms": "level", "bins": "spectrum"}
    vib = FeatureView(
        name="vib",
        entities=[asset],
        schema=[
            Field(name="asset", dtype=String),
            Field(name="level", dtype=Float64),
            Field(name="spectrum", dtype=Array(Float64)),
        ],
        source=FileSource(path="rows.parquet", timestamp_field="seen", field_mapping=mapping),
    )
    weather = FeatureView(
        name="weather",
        entities=[],
        schema=[Field(name="rain", dtype=String)],
        source=FileSource(path="sky.parquet", timestamp_field="event_timestamp"),
    )
    request_source = RequestSource(name="request_source", schema=[Field(name="factor", dtype=Float64)])

    @on_demand_feature_view(sources=[vib, request_source], schema=[Field(name="product", dtype=Float64)])  # type: ignore[untyped-decorator]  # Feast ships no types
    def scaled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"product": inputs["level"] * inputs["factor"]})

    return feast(asset, vib, weather, scaled)


@pytest.fixture
def job(store: FeatureStore) -> RetrievalJob:
    """Two labels, all features."""
    return store.get_historical_features(LABELS, REFS)


def test_its_metadata_describe_the_request(store: FeatureStore, job: RetrievalJob) -> None:
    """Features and keys by name, first and last time of the labels, names and views, before anything is read."""
    metadata = job.metadata
    assert (metadata.features, metadata.keys) == (REFS, ["asset", "factor"])
    assert [metadata.min_event_timestamp, metadata.max_event_timestamp] == at(7, 12)
    assert [view.name for view in job.on_demand_feature_views] == ["scaled"]
    assert job.full_feature_names is False
    assert store.get_historical_features(LABELS, REFS, full_feature_names=True).full_feature_names is True


def test_without_labels_its_metadata_have_the_requested_range(store: FeatureStore) -> None:
    """The range is the given one, even if no row lies at its ends."""
    metadata = store.get_historical_features(None, REFS[:1], start_date=at(-9)[0], end_date=at(99)[0]).metadata
    assert metadata.keys == ["asset"]
    assert [metadata.min_event_timestamp, metadata.max_event_timestamp] == at(-9, 99)


def test_every_form_of_the_answer_is_the_same(job: RetrievalJob) -> None:
    """Arrow, pandas and Feast's own frame include on-demand columns and mapped lists."""
    assert job.to_arrow().to_pydict() == ANSWER
    frame = job.to_df()
    assert frame.assign(spectrum=frame["spectrum"].map(list)).to_dict("list") == ANSWER
    feasts = job.to_feast_df()
    assert (feasts.engine, feasts.metadata["on_demand_feature_views"]) == (DataFrameEngine.ARROW, ["scaled"])
    assert feasts.data.to_pydict() == ANSWER


@pytest.mark.parametrize("rows", [0, -1])
def test_a_batch_of_no_rows_is_refused(job: RetrievalJob, rows: int) -> None:
    """The error is raised by the call, before anything is read."""
    for call in (job.to_arrow_batches, job.to_reader):
        with pytest.raises(ValueError, match=f"rows is {rows}, and a batch has at least 1; leave it out"):
            call(rows)
    assert [batch.num_rows for batch in job.to_arrow_batches(1)] == [1, 1]


def test_tensors_need_torch(job: RetrievalJob) -> None:
    """Feast converts the frame; without torch it says so, and it knows no other kind."""
    with pytest.raises(ValueError, match="Only 'torch' is supported"):
        job.to_tensor("numpy")
    with pytest.raises(ImportError, match="Torch is not available"):
        job.to_tensor()


def test_unsupported_members_name_the_alternative(job: RetrievalJob) -> None:
    """There is no SQL and no export; Feast's engines check this and expect NotImplementedError."""
    assert job.supports_remote_storage_export() is False
    for call in (job.to_sql, job.to_remote_storage):
        with pytest.raises(NotOffered, match="to_reader") as refused:
            call()
        assert isinstance(refused.value, NotImplementedError)


@pytest.fixture
def ray() -> Iterator[Any]:
    """A Ray of one process on this machine."""
    # Ray looks for a route to other machines unless an address is given.
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    found = needed_module("ray")
    found.init(
        address="local",
        num_cpus=1,
        object_store_memory=80 << 20,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    yield found
    found.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and processes to the garbage collector
def test_a_ray_dataset_has_the_rows(job: RetrievalJob) -> None:
    """They are in order, with all columns."""
    assert pa.concat_tables(needed_module("ray").get(job.to_ray_dataset().to_arrow_refs())).to_pydict() == ANSWER


def test_a_range_of_a_view_without_entities_is_its_rows(store: FeatureStore) -> None:
    """Both ends count and there is no key; with another view, each of its rows has the weather of that time."""
    alone = store.get_historical_features(None, ["weather:rain"], start_date=at(0)[0], end_date=at(8)[0])
    assert alone.to_arrow().to_pydict() == {"event_timestamp": at(0, 8), "rain": ["dry", "wet"]}
    later = store.get_historical_features(None, ["weather:rain"], start_date=at(1)[0], end_date=at(8)[0])
    assert later.to_arrow().to_pydict() == {"event_timestamp": at(8), "rain": ["wet"]}
    both = store.get_historical_features(None, [REFS[2], REFS[0]], start_date=at(5)[0], end_date=at(10)[0])
    assert both.to_arrow().to_pydict() == {
        "asset": ["b", None, "a"],
        "event_timestamp": at(5, 8, 10),
        "rain": ["dry", "wet", "wet"],
        "level": [3.0, None, 2.0],
    }


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_what_is_saved_is_replaced_only_where_that_is_allowed(store: FeatureStore, tmp_path: Path, layout: str) -> None:
    """It is refused before anything is written, or replaced whole."""
    path = tmp_path / "saved"
    storage = SavedDatasetFileStorage(path="saved", file_format=DeltaFormat() if layout == "delta" else None)
    store.get_historical_features(LABELS, REFS).persist(storage)
    before = contents(path)
    other = store.get_historical_features(LABELS.head(1), REFS[:1])
    with pytest.raises(SavedDatasetLocationAlreadyExists, match=str(path)):
        other.persist(storage, allow_overwrite=False)
    assert contents(path) == before
    other.persist(storage, allow_overwrite=True)
    found = pl.read_delta(str(path)) if layout == "delta" else pl.read_parquet(path)
    assert found.to_dict(as_series=False) == {
        "asset": ["b"], "event_timestamp": at(12), "factor": [2.0], "level": [3.0]
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_an_empty_directory_is_replaced_where_overwriting_is_allowed(
    job: RetrievalJob, tmp_path: Path, layout: str
) -> None:
    """Without permission to overwrite, the path counts as taken."""
    (tmp_path / "saved").mkdir()
    storage = SavedDatasetFileStorage(path="saved", file_format=DeltaFormat() if layout == "delta" else None)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    found = pl.read_delta(str(tmp_path / "saved")) if layout == "delta" else pl.read_parquet(tmp_path / "saved")
    assert found.equals(pl.DataFrame(job.to_arrow()))


@pytest.mark.parametrize("layout", ["file", "delta"])
def test_a_directory_of_other_things_is_never_replaced(job: RetrievalJob, tmp_path: Path, layout: str) -> None:
    """This holds even if overwriting is allowed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    storage = SavedDatasetFileStorage(path="mine", file_format=DeltaFormat() if layout == "delta" else None)
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage, allow_overwrite=True)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("path", "owner"),
    [("rows.parquet", "vib"), ("./x/../rows.parquet", "vib"), ("sky.parquet", "weather"), ("link.parquet", "vib")],
)
def test_a_data_set_is_never_saved_over_the_source_of_a_view(
    store: FeatureStore, tmp_path: Path, path: str, owner: str, *, overwrite: bool
) -> None:
    """It is refused by the view's name, also for a view that is not retrieved and by another name of the file."""
    (tmp_path / "x").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "rows.parquet")
    before = contents(tmp_path)
    job = store.get_historical_features(LABELS, REFS[:1])
    for file_format in (None, DeltaFormat()):
        with pytest.raises(ValueError, match=rf"is the source of feature view {owner}, or part of it: .* another path"):
            job.persist(SavedDatasetFileStorage(path=path, file_format=file_format), allow_overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("source", "place"), [("parts", "parts/new.parquet"), ("p*/*.parquet", "parts/new.parquet")])
def test_a_data_set_does_not_become_part_of_a_source(
    feast: Callable[..., FeatureStore], tmp_path: Path, source: str, place: str
) -> None:
    """A directory and a glob would read it as rows of theirs; next to them it is saved."""
    (tmp_path / "parts").mkdir()
    pl.DataFrame({"rain": ["dry"], "event_timestamp": at(0)}).write_parquet(tmp_path / "parts" / "a.parquet")
    weather = FeatureView(
        name="weather",
        entities=[],
        schema=[Field(name="rain", dtype=String)],
        source=FileSource(path=source, timestamp_field="event_timestamp"),
    )
    labels = pd.DataFrame({"event_timestamp": at(1)})
    job = feast(weather).get_historical_features(labels, ["weather:rain"])
    with pytest.raises(ValueError, match="is the source of feature view weather, or part of it"):
        job.persist(SavedDatasetFileStorage(path=place))
    job.persist(SavedDatasetFileStorage(path="sets/new.parquet"))
    assert pl.read_parquet(tmp_path / "sets" / "new.parquet")["rain"].to_list() == ["dry"]


def test_other_places_to_save_to_are_refused(job: RetrievalJob, tmp_path: Path) -> None:
    """A warehouse is refused by kind and an object store by address; no local directory of that name is made."""
    with pytest.raises(ValueError, match="saves to files, not to SavedDatasetBigQueryStorage"):
        job.persist(SavedDatasetBigQueryStorage(table="set"))
    with pytest.raises(ValueError, match="s3://bucket/set lies in an object store: save to a path on disk"):
        job.persist(SavedDatasetFileStorage(path="s3://bucket/set"))
    assert not (tmp_path / "s3:").exists()


def levels_above(bound: float) -> SimpleNamespace:
    """A profiler whose profile accepts a set if all its levels are above a bound, whatever the reference was."""

    def report(frame: pd.DataFrame) -> SimpleNamespace:
        return SimpleNamespace(is_success=bool((frame["level"] > bound).all()), errors=[])

    return SimpleNamespace(analyze_dataset=lambda _: SimpleNamespace(validate=report))


@pytest.mark.parametrize(("bound", "passes"), [(0.5, True), (1.5, False)])
def test_an_answer_is_validated_against_a_reference(store: FeatureStore, *, bound: float, passes: bool) -> None:
    """Feast validates it by the profile of a saved dataset."""
    job = store.get_historical_features(LABELS, REFS[:1])
    dataset = store.create_saved_dataset(job, "reference", SavedDatasetFileStorage(path="reference.parquet"))
    reference = dataset.as_reference("reference", levels_above(bound))
    if passes:
        assert job.to_arrow(validation_reference=reference).num_rows == 2
    else:
        with pytest.raises(ValidationFailed):
            job.to_df(validation_reference=reference)


_SAVE = """
import sys; sys.path.insert(0, {root!r})
from benchmarks.memory import peak_bytes
from feast import FeatureStore
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
for labels in (30_000, 300_000):
    query = f"SELECT * FROM read_parquet('query.parquet') LIMIT {{labels}}"
    job = FeatureStore({repo!r}).get_historical_features(query, {refs!r})
    job.persist(SavedDatasetFileStorage(path=f"{{labels}}.parquet"))
    print("took", peak_bytes())
"""


@pytest.mark.slow
def test_what_is_saved_need_not_fit_into_memory(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """270,000 more labels of 100 numbers are 206 MiB; only the labels, not the features, stay in memory."""
    number, names = pl.int_range(50_000), [f"f{n}" for n in range(100)]
    pl.select(
        *[(number * 1.7 % (n + 3)).alias(name) for n, name in enumerate(names)],
        asset="a" + (number % 10).cast(pl.String),
        event_timestamp=pl.lit(START) + pl.duration(seconds=number // 10),
    ).write_parquet(tmp_path / "rows.parquet", row_group_size=5_000)
    number = pl.int_range(300_000)
    pl.select(
        asset="a" + (number % 10).cast(pl.String), event_timestamp=pl.lit(START) + pl.duration(milliseconds=16 * number)
    ).write_parquet(tmp_path / "query.parquet")
    asset = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
    wide = FeatureView(
        name="wide",
        entities=[asset],
        schema=[Field(name="asset", dtype=String), *(Field(name=name, dtype=Float64) for name in names)],
        source=FileSource(path="rows.parquet", timestamp_field="event_timestamp"),
    )
    feast(asset, wide, memory_limit="16MiB")
    script = _SAVE.format(
        root=str(Path(__file__).parents[4]), repo=str(tmp_path), refs=[f"wide:{name}" for name in names]
    )
    fewer, more = (int(grown) for (grown,) in took(script, tmp_path))
    assert pl.scan_parquet(tmp_path / "300000.parquet").select(pl.len()).collect().item() == 300_000
    assert more - fewer < 100 << 20
