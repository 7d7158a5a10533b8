"""`penstock size`: estimates from the plant file, with the costs that the benchmarks have measured."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ByteSize

from benchmarks.results import read_results
from bridge.run.sizing import INFLUX, LAKE, Costs, PlantSize, size_of, spool_rate
from bridge.simulator.plant import write_plant
from historian.plant.load import load_plant
from historian.plant.model import SpoolBounds
from historian.plant.plant import Plant
from tests.commands import record_of

SECOND = timedelta(seconds=1)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """The simulated plant: two channels of 25.6 kHz and three tags by OPC UA, one tag polled by Modbus."""
    write_plant(tmp_path, host="127.0.0.1", opcua_port=4840, modbus_port=1502)
    return load_plant(tmp_path)


def sized(plant: Plant, *, duty: float = 1, bits: int = 32) -> PlantSize:
    """The estimate with a process value a second."""
    return size_of(plant, duty=duty, bits=bits, process_every=SECOND)


def test_each_asset_has_its_samples_and_bytes(plant: Plant) -> None:
    """Worked out by hand: continuous float32 vibration, OPC UA sampled as configured, Modbus polled as configured."""
    (asset,) = sized(plant).assets
    assert (asset.asset, asset.channels) == ("c101", 2)
    rates = [tag.sample_rate for tag in plant.tags.values() if tag.sample_rate]
    other = asset.samples_per_s - sum(rates)
    assert 0 < other < 100
    assert asset.store_bytes_per_s == pytest.approx(sum(rates) * LAKE.waveform_bytes + other * LAKE.sample_bytes)
    assert asset.gb_per_year == pytest.approx(asset.store_bytes_per_s * 365 * 86_400 / 1e9)


def test_bursts_and_counts_take_less(plant: Plant) -> None:
    """A hundredth of the time, and half of the bits, of what vibration takes."""
    whole, part, counts = (sized(plant, **given) for given in ({}, {"duty": 0.01}, {"bits": 16}))
    assert part.cores == pytest.approx(whole.cores / 100)
    assert part.sources[0].hours_until_full > 50 * whole.sources[0].hours_until_full
    assert counts.assets[0].store_bytes_per_s == pytest.approx(whole.assets[0].store_bytes_per_s / 2, rel=0.01)


def test_influxdb_has_costs_of_its_own(plant: Plant) -> None:
    """It takes more bytes for the same samples."""
    influx = sized(replace(plant, store_url="influxdb://127.0.0.1:8086/north"))
    assert influx.assets[0].store_bytes_per_s > sized(plant).assets[0].store_bytes_per_s


def test_tags_without_a_live_source_bring_nothing(plant: Plant) -> None:
    """Only an archive has them."""
    assert sized(replace(plant, sources={})).assets[0].samples_per_s == 0


@pytest.mark.parametrize(("costs", "store"), [(LAKE, "lake"), (INFLUX, "influx")])
def test_costs_are_those_that_were_measured(costs: Costs, store: str) -> None:
    """Within a tenth of the figures in benchmarks/results.json."""
    results = read_results()
    waveform = "lake_waveform_bytes_float32" if store == "lake" else "influx_waveform_bytes"
    measured = {
        "waveform_bytes": waveform,
        "sample_bytes": f"{store}_sample_bytes",
        "spool_sample_bytes": "spool_sample_bytes",
        "channels_per_core": f"channels_per_core_{store}",
    }
    for cost, figure in measured.items():
        low, high = results[figure].value
        assert low * 0.9 <= getattr(costs, cost) <= high * 1.1, figure
    assert costs.spool_waveform_bytes / 4 == pytest.approx(results["spool_waveform_overhead_float32"].value[1], rel=0.1)


def test_the_spool_lasts_as_long_as_its_bounds_say(plant: Plant) -> None:
    """The smaller of bytes and age; what the bridge expects of a source is what the estimate says."""
    narrow = SpoolBounds(max_size=ByteSize(1 << 30), max_age=timedelta(minutes=30))
    whole, part = sized(plant), sized(replace(plant, spool=narrow))
    assert part.sources[0].hours_until_full == 0.5
    assert whole.sources[0].hours_until_full == pytest.approx((8 << 30) / whole.sources[0].spool_bytes_per_s / 3600)
    expected = [spool_rate(connection) for connection in plant.sources.values()]
    assert expected == [each.spool_bytes_per_s for each in whole.sources]


def test_the_command_prints_what_it_found(plant: Plant) -> None:
    """One JSON object; without --json, a line an asset."""
    record = record_of("size", "--plant", plant.root, "--duty", "0.5", "--bits", "16")
    assert [each["asset"] for each in record["assets"]] == ["c101"]
    assert {each["source"] for each in record["sources"]} == set(plant.sources)
    assert record["cores"] == pytest.approx(0.5 * 2 * 25_600 / 25_600 / LAKE.channels_per_core)
