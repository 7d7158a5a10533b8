"""What Feast holds between asking for features and having them: a query that runs when its result is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage


class PolarsRetrievalJob(RetrievalJob):  # type: ignore[misc]  # Feast ships no types
    """A query of the Polars offline store. On-demand feature views are applied by Feast's `to_arrow`."""

    def __init__(
        self,
        query: Callable[[], pa.Table],
        repo_path: Path | None,
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._query = query
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether a feature's column is called `view__feature`."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views Feast computes from the rows of this job."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features, keys and time range of a historical retrieval."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._query()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._query().to_pandas()

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,  # noqa: FBT001, FBT002 - Feast's signature
        timeout: int | None = None,
    ) -> None:
        """Writes the result as one Parquet file, whole or not at all.

        Raises:
            SavedDatasetLocationAlreadyExists: the path is taken and may not be overwritten, or is a directory.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise ValueError(f"the Polars offline store saves to files, not to {type(storage).__name__}")
        path = Path(FileSource.get_uri_for_file_path(self._repo_path, storage.file_options.uri))
        if path.is_dir() or (path.exists() and not allow_overwrite):
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        pq.write_table(self.to_arrow(timeout=timeout), draft)
        draft.replace(path)
