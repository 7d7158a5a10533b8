"""Each window uses the facts that held in it: a replaced bearing, another tag, a corrected date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings

from features.compute.engines.processes import in_process
from features.compute.partition import compute_partitions
from features.compute.plan import Planner
from features.compute.run import ViewReport, plan_views, run_views
from features.compute.splitting import budget
from features.compute.verify import verify
from features.define.view_plan import view_plan
from features.tables.feature_table import FeatureTable
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.samples import normalise
from historian.stores.memory import MemoryStore
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.packing import pack
from tests.features.stretches import packed, raw

DAY: Final = datetime(2026, 3, 1, tzinfo=UTC)
NOW: Final = datetime(2026, 3, 10, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
OLD, NEW = (9, 7.94, 39.04), (13, 9.5, 65.0)
"""Balls, ball diameter and pitch diameter of two bearings."""
TAGS: Final = "tag,asset,point,address\nx1.de,x1,de,de\n"
PLANT: Final = """
[site]
name = "b"
{site}
[classes.m.points]
de = {{ kind = "vibration", unit = "g", sample_rate = {rate} }}
[classes.m.features]
env = {{ window = "1s", align = "{align}", points = ["de"], features = ["envelope"] }}
tim = {{ window = "1s", align = "{align}", points = ["de"], features = ["time"] }}
[assets.x1]
class = "m"
speed_rpm = {rpm}
{facts}
[archives.h]
driver = "files"
path = "h/*.parquet"
layout = "waveform"
tags = "h.csv"
"""


def plant_of(directory: Path, facts: str, *, tags: str = TAGS, **other: object) -> Plant:
    """A machine with these facts."""
    usual: dict[str, object] = {"align": "burst", "rate": 25_600, "rpm": 1800, "site": ""}
    (directory / "plant.toml").write_text(PLANT.format(facts=facts, **{**usual, **other}))
    (directory / "h.csv").write_text(tags)
    return load_plant(directory)


def bearing(balls: int, ball: float, pitch: float) -> str:
    """A bearing as in the plant file."""
    return f"bearing = {{ balls = {balls}, ball_diameter = {ball}, pitch_diameter = {pitch} }}"


def changes(*facts: str) -> str:
    """Changes as in the plant file; each begins with its date."""
    return "\n".join(f"[[assets.x1.changes]]\nsince = {each}" for each in facts)


def burst(begin: datetime, geometry: tuple[float, float, float]) -> WaveformBatch:
    """A second of the bearing's outer-race fault at 1,800 rpm."""
    (count, ball, pitch), rate = geometry, 25_600
    time, fault = np.arange(rate) / rate, count / 2 * 30 * (1 - ball / pitch)
    since_impact = time * fault % 1 / fault
    noise = 0.1 * np.random.default_rng(0).standard_normal((4, rate))[3]
    values = noise + 2 * np.exp(-since_impact * 1500) * np.sin(2 * np.pi * 4000 * since_impact)
    return packed("x1.de", np.rint(micros(begin) + time * 1e6), values, rate)


def snr(plant: Plant) -> dict[datetime, float]:
    """Event timestamp -> signal-to-noise ratio of the outer race's line in the newest row."""
    rows = FeatureTable(plant, plant.views["m_env"]).scan().sort("created_timestamp").collect()
    newest = rows.unique("event_timestamp", keep="last").sort("event_timestamp")
    return dict(newest.select("event_timestamp", "de_ses_bpfo_snr").iter_rows())


def run(plant: Plant, store: MemoryStore, now: datetime, *, stale: bool = False) -> dict[str, ViewReport]:
    """One run of the job."""
    return run_views(plan_views(plant, store, lambda: now, [], budget(2**30, 1), recompute=stale), in_process(store))


