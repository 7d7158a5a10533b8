"""`penstock values`: the newest value of each tag, as text and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.quality import BAD_TIMEOUT
from historian.samples import SCHEMA, sample_batch
from historian.stores.lake.store import LakeStore
from historian.stores.memory import MemoryStore
from historian.stores.newest import NewestValue, newest_values
from historian.stores.protocols import Sink
from historian.waveforms.batch import waveform_batch
from historian.waveforms.encoding import HEADS, encode

TESTS = Path(__file__).parents[2]
VALID = TESTS / "cases" / "plant" / "valid"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PENSTOCK = Path(sys.executable).with_name("penstock")


def fill(store: Sink, now: datetime) -> None:
    """A waveform, and a Bad sample without a value; the third tag has none."""
    rows = [("c101.state", now - timedelta(hours=5), None, None, BAD_TIMEOUT)]
    store.write(sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row")), source="s", now=now)
    head = {"tag": "c101.de_h", "timestamp": now - timedelta(seconds=31), "sample_rate": 2.0, "count": 3, "quality": 0}
    stretch = encode(pl.DataFrame(head, schema=HEADS), np.array([1.0, 0.5, 0.25]))
    store.write_waveforms(waveform_batch(stretch), source="s", now=now)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """The valid plant, whose drivers are found by entry point on the path."""
    monkeypatch.syspath_prepend(TESTS / "plugins")
    return load_plant(VALID)


def test_each_tag_has_its_newest_value(plant: Plant) -> None:
    """It has unit and age; a tag without samples is listed too."""
    store = MemoryStore()
    fill(store, NOW)
    assert newest_values(plant, store, [], now=NOW) == [
        NewestValue("c101.de_h", NOW - timedelta(seconds=30), 30.0, 0.25, "g", "Good"),
        NewestValue("c101.oil, temp", None, None, None, "degC", None),
        NewestValue("c101.state", NOW - timedelta(hours=5), 18_000.0, None, "", "BadTimeout"),
    ]


def test_tags_are_named_or_matched(plant: Plant) -> None:
    """Each is listed once, sorted."""
    found = newest_values(plant, MemoryStore(), ["c101.s*", "c101.de_h", "*_h"], now=NOW)
    assert [each.tag for each in found] == ["c101.de_h", "c101.state"]


def test_unknown_tags_get_suggestions(plant: Plant) -> None:
    """All unknown tags are in one error."""
    with pytest.raises(InvalidInput, match=r"'c101.deh'; did you mean c101.de_h(?s:.)*'x\*'; known: c101.de_h"):
        newest_values(plant, MemoryStore(), ["c101.deh", "x*", "c101.state"], now=NOW)


def penstock(lake: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command on that lake."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS / "plugins"), "PENSTOCK_HISTORIAN": lake.as_uri()}
    command: list[str | Path] = [PENSTOCK, "values", "--plant", VALID, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_values_are_printed(tmp_path: Path) -> None:
    """Each tag has a line; JSON has the same facts; unknown tags are an error."""
    now = datetime.now(UTC)
    fill(LakeStore(tmp_path), now + timedelta(hours=1))
    lines = penstock(tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["c101.de_h", "c101.oil,", "c101.state"]
    assert re.search(r"UTC +\d+ min in the future +0\.25 g +Good$", lines[0])
    assert lines[1].endswith("no samples")
    assert re.search(r"UTC +4 h ago +no value +BadTimeout$", lines[2])
    (value,) = json.loads(penstock(tmp_path, "c101.d*", "--json").stdout)["values"]
    assert {**value, "age_s": 0, "timestamp": ""} == {
        "tag": "c101.de_h",
        "timestamp": "",
        "age_s": 0,
        "value": 0.25,
        "unit": "g",
        "quality": "Good",
    }
    failed = penstock(tmp_path, "c101.deh")
    assert (failed.returncode, "did you mean c101.de_h" in failed.stderr) == (2, True)
