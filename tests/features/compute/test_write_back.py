"""`[historian] write_features`: feature values as samples of the store, once each, also after a correction."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from features.compute.run import compute
from historian.errors import ConfigError, StoreUnavailable
from historian.plant.plant import Plant
from historian.quality import BAD_NO_DATA
from historian.samples import SampleBatch
from historian.stores.memory import MemoryStore
from tests.features.compute.pumps import BURST, EPOCH, NOW, PROCESS, SECOND, START, at, newest, plant, signal, write

LATER = NOW + timedelta(days=1)


def writing(root: Path, *features: str) -> Plant:
    """The pumps, with features that are written to the store."""
    return replace(plant(root, EPOCH), write_features=features)


def written(store: MemoryStore, *tags: str) -> pl.DataFrame:
    """The samples of some tags."""
    return pl.concat([*store.read(tags, START, LATER)]).sort("tag", "timestamp")


def test_values_are_samples_at_the_end_of_their_window(tmp_path: Path) -> None:
    """One tag a feature, under the name of asset and point; a point without a tag has none."""
    site, store = writing(tmp_path, "rms_ac", "n"), MemoryStore()
    for tag in ("p1.de_h", "p2.de_h"):
        write(store, signal(tag, 0, 3), source="live", now=NOW)
    compute(site, store, at(NOW))
    rows = newest(site, EPOCH).filter(asset="p1")
    found = written(store, "p1.de_h.rms_ac")
    assert found["timestamp"].to_list() == rows["event_timestamp"].to_list()
    assert found["value"].to_list() == rows["de_h_rms_ac"].to_list()
    assert found["quality"].to_list() == [BAD_NO_DATA if value is None else 0 for value in rows["de_h_rms_ac"]]
    assert written(store, "p2.de_h.n")["value"].max() == 1000
    assert set(store.changes(None).filter(source="features")["tag"]) >= {"p1.de_h.n", "p2.de_h.rms_ac"}


def test_nothing_is_written_unless_it_is_named(tmp_path: Path) -> None:
    """The store stays as the bridge left it."""
    store = MemoryStore()
    write(store, signal("p1.de_h", 0, 3), source="live", now=NOW)
    compute(plant(tmp_path, EPOCH), store, at(NOW))
    assert store.changes(None)["source"].unique().to_list() == ["live"]


def test_a_second_run_writes_only_what_changed(tmp_path: Path) -> None:
    """A late sample corrects the values of its windows, and their samples with them."""
    site, store = writing(tmp_path, "p2p"), MemoryStore()
    write(store, signal("p1.de_h", 0, 3), source="live", now=NOW)
    compute(site, store, at(NOW))
    before, known = written(store, "p1.de_h.p2p"), store.changes(None)["ingested_at"].to_list()[-1]
    write(
        store, SampleBatch(signal("p1.de_h", 0, 1).with_columns(pl.col("value") * 3).tail(10)), source="live", now=LATER
    )
    compute(site, store, at(LATER))
    again = store.changes(known).filter(source="features")
    assert max(again["last"].to_list()) <= START + 2 * SECOND
    changed = written(store, "p1.de_h.p2p").filter(pl.col("value") != before["value"])
    assert changed["timestamp"].to_list() == [START + SECOND, START + 1.5 * SECOND]


class Dying(MemoryStore):
    """A store that takes a write of features and then fails, as if the process had been killed after it."""

    alive = False

    def write(self, batch: SampleBatch, *, source: str, now: object) -> None:
        """See `Sink.write`."""
        super().write(batch, source=source, now=NOW)
        if source == "features" and not self.alive:
            raise StoreUnavailable("killed")


def test_a_run_that_dies_after_the_write_repeats_it(tmp_path: Path) -> None:
    """No value is missing, none is there twice: the samples are written before the rows that they come from."""
    site, store = writing(tmp_path, "rms_ac"), Dying()
    write(store, signal("p1.de_h", 0, 3), source="live", now=NOW)
    with pytest.raises(StoreUnavailable):
        compute(site, store, at(NOW))
    assert newest(site, EPOCH).is_empty()
    store.alive = True
    compute(site, store, at(NOW))
    rows = newest(site, EPOCH).filter(asset="p1")
    found = written(store, "p1.de_h.rms_ac")
    assert found["value"].to_list() == rows["de_h_rms_ac"].to_list()
    assert found["timestamp"].is_unique().all()


def test_a_window_that_no_longer_exists_is_a_bad_sample(tmp_path: Path) -> None:
    """Its burst turns out to have begun earlier, so that its windows end at other times."""
    site = replace(plant(tmp_path, BURST), write_features=("rms_ac",))
    store = MemoryStore()
    write(store, signal("p1.de_h", 0.2, 0.5), source="live", now=NOW)
    compute(site, store, at(NOW))
    assert written(store, "p1.de_h.rms_ac").select("timestamp", "quality").rows() == [(START + 0.7 * SECOND, 0)]
    write(store, signal("p1.de_h", 0, 0.2), source="late", now=LATER)
    compute(site, store, at(LATER))
    assert newest(site, BURST)["event_timestamp"].to_list() == [START + 0.5 * SECOND]
    assert written(store, "p1.de_h.rms_ac").select("timestamp", "quality").rows() == [
        (START + 0.5 * SECOND, 0),
        (START + 0.7 * SECOND, BAD_NO_DATA),
    ]


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (lambda root: writing(root, "rms_as"), "no view computes 'rms_as'; did you mean rms_ac"),
        (
            lambda root: replace(plant(root, EPOCH, BURST), write_features=("rms_ac",)),
            "pump_epoch and pump_burst both compute rms_ac of de_h",
        ),
    ],
)
def test_what_cannot_be_written_is_an_error(tmp_path: Path, site: object, message: str) -> None:
    """Before anything is computed."""
    assert callable(site)
    with pytest.raises(ConfigError, match=message):
        compute(site(tmp_path), MemoryStore(), at(NOW))


def test_a_tag_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    """It is the plant's."""
    site = writing(tmp_path, "rms_ac")
    taken = replace(site.tags["p1.oil_temp"], name="p1.de_h.rms_ac")
    with pytest.raises(ConfigError, match=r"write to p1\.de_h\.rms_ac, which a tag list has"):
        compute(replace(site, tags={**site.tags, taken.name: taken}), MemoryStore(), at(NOW))


def test_process_features_are_written_too(tmp_path: Path) -> None:
    """Of any view."""
    site = replace(plant(tmp_path, PROCESS), write_features=("mean",))
    store = MemoryStore()
    write(store, signal("p1.oil_temp", 0, 30), source="live", now=NOW)
    compute(site, store, at(NOW))
    assert written(store, "p1.oil_temp.mean").height > 3
