"""`PolarsOfflineStore`: Feast's offline store on Polars, registered in Feast's configuration by class path.

    offline_store:
        type: features.feast.offline.store.PolarsOfflineStore

Written against Feast 0.67's offline store interface; needs nothing else of Penstock. A label row is never lost, doubled
or moved, and a value that was not known at its time never comes back. What is promised in full is in docs/feast.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import (
    _get_requested_feature_views_to_features_dict,
    _get_requested_on_demand_feature_views,
    compute_non_entity_date_range,
)
from pydantic import ByteSize, Field

from features.feast.offline import monitoring
from features.feast.offline.arrow_types import plain
from features.feast.offline.entity_frames import EntityFrame, from_columns, from_pandas, from_query, from_range
from features.feast.offline.feature_source import open_rows, view_rows
from features.feast.offline.file_tables import file_source, on_disk
from features.feast.offline.historical import HistoricalRetrieval, check_labels
from features.feast.offline.offline_writes import append, stored_schema, write_log
from features.feast.offline.own_sources import OwnSources
from features.feast.offline.pulled_rows import PulledRows
from features.feast.offline.retrieval_job import PolarsRetrievalJob
from features.feast.offline.view_join import ViewQuery, view_query

_LOG: Final = logging.getLogger(__name__)


class PolarsOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast ships no types
    """The `offline_store` table of `feature_store.yaml`."""

    type: Literal["features.feast.offline.store.PolarsOfflineStore"] = "features.feast.offline.store.PolarsOfflineStore"
    memory_limit: ByteSize = Field(ByteSize(2 << 30), gt=0)
    """Largest memory of a join, such as `512MiB`; larger joins run key by key. The result itself is not counted."""
    ray_address: str | None = None
    """Address of a Ray cluster for historical retrieval: `auto`, `local`, `ray://head:10001`. None uses no Ray."""


class PolarsOfflineStore(OfflineStore):  # type: ignore[misc]  # Feast ships no types
    """A Feast `OfflineStore` that reads `FileSource`: Parquet files, directories and globs, and Delta tables."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(  # noqa: PLR0913 - Feast's signature
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pl.DataFrame | pa.Table | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,  # noqa: FBT001, FBT002
        filter_by_created_timestamp: bool = False,  # noqa: FBT001, FBT002
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsRetrievalJob:
        """Return the features of each row of `entity_df` as they were at its time.

        Args:
            config, feature_views, feature_refs, registry, project, full_feature_names: As Feast passes them.
            entity_df: The labels: a pandas or Polars frame, an Arrow table, a query (see `from_query`), or
                nothing for every row of the views between `start_date` and `end_date` (see `from_range`).
            filter_by_created_timestamp: Use only what had been computed by each row's time.
            start_date: By default the longest ttl of the views before `end_date`, or 30 days.
            end_date: By default now.

        Raises:
            ValueError: `entity_df` has a column called as a feature is, lists as a join key, values of several kinds
                in a column, or is nothing we know.
            FeastEntityDFMissingColumnsError: it lacks a join key.
            AbsentColumn: a source lacks a column. FileNotFoundError: there is no source.
        """
        on_demand = _get_requested_on_demand_feature_views(feature_refs, project, registry)
        by_view, _ = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, on_demand)
        queries = _queries(by_view, config.repo_path, full_feature_names=full_feature_names)
        if entity_df is None:
            first, last = compute_non_entity_date_range(feature_views, start_date, end_date)
            labels = from_range(queries, first, last)
        else:
            labels = _given(entity_df, lambda sql: from_query(sql, registry, project, config.repo_path))
            first, last = labels.span()
        check_labels(labels.table.schema, queries)
        return PolarsRetrievalJob(
            _retrieval(config, labels, queries, created_by_label_time=filter_by_created_timestamp),
            config.repo_path,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=_metadata(feature_refs, labels, first, last),
            own_sources=OwnSources(registry, project, feature_views, config.repo_path),
        )

    @staticmethod
    def pull_latest_from_table_or_query(  # noqa: PLR0913 - Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsRetrievalJob:
        """Return the newest row of each key with start <= event timestamp <= end, for materialisation."""
        rows = open_rows(data_source, config.repo_path, event=timestamp_field, created=created_timestamp_column)
        pulled = PulledRows(rows, join_key_columns, feature_name_columns, start_date, end_date, latest=True)
        return PolarsRetrievalJob(pulled, config.repo_path)

    @staticmethod
    def pull_all_from_table_or_query(  # noqa: PLR0913 - Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PolarsRetrievalJob:
        """Return all rows with start <= event timestamp <= end, in the source's order."""
        rows = open_rows(data_source, config.repo_path, event=timestamp_field, created=created_timestamp_column)
        pulled = PulledRows(rows, join_key_columns, feature_name_columns, start_date, end_date, latest=False)
        return PolarsRetrievalJob(pulled, config.repo_path)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Append rows to a view's source, whole or not at all; see `features.feast.offline.offline_writes`.

        Raises:
            ValueError: the columns are not those of the source, in its order. FileNotFoundError: there is no source.
        """
        append(file_source(feature_view.batch_source), config.repo_path, table)
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Append a feature log to its destination, a directory of Parquet files."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise ValueError(f"the Polars offline store logs to files, not to {type(destination).__name__}")
        uri = FileSource.get_uri_for_file_path(config.repo_path, destination.path)
        write_log(data, on_disk(uri, "log to a directory on disk"), destination.partition_by)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Refuse a source that could never be read; one that is not there yet is only logged, as Feast itself does.

        Raises:
            ValueError: it is no file, or its times are no timestamps. AbsentColumn: it lacks one of them.
        """
        try:
            rows = view_rows(data_source, config.repo_path)
        except FileNotFoundError as absent:
            _LOG.warning("feature source %s cannot be read yet: %s", data_source.name, absent)
            return
        rows.times({}, pl.lit(value=True))

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Return column names and plain Arrow types of a source, from which Feast infers a view's schema.

        Feast itself looks for Delta tables in the wrong directory, takes every text that Polars wrote for JSON, and
        supports neither large lists nor categories.
        """
        schema = stored_schema(file_source(data_source), config.repo_path)
        return zip(schema.names, [str(plain(dtype)) for dtype in schema.types], strict=True)

    @staticmethod
    def compute_monitoring_metrics(  # noqa: PLR0913 - Feast's signature
        config: RepoConfig,
        data_source: DataSource,
        feature_columns: list[tuple[str, str]],
        timestamp_field: str,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        histogram_bins: int = 20,
        top_n: int = 10,
    ) -> list[dict[str, Any]]:
        """Compute statistics of flat columns, start <= event timestamp <= end, with one column in memory at a time."""
        rows = open_rows(data_source, config.repo_path, event=timestamp_field, created=None)
        within, stored = (
            rows.between(start_date, end_date),
            {to: name for name, to in data_source.field_mapping.items()},
        )
        found = []
        for name, kind in feature_columns:
            column = stored.get(name, name)
            if column not in rows.schema or rows.schema[column].is_nested():
                continue  # Feast calls a list of numbers numeric
            values = rows.values([column], within)[column]
            if kind == "numeric":
                found.append(monitoring.numeric_metric(name, values, histogram_bins))
            elif kind == "categorical":
                found.append(monitoring.categorical_metric(name, values, top_n))
        return found

    @staticmethod
    def get_monitoring_max_timestamp(
        config: RepoConfig, data_source: DataSource, timestamp_field: str
    ) -> datetime | None:
        """Return the newest event timestamp; None without rows or files."""
        try:
            rows = open_rows(data_source, config.repo_path, event=timestamp_field, created=None)
        except FileNotFoundError:
            return None
        newest = rows.newest()
        return newest.astimezone(UTC) if newest else None

    @staticmethod
    def ensure_monitoring_tables(config: RepoConfig) -> None:
        """Create the tables of Feast's monitoring, Parquet files under the repository."""
        monitoring.ensure_tables(_repo(config))

    @staticmethod
    def save_monitoring_metrics(config: RepoConfig, metric_type: str, metrics: list[dict[str, Any]]) -> None:
        """Write rows of a table of Feast's monitoring; each replaces the row with the same key."""
        monitoring.save_metrics(_repo(config), metric_type, metrics)

    @staticmethod
    def query_monitoring_metrics(
        config: RepoConfig,
        project: str,
        metric_type: str,
        filters: dict[str, Any] | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> list[dict[str, Any]]:
        """Return rows of a table of Feast's monitoring, both dates included, in order of date."""
        return monitoring.query_metrics(_repo(config), metric_type, project, filters or {}, start_date, end_date)

    @staticmethod
    def clear_monitoring_baseline(
        config: RepoConfig,
        project: str,
        feature_view_name: str | None = None,
        feature_name: str | None = None,
        data_source_type: str | None = None,
    ) -> None:
        """Mark these features' baselines as ordinary rows."""
        names = {"feature_view_name": feature_view_name, "feature_name": feature_name}
        monitoring.clear_baseline(_repo(config), project, names | {"data_source_type": data_source_type})


def _given(entity_df: pd.DataFrame | pl.DataFrame | pa.Table | str, query: Callable[[str], EntityFrame]) -> EntityFrame:
    if isinstance(entity_df, str):
        return query(entity_df)
    if isinstance(entity_df, pd.DataFrame):
        return from_pandas(entity_df)
    if isinstance(entity_df, pl.DataFrame | pa.Table):
        return from_columns(entity_df)
    raise ValueError(f"entity_df is {type(entity_df).__name__}; give a pandas or Polars frame, an Arrow table, or SQL")


def _retrieval(
    config: RepoConfig, labels: EntityFrame, queries: list[ViewQuery], *, created_by_label_time: bool
) -> HistoricalRetrieval:
    store = config.offline_store
    return HistoricalRetrieval(labels, queries, created_by_label_time, int(store.memory_limit), store.ray_address)


def _queries(
    by_view: Mapping[FeatureView, Iterable[str]], repo_path: Path | None, *, full_feature_names: bool
) -> list[ViewQuery]:
    return [
        view_query(view, names, repo_path, full_feature_names=full_feature_names) for view, names in by_view.items()
    ]


def _metadata(refs: list[str], labels: EntityFrame, first: datetime, last: datetime) -> RetrievalMetadata:
    keys = [column for column in labels.table.column_names if column != labels.time]
    return RetrievalMetadata(features=refs, keys=keys, min_event_timestamp=first, max_event_timestamp=last)


def _repo(config: RepoConfig) -> Path:
    return Path(config.repo_path or ".")
