"""`penstock status`: its output, and the exit code for monitoring."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from historian.cli.status import status, watched
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.status import SinkStatus, SourceStatus, StatusFile
from historian.times import utc_now
from tests.one_pump import write_pump


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A plant with one source."""
    write_pump(tmp_path)
    return tmp_path


def test_a_bridge_that_is_well(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0, and each source and sink has a line."""
    now = utc_now()
    source = SourceStatus(name="line1", state="connected", since=now, updated_at=now, connections=1, samples=1200)
    sink = SinkStatus(name="store", state="ok", updated_at=now, written=1200, last_write=now - timedelta(seconds=3))
    StatusFile(load_plant(plant).state).write([source], [sink])
    status(plant)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("source line1: connected since ")
    assert lines[0].endswith("1 connection(s), 1,200 samples, 0 quarantined")
    assert lines[1].startswith("sink store: ok, 1,200 samples written, last write ")
    assert lines[2] == "all is well"


def test_a_bridge_that_is_not_running(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 and the reason is printed, as text and as JSON."""
    with pytest.raises(typer.Exit) as ended:
        status(plant, as_json=True)
    assert ended.value.exit_code == 1
    record = json.loads(capsys.readouterr().out)
    assert record["well"] is False
    assert record["problems"] == ["source line1: never streamed; run penstock stream"]


def test_metrics_for_a_collector_of_text_files(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """OpenMetrics on standard output, complete to its last line."""
    now = utc_now()
    StatusFile(load_plant(plant).state).write([SourceStatus("line1", "connected", now, now)], [])
    status(plant, as_metrics=True)
    lines = capsys.readouterr().out.splitlines()
    assert 'penstock_source_connected{source="line1"} 1.0' in lines
    assert lines[-1] == "# EOF"


def test_watching_shows_the_state_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends it without an error."""
    texts = iter(["all is well", "not well"])
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    watched(lambda: next(texts), wait=wait)

    assert waits == [1.0, 1.0]
    assert "not well" in capsys.readouterr().out


def test_one_form_at_a_time(plant: Path) -> None:
    """Two forms of output exclude one another."""
    with pytest.raises(InvalidInput, match="exclude one another"):
        status(plant, as_json=True, watch=True)
