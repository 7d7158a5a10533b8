"""`PolarsOfflineStore`: Feast's historical retrieval on Polars, registered in Feast's configuration by class path.

    offline_store:
        type: features.offline_store.PolarsOfflineStore

Written against Feast 0.67's offline store interface. A label row is never lost, doubled or moved, and a value that was
not known at its time never comes back.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import _get_requested_feature_views_to_features_dict, _get_requested_on_demand_feature_views

from features.feature_source import FeatureRows, open_rows
from features.historical import check_labels, historical, plain_arrow, view_query
from features.point_in_time import ROW, newest_rows
from features.retrieval_job import PolarsRetrievalJob


class PolarsOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast ships no types
    """The `offline_store` table of `feature_store.yaml`."""

    type: Literal["features.offline_store.PolarsOfflineStore"] = "features.offline_store.PolarsOfflineStore"


class PolarsOfflineStore(OfflineStore):  # type: ignore[misc]  # Feast ships no types
    """See Feast's `OfflineStore`. Reads `FileSource`: Parquet files and directories, and Delta tables."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(  # noqa: PLR0913 - Feast's signature
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,  # noqa: FBT001, FBT002
        filter_by_created_timestamp: bool = False,  # noqa: FBT001, FBT002
        **_: Any,
    ) -> PolarsRetrievalJob:
        """The features of each row of `entity_df` as they were at its time.

        Raises:
            ValueError: `entity_df` is no pandas frame, or has a column called as a feature is.
            FeastEntityDFMissingColumnsError: it lacks a join key.
            FeatureError: a source lacks a column. FileNotFoundError: there is no source.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise ValueError(
                "the Polars offline store needs labels as a pandas frame, not SQL or a time range; "
                "run the query yourself and pass its rows as entity_df"
            )
        time = infer_event_timestamp_from_entity_df(entity_df.dtypes.to_dict())
        labels = entity_df.assign(**{time: pd.to_datetime(entity_df[time], utc=True, cache=False)})
        on_demand = _get_requested_on_demand_feature_views(feature_refs, project, registry)
        by_view, _ = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, on_demand)
        queries = [
            view_query(view, names, config.repo_path, full_feature_names=full_feature_names)
            for view, names in by_view.items()
        ]
        check_labels(labels.columns, queries)
        return PolarsRetrievalJob(
            partial(historical, labels, time, queries, known_then=filter_by_created_timestamp),
            config.repo_path,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in labels.columns if column != time],
                min_event_timestamp=labels[time].min(),
                max_event_timestamp=labels[time].max(),
            ),
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
        """The newest row of each key with start <= event timestamp <= end: what materialisation writes."""
        rows = open_rows(data_source, config.repo_path, event=timestamp_field, created=created_timestamp_column)
        columns = [*join_key_columns, *feature_name_columns]

        def newest() -> pa.Table:
            within = rows.between(start_date, end_date)
            times = rows.times({key: key for key in join_key_columns}, within)
            numbers = newest_rows(times, join_key_columns)
            return _pulled(rows, columns, within & pl.col(ROW).is_in(numbers.implode()), keyed=bool(join_key_columns))

        return PolarsRetrievalJob(newest, config.repo_path)

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
        """All rows with start <= event timestamp <= end, in the source's order."""
        rows = open_rows(data_source, config.repo_path, event=timestamp_field, created=created_timestamp_column)
        columns = [*join_key_columns, *feature_name_columns]
        return PolarsRetrievalJob(
            lambda: _pulled(rows, columns, rows.between(start_date, end_date), keyed=bool(join_key_columns)),
            config.repo_path,
        )


def _pulled(rows: FeatureRows, columns: list[str], within: pl.Expr, *, keyed: bool) -> pa.Table:
    """The columns and the times of some rows; a view without entities gets the constant key Feast gives it."""
    times = [rows.event, rows.created] if rows.created else [rows.event]
    pulled = rows.values(list(dict.fromkeys([*columns, *times])), within).drop(ROW)
    return plain_arrow(pulled if keyed else pulled.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID)))
