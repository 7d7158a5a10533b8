"""Labels kept in one split do not look into the samples behind the features of another, however old these are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feast.offline.join_executor import LOCAL
from features.feast.offline.point_in_time import ROW
from features.training.join import features_began
from features.training.pinned import PinnedTable, TableVersion
from features.training.plan import Feature, Plan
from features.training.splits import SplitSpec, split

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = pl.Datetime("us", "UTC")
Row = tuple[str, int, int]


def table(name: str, rows: list[Row], *, window: int, ttl: int | None) -> PinnedTable:
    """A feature table of (asset, event and created timestamp in hours after T0)."""
    data = [(asset, T0 + event * HOUR, T0 + created * HOUR) for asset, event, created in rows]
    schema = {"asset": pl.String(), "event_timestamp": INSTANT, "created_timestamp": INSTANT}
    frame = pl.DataFrame(data, schema=schema, orient="row").with_row_index(ROW)
    return PinnedTable(
        name, "/nowhere", TableVersion(0, None), frame.lazy(), "", (ttl or 0) * HOUR or None, window * HOUR
    )


def plan_of(tables: dict[str, PinnedTable], *, created_by_label_time: bool = False) -> Plan:
    """A plan with one feature of each table."""
    features = tuple(Feature(f"{name}:x", name, "x", f"{name}__x", {}) for name in tables)
    return Plan(features, tables, created_by_label_time, None, LOCAL)


def labelled_at(*rows: tuple[str, int]) -> pl.DataFrame:
    """(asset, hours after T0)."""
    data = [(asset, T0 + hour * HOUR) for asset, hour in rows]
    return pl.DataFrame(data, schema={"asset": pl.String(), "event_timestamp": INSTANT}, orient="row")


def used(rows: list[Row], asset: str, at: int, ttl: int | None, *, by_created: bool) -> int | None:
    """The event timestamp of the newest row known at `at`, found by a search through all of them."""
    known = [
        event for name, event, created in rows if name == asset and event <= at and (not by_created or created <= at)
    ]
    newest = max(known, default=None)
    return None if newest is None or (ttl and at - newest > ttl) else newest


def test_a_label_that_looks_into_old_features_of_a_test_row_is_purged() -> None:
    """Its label ends after four hours; ten hours later the window from hour two to three is still the newest."""
    labels = labelled_at(("a", 0), ("a", 10))
    label_end = labels["event_timestamp"] + 4 * HOUR
    spec = SplitSpec("time", shares=(0.5, 0, 0.5))
    purged = {}
    for ttl in (None, 7, 6):
        began = features_began(labels, plan_of({"v": table("v", [("a", 3, 3)], window=1, ttl=ttl)}))
        made = split(labels, spec, label_end=label_end, window=HOUR, began=began)
        purged[ttl] = (made.purged["train"], made.purged_for_age["train"])
    assert purged == {None: (1, 1), 7: (1, 1), 6: (0, 0)}


FEATURE_ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 8)).map(
        lambda row: (row[0], row[1], sum(row[1:]))
    ),
    max_size=8,
)
VIEWS = st.lists(st.tuples(FEATURE_ROWS, st.integers(1, 5), st.none() | st.integers(1, 20)), min_size=1, max_size=2)


@settings(max_examples=30)
@given(
    views=VIEWS,
    labelled=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), min_size=6, max_size=20, unique=True),
    horizon=st.integers(0, 8),
    by_created=st.booleans(),
)
def test_no_kept_label_looks_into_the_windows_of_a_later_row_of_another_split(
    *,
    views: list[tuple[list[Row], int, int | None]],
    labelled: list[tuple[str, int]],
    horizon: int,
    by_created: bool,
) -> None:
    """This holds for windows of any age; no pair of splits shares a feature row either."""
    labels = labelled_at(*labelled)
    tables = {str(n): table(str(n), rows, window=w, ttl=ttl) for n, (rows, w, ttl) in enumerate(views)}
    began = features_began(labels, plan_of(tables, created_by_label_time=by_created))
    served = [
        [(used(rows, asset, at, ttl, by_created=by_created), window) for rows, window, ttl in views]
        for asset, at in labelled
    ]
    starts = [min((end - window for end, window in each if end is not None), default=None) for each in served]
    assert began.to_list() == [None if start is None else T0 + start * HOUR for start in starts]
    label_end = labels["event_timestamp"] + horizon * HOUR
    longest = max(window for _, window, _ in views) * HOUR
    made = split(labels, SplitSpec("time", shares=(0.5, 0.2, 0.3)), label_end=label_end, window=longest, began=began)
    rows = list(zip(labelled, made.names, starts, served, strict=True))
    for (one, early), its, _, ours in rows:
        for (other, late), theirs, start, others in rows:
            if one == other and early < late and its and theirs and its != theirs:
                assert start is None or early + horizon <= start
                assert all(mine[0] is None or mine != other_ for mine, other_ in zip(ours, others, strict=True))
