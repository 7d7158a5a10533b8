"""The commands of docs/backfill.md work, typed one after the other."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from historian.jobs import Jobs
from historian.plant.load import load_plant
from historian.stores.open import open_store
from tests.commands import record_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backfill.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
T0 = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plant of the page, in the current directory."""
    for name, text in re.findall(r"```(?:toml|csv)\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL):
        (tmp_path / name).write_text(text)
    (tmp_path / "history").mkdir()
    for day in range(3):
        times = [(T0 + timedelta(days=day, hours=hour)).isoformat() for hour in range(24)]
        rows = [f"{time},{address},{number}" for number, time in enumerate(times) for address in ("TI-101", "PI-101")]
        (tmp_path / "history" / f"{day}.csv").write_text("\n".join(["timestamp,tag,value", *rows, ""]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_page_work(plant: Path) -> None:
    """A job is queued rather than begun in the background, and run by this process where the page pauses it."""
    assert len(COMMANDS) > 10
    for line in COMMANDS:
        words = shlex.split(line.removeprefix("penstock "))
        queued = ["--queue"] if words[1:2] in (["start"], ["resume"]) else []
        record_of(*words, *queued)
    assert [job.state for job in Jobs(load_plant(plant).state).every()] == ["cancelled"]
    assert stored(plant) == 48
    record_of("backfill", "start", "--queue")
    assert record_of("backfill", "work")["jobs"] == 1
    assert stored(plant) == 3 * 48


def test_the_page_names_every_subcommand() -> None:
    """And no other."""
    named = {shlex.split(line)[2] for line in COMMANDS if line.startswith("penstock backfill ")}
    words = {word for word in named if not word.startswith("-")}
    assert words - {"history"} == {"start", "list", "status", "pause", "resume", "cancel"}
    assert "penstock backfill work" in PAGE


def stored(plant: Path) -> int:
    """How many samples are in the store."""
    pages = open_store(load_plant(plant)).read(["p1.temperature", "p1.pressure"], T0, T0 + timedelta(days=9))
    return sum(page.height for page in pages)
