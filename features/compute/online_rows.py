"""Feature rows straight into the online store: what `compute --follow` does with the rows it has just appended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from feast import FeatureStore, FeatureView

from features.feast.online.lookup import materialize
from features.feast.online.materialize import newest_writer
from features.tables.labels import ASSET
from historian.errors import FeatureError
from historian.plant.plant import View


@dataclass(frozen=True)
class Online:
    """How rows are written to the online store."""

    write: Callable[[View, pl.DataFrame], None]
    """Write the newest of a view's rows of each asset; what is online and newer stays."""
    catch_up: Callable[[], None]
    """Write the newest stored row of each asset of every view."""


def online_rows(store: FeatureStore, clock: Callable[[], datetime]) -> Online:
    """Return the writer to the online store of a Feast repository. A view that is not registered is left out.

    Raises, when it writes:
        FeatureError: rows lack a column that is registered.
        StoreUnavailable: the online store cannot be written to.
    """
    registered = {view.name: view for view in store.list_feature_views()}
    writers = {name: newest_writer(store, view) for name, view in registered.items()}

    def write(view: View, rows: pl.DataFrame) -> None:
        if view.name in registered:
            _check(registered[view.name], rows)
            if rows[ASSET].n_unique() < rows.height:
                rows = rows.sort("event_timestamp", "created_timestamp").unique(ASSET, keep="last", maintain_order=True)
            writers[view.name](rows)

    def catch_up() -> None:
        materialize(store, end=clock(), advance=lambda _: None)

    return Online(write, catch_up)


def _check(view: FeatureView, rows: pl.DataFrame) -> None:
    known = set(rows.columns)
    if absent := [feature.name for feature in view.features if feature.name not in known]:
        raise FeatureError(
            f"the plant file's {view.name} has no column {', '.join(absent)}, but it is registered; run penstock apply"
        )