def test_a_replaced_bearing_does_not_spoil_its_predecessors_history(tmp_path: Path) -> None:
    """Windows of either have the geometry of then; an undated edit is a correction, and stale where it is used."""
    store, second_day = MemoryStore(), DAY + timedelta(days=1)
    store.write_waveforms(burst(DAY, OLD), source="h", now=NOW)
    before = plant_of(tmp_path, bearing(*OLD))
    run(before, store, NOW)
    store.write_waveforms(burst(second_day, NEW), source="h", now=NOW + SECOND)
    replaced = plant_of(tmp_path, bearing(*OLD) + "\n" + changes(f"2026-03-02T00:00:00Z\n{bearing(*NEW)}"))
    reports = run(replaced, store, NOW + SECOND)
    assert {name: each.stale_assets for name, each in reports.items()} == {"m_env": [], "m_tim": []}
    first, second = snr(replaced).values()
    assert [first, second] == pytest.approx([175, 199], abs=1)
    assert run(replaced, store, NOW + 2 * SECOND, stale=True)["m_env"].feature_rows == 0
    assert verify(replaced, replaced.views["m_env"], store, NOW + 2 * SECOND, rows=9, seed=1).match == 2

    corrected = plant_of(tmp_path, bearing(*NEW))
    assert FeatureTable(corrected, corrected.views["m_env"]).stale_assets == ["x1"]
    assert FeatureTable(corrected, corrected.views["m_tim"]).stale_assets == []
    reports = run(corrected, store, NOW + 3 * SECOND, stale=True)
    assert (reports["m_env"].feature_rows, reports["m_tim"].feature_rows) == (1, 0)
    assert list(snr(corrected).values()) == [pytest.approx(1.4, rel=0.5), second]


def test_rows_of_a_time_at_which_no_tag_filled_the_point_are_withdrawn(tmp_path: Path) -> None:
    """The tag list says since when the tag has been there; what was computed of its samples of before was wrong."""
    store, days = MemoryStore(), [DAY, DAY + timedelta(days=1)]
    for each in days:
        store.write_waveforms(burst(each, OLD), source="h", now=NOW)
    run(plant_of(tmp_path, bearing(*OLD)), store, NOW)
    dated = plant_of(
        tmp_path, bearing(*OLD), tags=f"{TAGS[:-1].replace('address', 'address,since')},2026-03-02T00:00:00Z\n"
    )
    report = run(dated, store, NOW + SECOND, stale=True)["m_tim"]
    rows = FeatureTable(dated, dated.views["m_tim"]).scan().collect()
    assert (report.stale_assets, rows["event_timestamp"].unique().to_list()) == ([], [days[1] + SECOND])


def test_an_event_table_supplies_replacements(tmp_path: Path) -> None:
    """A row with facts is a change; the others are events of another kind."""
    (tmp_path / "events.csv").write_text(
        "asset,kind,happened_at,bearing.balls,bearing.ball_diameter,bearing.pitch_diameter,unknown\n"
        "x1,alarm,2026-03-01T12:00:00Z,,,,\n"
        "x1,bearing replaced,2026-03-02T00:00:00Z,13,9.5,65,\n"
        "x1,bearing replaced,2026-03-05T00:00:00Z,,,,bearing\n"
    )
    plant = plant_of(tmp_path, bearing(*OLD), site='replacements = "events.csv"')
    (asset,) = view_plan(plant, plant.views["m_env"]).assets
    balls = [each.plan.tags[0].bearing and each.plan.tags[0].bearing.balls for each in asset.eras]
    changed = [bool(each.plan.tags[0].changed) for each in asset.eras]
    assert list(zip(balls, changed, strict=True)) == [(9, False), (13, True), (13, False), (None, True), (None, False)]


RATE: Final = 8_000
SPAN: Final = 5
"""Seconds of signal."""


