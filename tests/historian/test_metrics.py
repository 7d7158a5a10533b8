"""The status as OpenMetrics, parsed again by Prometheus' own client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from historian.metrics import openmetrics
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.status import TAGS, SinkStatus, SourceStatus, StatusFile
from tests.one_pump import write_pump

NOW = datetime(2026, 3, 1, tzinfo=UTC)
parsed: Callable[[str], Iterable[Metric]] = text_string_to_metric_families


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A plant with one source of two tags, and no bridge yet."""
    write_pump(tmp_path)
    file, tags = tmp_path / "plant.toml", tmp_path / "live.csv"
    file.write_text(file.read_text().replace("[assets.p1]", 'pressure = { kind = "process" }\n[assets.p1]'))
    tags.write_text(f"{tags.read_text()}p1.p,p1,pressure,ns=2;s=P\n")
    return load_plant(tmp_path)


def samples_of(plant: Plant, now: datetime = NOW) -> dict[tuple[str, str], float]:
    """(metric, label) -> value, as Prometheus would store them."""
    families = parsed(openmetrics(plant, StatusFile(plant.state), now=now))
    return {(s.name, "".join(s.labels.values())): s.value for family in families for s in family.samples}


def test_what_the_bridge_reports_becomes_metrics(plant: Plant) -> None:
    """Base units; what is unknown is left out; an asset has its newest sample, and that of the tag furthest behind."""
    source = SourceStatus("line1", "connected", NOW, NOW, 3, NOW - timedelta(seconds=2), samples=1200, waiting=7)
    sink = SinkStatus("store", "throttled", NOW, 1100)
    rows = [
        ("p1.t", "line1", NOW, timedelta(milliseconds=1500)),
        ("p1.p", "line1", NOW - timedelta(minutes=1), None),
        ("gone", "line1", NOW, None),
    ]
    StatusFile(plant.state).write([source], [sink], pl.DataFrame(rows, schema=TAGS, orient="row"))

    found = samples_of(plant)

    seconds = NOW.timestamp()
    assert found["penstock_source_connected", "line1"] == 1
    assert found["penstock_source_last_heard_timestamp_seconds", "line1"] == seconds - 2
    assert found["penstock_source_connections_total", "line1"] == 3
    assert found["penstock_source_samples_total", "line1"] == 1200
    assert found["penstock_source_spool_samples", "line1"] == 7
    assert found["penstock_source_spool_full", "line1"] == 0
    assert found["penstock_sink_ok", "store"] == 0
    assert ("penstock_sink_last_write_timestamp_seconds", "store") not in found
    assert found["penstock_asset_newest_timestamp_seconds", "p1"] == seconds
    assert found["penstock_asset_oldest_timestamp_seconds", "p1"] == seconds - 60
    assert found["penstock_asset_lag_seconds", "p1"] == 1.5
    assert {labels[1] for labels in found if labels[0].startswith("penstock_asset")} == {"p1"}


def test_a_bridge_that_reports_no_longer_is_not_connected(plant: Plant) -> None:
    """Whatever it last wrote: the process may have been killed."""
    StatusFile(plant.state).write([SourceStatus("line1", "connected", NOW, NOW)], [])

    assert samples_of(plant, NOW + timedelta(seconds=16))["penstock_source_connected", "line1"] == 0


def test_there_are_no_metrics_before_the_first_run(plant: Plant) -> None:
    """And no zeros that an alert would take for a measurement."""
    assert samples_of(plant) == {}
