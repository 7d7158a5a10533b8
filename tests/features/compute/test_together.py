"""Assets of the same time are computed together: the rows are those of each alone, and the store is asked once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from features.compute.engines.groups import grouped
from features.compute.partition import Partition, compute_partitions
from features.compute.run import ViewJob, compute
from features.compute.splitting import Budget
from features.define.point_plan import resolve_point
from features.tables.feature_table import table_path
from features.windows.tiling import EndRange
from historian.plant.plant import View
from historian.quality import BAD
from historian.samples import SampleBatch
from historian.stores.memory import MemoryStore
from tests.features.compute.pumps import BURST, EPOCH, NOW, PROCESS, at, plant, signal, write

WHOLE = Budget(10**9, 10**9)


class Counted:
    """A store that counts the calls of its methods."""

    def __init__(self) -> None:
        self.store, self.calls = MemoryStore(), Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self.store, name)


def fill(store: MemoryStore) -> None:
    """Points with gaps, Bad samples, a lost value, other times and none at all, which differ from asset to asset."""
    for tag, begun, seconds in (("p1.de_h", 0, 4), ("p2.de_h", 0.5, 1.25), ("p2.de_h", 2.5, 2), ("p2.nde_h", 1, 2)):
        write(store, signal(tag, begun, seconds), now=NOW)
    write(store, signal("p2.nde_h", 3, 1, quality=BAD), now=NOW)
    lost = pl.when(pl.int_range(pl.len()) != 10).then("value")
    write(store, SampleBatch(signal("p2.nde_h", 4.5, 2).with_columns(value=lost)), now=NOW)
    for tag, begun in (("p1.oil_temp", 0), ("p2.oil_temp", 5), ("p2.pressure", 0)):
        write(store, signal(tag, begun, 30, period=1.5), now=NOW)


@pytest.mark.parametrize("page_rows", [700, 10**6])
@pytest.mark.parametrize("view", [EPOCH, BURST, PROCESS], ids=lambda view: view.name)
def test_assets_together_have_the_rows_of_each_alone(tmp_path: Path, view: View, page_rows: int) -> None:
    """Whatever points and windows each has, and wherever pages end."""
    store = MemoryStore(page_rows=page_rows)
    fill(store)
    partitions = ViewJob(plant(tmp_path, view), view, store, at(NOW)).plan(WHOLE).partitions
    assert [part.plan.asset for part in partitions] == ["p1", "p2"]
    alone = [compute_partitions(store, [each]) for each in partitions]
    together = compute_partitions(store, partitions)
    expected = pl.concat([each.rows for each in alone], how="diagonal")
    assert_frame_equal(together.rows.sort("asset", "event_timestamp"), expected, check_column_order=False)
    assert together.covered == [*alone[0].covered, *alone[1].covered]
    assert together[2:] == tuple(map(sum, zip(*(each[2:] for each in alone), strict=True)))
    assert together.rows.height > 6


def test_more_assets_need_no_more_calls_and_commits(tmp_path: Path) -> None:
    """A round of one asset and a round of two read the store equally often, and commit once."""
    store, site = Counted(), plant(tmp_path, EPOCH)
    found = []
    for begun, tags in ((0, ["p1.de_h", "p2.de_h"]), (2, ["p1.de_h"]), (4, ["p1.de_h", "p2.de_h"])):
        for tag in tags:
            write(store.store, signal(tag, begun, 2), now=NOW)
        store.calls.clear()
        compute(site, store, at(NOW))
        found.append((dict(store.calls), DeltaTable(table_path(site, EPOCH.name)).version()))
    assert found[1][0] == found[2][0]
    assert [version for _, version in found] == [1, 2, 3]


def test_a_group_has_no_asset_twice(tmp_path: Path) -> None:
    """What is read for one would otherwise count for the other; far times are apart, too."""
    store = MemoryStore()
    fill(store)
    one, two = ViewJob(plant(tmp_path, EPOCH), EPOCH, store, at(NOW)).plan(WHOLE).partitions
    far = Partition(two.plan, EndRange(*(each + 60_000_000 for each in two.wanted)), two.ready, 0)
    large = Partition(two.plan, two.wanted, two.ready, 3_000_000)
    assert list(grouped([one, two])) == [[one, two]]
    assert list(grouped([one, one, two])) == [[one], [one, two]]
    assert list(grouped([one, far])) == [[one], [far]]
    assert list(grouped([one, large])) == [[one], [large]]
    assert list(grouped([])) == []


@pytest.mark.parametrize("facts", [{"changed": frozenset({"range"})}, {"range": (-1.0, 1.0)}], ids=["changing", "own"])
def test_a_group_has_one_plan_for_a_point(tmp_path: Path, facts: dict[str, Any]) -> None:
    """Windows in which a fact changes, and an asset with a range of its own, are computed apart."""
    store = MemoryStore()
    fill(store)
    one, two = ViewJob(plant(tmp_path, EPOCH), EPOCH, store, at(NOW)).plan(WHOLE).partitions
    tag, *others = two.plan.tags
    if "range" in facts:
        point = tag.plan.point.model_copy(update=facts)
        facts = {"plan": resolve_point(tag.plan.settings, tag.plan.name, point)}
    other = replace(two, plan=replace(two.plan, tags=(replace(tag, **facts), *others)))
    assert list(grouped([one, other])) == [[one], [other]]
