"""Random repositories queried through Feast, with every answer compared with all pairs of label and row.

Several views at once over files, directories and Delta tables: by one key, by two, by none, and one twice by a join-key
map. Ties, repeats, late corrections, rows and labels without key or time, values that are missing, ages of exactly a
ttl, times in any zone and unit, empty sides, both created modes, joins too large for their memory. What is expected
comes from the numbers the tables are made of: neither the join nor any code of times or files has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Float64, Int64, String

from features.feast.offline.point_in_time import CREATED, EVENT, ROW
from tests.features.feast.offline.test_point_in_time import expected_rows

Ticks = npt.NDArray[np.int64]
START: Final = datetime(2026, 3, 29, tzinfo=UTC)  # the clocks of Berlin go forward an hour later
NONE: Final = -(2**40)
"""A key or a time that is missing."""
MACHINE: Final = Entity(name="machine", join_keys=["machine"], value_type=ValueType.STRING)
LINE: Final = Entity(name="line", join_keys=["line"], value_type=ValueType.INT64)
KEYS: Final = {"by_machine": ("machine",), "by_line": ("line",), "by_both": ("machine", "line"), "plant": ()}
JOIN_KEYS: Final = {
    **{name: dict(zip(keys, keys, strict=True)) for name, keys in KEYS.items()},
    "by_twin": {"twin": "machine"},
}
"""Name in the answer -> label column -> key of the view."""
ZONES: Final = [None, "UTC", "Europe/Berlin", "Asia/Kolkata"]
STEPS: Final = {"us": timedelta(microseconds=1), "ms": timedelta(milliseconds=1), "s": timedelta(hours=1)}


@dataclass(frozen=True)
class Rows:
    """The rows of a view: keys from 0, times in ticks after START, `NONE` where there is none."""

    keys: Mapping[str, Ticks]
    event: Ticks
    created: Ticks | None
    """None where the source does not say."""
    missing: npt.NDArray[np.bool_]
    """Where the feature has no value."""
    ttl: int | None
    """Ticks."""


@dataclass(frozen=True)
class Labels:
    """Keys by label column, and times in ticks."""

    keys: Mapping[str, Ticks]
    time: Ticks


def with_gaps(random: np.random.Generator, values: Ticks, share: float = 0.05) -> Ticks:
    """The values, some of them missing."""
    return np.where(random.random(len(values)) < share, NONE, values)


def rows(random: np.random.Generator, keys: tuple[str, ...]) -> Rows:
    """Up to 400 rows with few times, so that many share one, and with few or many keys; sometimes none."""
    kinds = int(random.choice([5, 150]))
    size, span = int(random.choice([0, 1, 50, 400], p=[0.05, 0.05, 0.3, 0.6])), int(random.choice([1, 10, 100]))
    event = random.integers(0, span, size)
    created = with_gaps(random, event + random.integers(-3, 1 + span // 2, size))
    return Rows(
        keys={key: with_gaps(random, random.integers(0, kinds, size)) for key in keys},
        event=with_gaps(random, event),
        created=created if random.random() < 0.8 else None,
        missing=random.random(size) < 0.1,
        ttl=[None, 0, 1, 7, 10**6][random.integers(5)],
    )


def distinguishable(of: Rows) -> Rows:
    """Drops rows that differ only in their value, as the files of a Delta table have no order to rank them by."""
    created = np.zeros(len(of.event)) if of.created is None else of.created
    _, first = np.unique(np.stack([*of.keys.values(), of.event, created]), axis=1, return_index=True)
    kept = np.sort(first)
    return Rows(
        keys={key: values[kept] for key, values in of.keys.items()},
        event=of.event[kept],
        created=None if of.created is None else of.created[kept],
        missing=of.missing[kept],
        ttl=of.ttl,
    )


def labels(random: np.random.Generator, size: int) -> Labels:
    """Labels in no order, with known and unknown keys, some before the first row and some after the last."""
    most = np.where(random.random(size) < 0.5, 6, 160)  # half of them have keys of few rows
    keys = {key: with_gaps(random, random.integers(0, most)) for key in ("machine", "line", "twin")}
    first, last = [(-5, 130), (8, 60), (2, 12)][random.integers(3)]
    return Labels(keys, with_gaps(random, random.integers(first, last, size)))


def serving(entity_rows: Labels, of: Rows, keys: Mapping[str, str], *, by_created: bool) -> Ticks:
    """For each label the number of the row that serves it, -1 without one: all pairs are looked at.

    Of rows that may serve, the last by event timestamp, by created timestamp, and by place in the table.
    """
    age = entity_rows.time[:, None] - of.event
    may = (age >= 0) & (of.event != NONE)
    for column, key in keys.items():
        may &= (entity_rows.keys[column][:, None] == of.keys[key]) & (of.keys[key] != NONE)
    if of.ttl:
        may &= age <= of.ttl
    created = np.full(len(of.event), NONE) if of.created is None else of.created
    if by_created and of.created is not None:
        may &= (created <= entity_rows.time[:, None]) & (created != NONE)
    ranked = np.append(np.lexsort((created, of.event)), [-1])
    rank = np.argsort(ranked[:-1])
    best: Ticks = ranked[np.where(may, rank, -1).max(axis=1, initial=-1)]
    return best


@pytest.mark.parametrize("by_created", [False, True])
def test_what_is_expected_is_what_the_definition_says(*, by_created: bool) -> None:
    """Comparing all pairs at once and trying the rows one by one in plain Python select the same rows."""

    def instant(tick: int) -> datetime | None:
        return None if tick == NONE else START + timedelta(seconds=int(tick))

    found = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        entity_rows, keys = labels(random, 20), JOIN_KEYS[list(JOIN_KEYS)[seed % len(JOIN_KEYS)]]
        of = rows(random, tuple(keys.values()))
        created = np.full(len(of.event), NONE) if of.created is None else of.created
        lines = [
            {EVENT: instant(of.event[n]), CREATED: instant(created[n]), ROW: n}
            | {column: None if of.keys[key][n] == NONE else int(of.keys[key][n]) for column, key in keys.items()}
            for n in range(len(of.event))
        ]
        tried = [
            {EVENT: instant(entity_rows.time[n])} | {column: int(entity_rows.keys[column][n]) for column in keys}
            for n in range(20)
        ]
        ttl = None if of.ttl is None else timedelta(seconds=of.ttl)
        then = by_created and of.created is not None
        expected = expected_rows(tried, lines, list(keys), ttl=ttl, by_created=then)
        assert serving(entity_rows, of, keys, by_created=by_created).tolist() == [
            -1 if n is None else n for n in expected
        ]
        found += sum(n is not None for n in expected)
    assert found > 200


def instants(random: np.random.Generator, ticks: Ticks, step: str, *, delta: bool = False) -> pl.Series:
    """Times as a file or a frame may hold them, in a unit the step fits into."""
    since = pl.Series([None if tick == NONE else START + int(tick) * STEPS[step] for tick in ticks.tolist()])
    times = since.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    zone = ZONES[random.integers(2 if delta else len(ZONES))]
    times = times.dt.convert_time_zone(zone) if zone else times.dt.replace_time_zone(None)
    return times.dt.cast_time_unit(
        "us" if delta else random.choice(["us", "ns"] if step == "us" else ["us", "ns", "ms"])
    )


def column(key: str, values: Ticks) -> pl.Series:
    """Keys as they are stored: lines are numbers, machines and twins are text."""
    known = pl.Series(key, values).set(pl.Series(values == NONE), None)
    return known if key == "line" else "m" + known.cast(pl.String)


def source(random: np.random.Generator, path: Path, of: Rows, step: str, layout: str) -> FileSource:
    """Writes the rows as a file, a directory of files, or a Delta table of several commits."""
    frame = pl.DataFrame(
        {key: column(key, values) for key, values in of.keys.items()}
        | {"event_timestamp": instants(random, of.event, step, delta=layout == "delta")}
        | ({} if of.created is None else {"created": instants(random, of.created, step, delta=layout == "delta")})
        | {
            "n": np.arange(len(of.event)),
            "value": pl.Series(np.arange(len(of.event)) / 2).set(pl.Series(of.missing), None),
        }
    )
    parts = list(frame.iter_slices(max(1, frame.height // 3))) or [frame]
    if layout == "delta":
        for part in parts:
            write_deltalake(path, part, mode="append")
    elif layout == "directory":
        path.mkdir()
        for number, part in enumerate(parts):
            part.write_parquet(path / f"part-{number}.parquet")
    else:
        frame.write_parquet(path, row_group_size=100)
    return FileSource(
        path=path.name,
        file_format=DeltaFormat() if layout == "delta" else None,
        timestamp_field="event_timestamp",
        created_timestamp_column="" if of.created is None else "created",
    )


def registered(
    random: np.random.Generator, path: Path, step: str, opened: Callable[..., FeatureStore]
) -> tuple[FeatureStore, dict[str, Rows]]:
    """A store with all views and the service `all`, and the rows of each; a third have next to no memory."""
    layouts = {name: str(random.choice(["file", "directory", "delta"])) for name in KEYS}
    drawn = {name: rows(random, keys) for name, keys in KEYS.items()}
    made = {name: distinguishable(of) if layouts[name] == "delta" else of for name, of in drawn.items()}
    fields = [Field(name="n", dtype=Int64), Field(name="value", dtype=Float64)]
    entities = {"machine": (MACHINE, String), "line": (LINE, Int64)}
    views = [
        FeatureView(
            name=name,
            entities=[entities[key][0] for key in KEYS[name]],
            ttl=None if of.ttl is None else of.ttl * STEPS[step],
            schema=[*(Field(name=key, dtype=entities[key][1]) for key in KEYS[name]), *fields],
            source=source(random, path / name, of, step, layouts[name]),
        )
        for name, of in made.items()
    ]
    twice = [views[0].with_name("by_machine"), views[0].with_name("by_twin").with_join_key_map({"machine": "twin"})]
    settings = {"memory_limit": "16KiB"} if random.random() < 1 / 3 else {}
    service = FeatureService(name="all", features=[*twice, *views[1:]])
    store = opened(MACHINE, LINE, *views, service, repo=path, **settings)
    return store, made | {"by_twin": made["by_machine"]}


def entity_df(random: np.random.Generator, entity_rows: Labels, step: str) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """The labels as a pandas, Polars or Arrow frame, each with a number."""
    frame = pl.DataFrame(
        {key: column(key, values) for key, values in entity_rows.keys.items()}
        | {"event_timestamp": instants(random, entity_rows.time, step), "order": np.arange(len(entity_rows.time))}
    )
    return [frame.to_pandas(), frame, frame.to_arrow()][random.integers(3)]


def differences(seed: int, size: int, path: Path, opened: Callable[..., FeatureStore]) -> tuple[int, int, int]:
    """Compares a random repository in both modes: how many answers were compared, lost and wrong."""
    random = np.random.default_rng(seed)
    step = str(random.choice(list(STEPS)))
    store, made = registered(random, path, step, opened)
    entity_rows = labels(random, size)
    compared = lost = wrong = 0
    for by_created in (False, True):
        job = store.get_historical_features(
            entity_df(random, entity_rows, step),
            store.get_feature_service("all"),
            full_feature_names=True,
            filter_by_created_timestamp=by_created,
        )
        found = pl.DataFrame(job.to_arrow())
        lost += int((found["order"].to_numpy() != np.arange(size)).sum()) if found.height == size else size
        for name, of in made.items():
            best = serving(entity_rows, of, JOIN_KEYS[name], by_created=by_created)
            held = np.append(np.where(of.missing, -1.0, np.arange(len(of.event)) / 2), [-1.0])
            right = found[f"{name}__n"].fill_null(-1).to_numpy() == best
            right &= found[f"{name}__value"].fill_null(-1.0).to_numpy() == held[best]
            compared += size
            wrong += int((~right).sum())
    return compared, lost, wrong


@pytest.mark.parametrize(("seed", "size"), [(0, 300), (5, 300), (3, 1), (4, 0)])
def test_every_answer_of_a_repository_is_right(
    tmp_path: Path, feast: Callable[..., FeatureStore], seed: int, size: int
) -> None:
    """Four repositories are compared, one of them without a label."""
    assert differences(seed, size, tmp_path, feast) == (size * 2 * len(JOIN_KEYS), 0, 0)


@pytest.mark.slow
def test_a_million_answers_through_feast_are_all_right(tmp_path: Path, feast: Callable[..., FeatureStore]) -> None:
    """15 repositories, 6,700 labels each, five views, both modes: none lost, none wrong."""
    total = np.zeros(3, np.int64)
    for seed in range(100, 115):
        directory = tmp_path / str(seed)
        directory.mkdir()
        total += differences(seed, 6_700, directory, feast)
    assert total.tolist() == [1_005_000, 0, 0]
