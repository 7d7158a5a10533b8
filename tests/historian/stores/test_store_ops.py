"""`penstock store init`, `status` and `copy` against real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from historian.errors import StoreError
from historian.samples import SCHEMA, SampleBatch, normalise
from historian.stores.copy import Copied, copy
from historian.stores.lake.store import LakeStore
from historian.stores.memory import MemoryStore
from historian.stores.open import open_url
from historian.waveforms.batch import WaveformBatch, waveform_batch
from historian.waveforms.encoding import HEADS, decode, encode
from tests.commands import record_of
from tests.servers import Server

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
PLANT = """
[site]
name = "north"

[historian]
url = "{url}"
token = "{token}"

[classes.pump.points]
flow = {{ kind = "process" }}

[assets.p1]
class = "pump"

[assets.p2]
class = "pump"

[archives.old]
driver = "files"
path = "*.csv"
layout = "long"
tags = "tags.csv"
"""


def samples(count: int = 1_000) -> SampleBatch:
    """Two tags with numbers, texts, Bad samples and awkward characters."""
    at = [T0 + timedelta(seconds=number) for number in range(count)]
    numbers = pl.DataFrame({"tag": "p1.flow", "timestamp": at, "value": range(count), "text": None, "quality": 0})
    texts = pl.DataFrame({"tag": "p2, état=x\\", "timestamp": at, "value": None, "text": 'a "b"\n', "quality": 0})
    bad = pl.DataFrame({"tag": "p2.flow", "timestamp": at, "value": None, "text": None, "quality": 0x80000000})
    return normalise(pl.concat([frame.cast(SCHEMA) for frame in (numbers, texts, bad)])).batch


def plant_at(directory: Path, url: str, token: str = "") -> Path:
    """A plant file with that store."""
    (directory / "plant.toml").write_text(PLANT.format(url=url, token=token))
    (directory / "tags.csv").write_text("tag,asset,point,address\np1.flow,p1,flow,x\n")
    return directory


def check_operations(plant: Path, url: str, token: str) -> None:
    """init twice, status of an empty and of a filled store."""
    assert (
        "was made; samples are kept for 52w"
        in record_of("store", "init", "--plant", plant, "--retention", "364d")["done"]
    )
    assert (
        "is there; samples are kept for 52w"
        in record_of("store", "init", "--plant", plant, "--retention", "364d")["done"]
    )
    assert record_of("store", "init", "--plant", plant)["done"].endswith("is there; samples are kept for ever")
    empty = record_of("store", "status", "--plant", plant)
    assert empty["newest"] == {"p1": None, "p2": None}
    store = open_url(url, token)
    store.write(samples(), source="s", now=NOW)
    full = record_of("store", "status", "--plant", plant)
    assert full["newest"] == {"p1": "2026-03-01T00:16:39Z", "p2": None}
    assert full["version"][0] in "12"
    assert full["disk_bytes"] >= 0
    within = ["--start", "2026-03-01T00:00:00Z", "--end", "2026-03-01T01:00:00Z", "--longer-than", "30m"]
    gap = {"tag": "p1.flow", "after": "2026-03-01T00:16:39Z", "before": "2026-03-01T01:00:00Z"}
    assert record_of("store", "gaps", "--plant", plant, *within)["gaps"] == [gap]
    store.close()  # type: ignore[attr-defined]  # an InfluxStore


def test_operations_on_influxdb_1(tmp_path: Path, influx1_server: Server) -> None:
    """Three tags are three series, plus one for the ledger of a source."""
    url = f"influxdb://127.0.0.1:{influx1_server.port}/ops"
    check_operations(plant_at(tmp_path, url), url, "")
    assert record_of("store", "status", "--plant", tmp_path)["series"] == 4
    assert "ops" in record_of("store", "status", "--plant", tmp_path)["databases"]


@pytest.mark.influxdb2
def test_operations_on_influxdb_2(tmp_path: Path, influx2_server: Server) -> None:
    """The bucket, its retention and its InfluxQL mapping are created."""
    url = f"influxdb://127.0.0.1:{influx2_server.port}/north?bucket=ops"
    check_operations(plant_at(tmp_path, url, "secret"), url, "secret")
    assert "ops" in record_of("store", "status", "--plant", tmp_path)["buckets"]


def test_operations_on_the_lake(tmp_path: Path) -> None:
    """A directory needs no initialisation, and has a size."""
    plant = plant_at(tmp_path, f"file://{tmp_path}/lake")
    assert record_of("store", "init", "--plant", plant)["done"].endswith("lake is there")
    assert record_of("store", "status", "--plant", plant)["rows_on_disk"] == 0
    LakeStore(tmp_path / "lake").write(samples(10), source="s", now=NOW)
    status = record_of("store", "status", "--plant", plant)
    assert (status["rows_on_disk"], status["files"], status["newest"]["p1"]) == (30, 1, "2026-03-01T00:00:09Z")


def test_a_copy_there_and_back_changes_nothing(tmp_path: Path, influx1_server: Server) -> None:
    """Samples go from a lake to InfluxDB and on to another lake; a second run only compares."""
    made = record_of(
        "store", "init", "--plant", plant_at(tmp_path, f"influxdb://127.0.0.1:{influx1_server.port}/copied")
    )
    assert made["done"].startswith("database copied was made")
    first, url, second = f"file://{tmp_path}/first", made["store"], f"file://{tmp_path}/second"
    LakeStore(tmp_path / "first").write(samples(), source="s", now=NOW)
    assert record_of("store", "copy", first, url, "--dry-run") == {"tags": 3, "samples": 3_000, "dry_run": True}
    assert record_of("store", "copy", first, url) == {"tags": 3, "samples": 3_000, "written": 3_000, "pages": 1}
    assert record_of("store", "copy", first, url)["written"] == 0
    assert record_of("store", "copy", url, second)["written"] == 3_000
    found = pl.concat(LakeStore(tmp_path / "second").read(["p1.flow", "p2, état=x\\", "p2.flow"], *EVER))
    assert_frame_equal(found, samples())


def test_an_interrupted_copy_resumes_at_the_first_page_that_differs() -> None:
    """Pages that were copied are not written again."""
    source, target = MemoryStore(page_rows=300), MemoryStore()
    source.write(samples(), source="s", now=NOW)
    tags = ["p1.flow", "p2, état=x\\", "p2.flow"]
    for page in list(source.read(tags, *EVER))[:4]:
        target.write(page, source="copy", now=NOW)
    counted: list[int] = []
    done = copy(source, target, tags, now=NOW, advance=counted.append)
    assert done == Copied(samples=3_000, written=1_800, pages=10)
    assert sum(counted) == 3_000


def test_waveforms_are_copied_whatever_the_stretches_in_the_target(tmp_path: Path) -> None:
    """Pages cut stretches, and a compacted lake has joined them: a second copy, with other pages, only compares."""
    source, lake = MemoryStore(page_rows=40_000), LakeStore(tmp_path, page_rows=70_000)
    values = np.random.default_rng(1).normal(size=100_000)
    values[50] = np.nan
    for tag, rate in (("a", 25_600.0), ("b", 25_600 / 3)):
        head = pl.DataFrame([(tag, T0, rate, len(values), 7)], schema=HEADS, orient="row")
        source.write_waveforms(waveform_batch(encode(head, values)), source="s", now=NOW)
    done = copy(source, lake, ["a", "b"], now=NOW, advance=lambda _: None)
    assert (done.samples, done.written) == (200_000, 200_000)
    assert done.pages >= 5
    lake.compact()
    assert copy(source, lake, ["a", "b"], now=NOW, advance=lambda _: None).written == 0
    assert copy(lake, source, ["a", "b"], now=NOW, advance=lambda _: None).written == 0
    assert record_of("store", "copy", f"file://{tmp_path}", f"file://{tmp_path}/x", "--dry-run")["samples"] == 200_000


class LossyStore(MemoryStore):
    """A store that accepts everything, keeps only Good samples, and changes one bit of each stretch."""

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """Loses Bad samples."""
        super().write(SampleBatch(batch.filter(pl.col("quality") == 0)), source=source, now=now)

    def write_waveforms(self, batch: WaveformBatch, *, source: str, now: datetime) -> None:
        """Negates zeros."""
        other = encode(batch.select(HEADS.names()), -decode(batch).values)
        super().write_waveforms(waveform_batch(other), source=source, now=now)


def test_a_target_that_loses_samples_is_detected() -> None:
    """The copy stops with an error."""
    source = MemoryStore()
    source.write(samples(), source="s", now=NOW)
    with pytest.raises(StoreError, match="returns other samples than were written to it, from 2026-03-01"):
        copy(source, LossyStore(), ["p1.flow", "p2.flow"], now=NOW, advance=lambda _: None)


def test_a_target_that_changes_a_bit_of_a_stretch_is_detected() -> None:
    """Minus zero is not zero."""
    source, head = MemoryStore(), pl.DataFrame([("a", T0, 1000.0, 2, 0)], schema=HEADS, orient="row")
    source.write_waveforms(waveform_batch(encode(head, np.zeros(2))), source="s", now=NOW)
    with pytest.raises(StoreError, match="returns other samples than were written to it, from 2026-03-01"):
        copy(source, LossyStore(), ["a"], now=NOW, advance=lambda _: None)