@pytest.fixture(scope="module")
def noise() -> MemoryStore:
    """Noise of two tags, the second with twice the amplitude."""
    store = MemoryStore(page_rows=10_000)
    times = micros(DAY) + np.arange(SPAN * RATE) * (1_000_000 // RATE)
    for number, tag in enumerate(("x1.de", "x1.new"), 1):
        values = number * np.random.default_rng(number).standard_normal(SPAN * RATE)
        store.write_waveforms(pack(raw(tag, times, values), {tag: RATE}).batch, source="h", now=NOW)
    return store


def computed(plant: Plant, store: MemoryStore, name: str, *, seconds: int = SPAN) -> pl.DataFrame:
    """All rows of a view, by the planner and the partitions it makes."""
    view = plant.views[name]
    newest = dict(store.latest(list(plant.tags)).select("tag", "timestamp").iter_rows())
    planner = Planner(store, view_plan(plant, view), newest, NOW, budget(2**30, 1))
    everything = pl.DataFrame({"asset": ["x1"], "after": [DAY], "until": [DAY + seconds * SECOND]})
    everything = everything.cast({"after": pl.Datetime("us", "UTC"), "until": pl.Datetime("us", "UTC")})
    parts = [compute_partitions(store, [each]).rows for each in planner.partitions(everything, store.changes(None))]
    return pl.concat(parts, how="diagonal").sort("event_timestamp")


BEARINGS: Final = (bearing(9, 7.94, 39.04), bearing(13, 9.5, 65))
BOTH: Final = "tag,asset,point,address,since\nx1.de,x1,de,a,\nx1.new,x1,de,b,{since}\n"


@given(
    bearing_ms=st.integers(-500, SPAN * 1000 + 500),
    speed_ms=st.integers(0, SPAN * 1000),
    tag_ms=st.integers(0, SPAN * 1000),
    align=st.sampled_from(["epoch", "burst"]),
)
@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_windows_with_dated_facts_are_those_of_the_plants_without_dates(
    bearing_ms: int,
    speed_ms: int,
    tag_ms: int,
    align: str,
    noise: MemoryStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Brute force: a row is that of the undated plant with the facts of its window, or lacks what changed in it."""
    at = [DAY + timedelta(milliseconds=ms) for ms in (bearing_ms, speed_ms, tag_ms)]
    dated = changes(f"{at[0].isoformat()}\n{BEARINGS[1]}", f"{at[1].isoformat()}\nspeed_rpm = 3000")
    if align == "burst":  # the new tag's first burst begins where it begins to fill the point, so that no row is shared
        at[2] = DAY - SECOND
    tags = BOTH.format(since=at[2].isoformat())
    here = tmp_path_factory.mktemp("plant")
    found = computed(plant_of(here, f"{BEARINGS[0]}\n{dated}", align=align, rate=RATE, tags=tags), noise, "m_env")
    plain: dict[tuple[bool, ...], pl.DataFrame] = {}
    for row in found.iter_rows(named=True):
        end, start = row["event_timestamp"], row["event_timestamp"] - SECOND
        inside = [start < instant < end for instant in at]
        facts = tuple(instant < end for instant in at)
        if facts not in plain:
            name = "x1.new" if facts[2] else "x1.de"
            others = {"align": align, "rate": RATE, "rpm": 3000 if facts[1] else 1800}
            one = f"tag,asset,point,address\n{name},x1,de,a\n"
            site = plant_of(here, BEARINGS[facts[0]], tags=one, **others)
            plain[facts] = computed(site, noise, "m_env")
        expected = plain[facts].filter(event_timestamp=end).row(0, named=True)
        if not any(inside):
            assert row == expected
            continue
        assert "changed" in row["de_reason"].split()
        assert row["de_valid"] == (not inside[2])
        assert row["de_rpm"] == (None if inside[1] else expected["de_rpm"])
        assert row["de_ses_mean"] == (None if inside[1] or inside[2] else expected["de_ses_mean"])
        assert row["de_ses_bpfo_amp"] is None


STATES: Final = """
[site]
name = "b"
[classes.m.points]
mode = { kind = "process", states = { off = 0, on = 1 }, max_staleness = "1h" }
[classes.m.features]
st = { window = "10s", points = ["mode"] }
[assets.x1]
class = "m"
CHANGES
[archives.h]
driver = "files"
path = "h/*.parquet"
layout = "long"
tags = "h.csv"
"""


@pytest.mark.parametrize(
    ("facts", "since"),
    [
        (
            "[[assets.x1.changes]]\nsince = 2026-03-01T00:00:25Z\npoints = { mode = { states = { off = 1, on = 0 } } }",
            "",
        ),
        ("", "2026-03-01T00:00:25Z"),
    ],
    ids=["states", "tag"],
)
def test_a_sample_from_before_a_change_of_its_meaning_does_not_hold_after_it(
    facts: str, since: str, tmp_path: Path
) -> None:
    """The number 1 means on, then off; or another tag fills the point: its value of before is not that of the point."""
    (tmp_path / "plant.toml").write_text(STATES.replace("CHANGES", facts))
    second = f"x1.new,x1,mode,b,{since}\n" if since else ""
    (tmp_path / "h.csv").write_text(f"tag,asset,point,address,since\nx1.old,x1,mode,a,\n{second}")
    store, plant = MemoryStore(), load_plant(tmp_path)
    times = micros(DAY) + np.array([1, 2, 46, 70]) * 1_000_000
    for tag in plant.tags:
        store.write(normalise(raw(tag, times, [1, 1, 1, 1])).batch, source="h", now=NOW)
    found = computed(plant, store, "m_st", seconds=60).with_columns(second=pl.col("event_timestamp").dt.second())
    held = {row["second"]: (row["mode_last_state"], row["mode_reason"]) for row in found.iter_rows(named=True)}
    changed = {} if since else {30: (None, "changed")}  # where only the old tag has samples, there is no window
    known = {10: ("on", None), 20: ("on", None), 50: (None, "stale"), 0: ("on" if since else "off", None)}
    assert held == {**known, **changed}
