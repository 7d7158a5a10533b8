"""Verification end to end: policies, the report, and the auditor's program, which shares no code with it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.run.verify import verify_manifest
from bridge.run.verify.holding_back import CONTRADICTS
from bridge.run.verify.repair import Policy
from bridge.run.verify.verification import Order
from historian.samples import normalise
from historian.stores.memory import MemoryStore
from historian.waveforms.packing import unpack
from tests.bridge.run.verify.scene import (
    DAY,
    NOW,
    T0,
    Connections,
    Waveforms,
    connected,
    frame,
    minutes,
    stored,
    verified,
    wave,
)


def export(path: Path, frames: Iterable[pl.DataFrame]) -> Path:
    """What another program would write of samples."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["tag", "timestamp", "value", "text", "quality"])
        for each in frames:
            for tag, time, value, text, quality in each.rows():
                out.writerow([tag, time.isoformat(), "" if value is None else repr(value), text or "", quality])
    return path


def check(report: Path, source: Path, store: Path, *more: str) -> int:
    """The exit code of the auditor's program."""
    files = ["--source", str(source), "--store", str(store), "--quarantined", str(report / "quarantined.csv")]
    return verify_manifest.main([str(report / "manifest.json"), *files, *more])


def everything(store: MemoryStore) -> list[pl.DataFrame]:
    """All samples in the store."""
    return list(store.read(["a", "b"], T0 - DAY, NOW))


@pytest.mark.parametrize(
    ("policy", "first", "kept"),
    [("source-wins", 3.0, True), ("keep-first", 103.0, False), ("quarantine", 103.0, False)],
)
def test_what_differs_is_read_again_by_a_stated_policy(
    edge: Edge, archived: Connections, tmp_path: Path, policy: Policy, first: float, *, kept: bool
) -> None:
    """Late samples come in under every policy; a contradiction is replaced, kept, or kept and put into quarantine."""
    source = [*minutes("a", 0, 200), *minutes("b", 0, 10)]
    store = stored(frame([*minutes("a", 0, 3), ("a", 3, 103.0, 0), *minutes("a", 4, 100), *minutes("b", 0, 10)]))
    connection = archived("old", [frame(source)])
    planned = verified(connection, edge, store, tmp_path, Order(policy=policy, dry_run=True))
    assert [(each.tags, each.day.day) for each in planned.rereads] == [(("a",), 1), (("a",), 2)]
    assert pl.concat(everything(store)).height == 114
    assert not planned.manifest.equal
    done = verified(connection, edge, store, tmp_path, Order(policy=policy))
    assert done.manifest.equal is kept
    assert sum(day.missing for day in done.manifest.days) == 0
    assert sum(day.changed for day in done.manifest.days) == (0 if kept else 1)
    held = pl.concat(everything(store)).filter(tag="a").sort("timestamp")
    assert (held.height, held["value"][3]) == (200, first)
    reasons = dict(Quarantine(edge).counts().select("reason", "rows").iter_rows())
    assert reasons == ({CONTRADICTS: 1} if policy == "quarantine" else {})


def test_deletions_at_the_source_are_reported_and_nothing_is_deleted(
    edge: Edge, archived: Connections, tmp_path: Path
) -> None:
    """With the sources that wrote to the store in that time."""
    store = stored(frame(minutes("a", 0, 50)))
    store.write(normalise(frame([("a", 20, 7.0, 0)])).batch, source="line1", now=NOW)
    connection = archived("old", [frame([*minutes("a", 0, 20), *minutes("a", 21, 29)])])
    found = verified(connection, edge, store, tmp_path, Order(policy="source-wins"))
    [day] = [day for day in found.manifest.days if day.extra]
    assert (day.extra, day.extra_from, found.rereads) == (1, ("line1", "old"), ())
    assert pl.concat(everything(store)).height == 50


def test_the_auditors_program_agrees_and_notices_every_change(
    edge: Edge, archived: Connections, make_tag: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From exports of both sides in their own names, units and qualities, in any order and with repeats."""
    tags = (
        make_tag("a", address="PI.A", scale=0.1, offset=-3.0, range=(-50, 50)),
        make_tag("b", address="PI.B", kind="state"),
        make_tag("c", address="PI.C", kind="vibration", sample_rate=25_600.0),
    )
    raw = [*minutes("a", 0, 150), ("a", 160, None, 0), ("a", 170, 9_999.0, 0), ("b", 0, 1.0, 64), ("b", 9, "stop", 0)]
    burst = wave("c", T0, [n / 7 for n in range(3_000)], 25_600.0)
    connection = archived("old", [frame(raw), burst], *tags)
    store = MemoryStore()
    verified(connection, edge, store, tmp_path / "r", Order(policy="source-wins"))
    names = pl.col("tag").replace({tag.name: tag.address for tag in tags})
    both = [*frame(raw).with_columns(names).partition_by("tag"), unpack(burst)]
    source = export(tmp_path / "source.csv", [both[1], *both, both[0].head(3)])
    rows = [*store.read(["a", "b"], T0, NOW), *map(unpack, store.read_waveforms(["c"], T0, NOW))]
    mine = export(tmp_path / "store.csv", rows)
    assert check(tmp_path / "r", source, mine) == 0
    assert "3152 samples, 4 days, 2 apart" in capsys.readouterr().out
    for old, new in ((",149.0,", ",149.5,"), ("PI.B,2026-03-01T22:09", "PI.B,2026-03-01T22:08"), (",64\n", ",0\n")):
        (tmp_path / "forged.csv").write_text(source.read_text().replace("\r", "").replace(old, new, 1))
        assert check(tmp_path / "r", tmp_path / "forged.csv", mine) == 1
    lines = mine.read_text().splitlines(keepends=True)
    for forged in ([*lines[:9], *lines[10:]], [*lines, lines[-1].replace("22:00", "22:01")]):
        (tmp_path / "forged.csv").write_text("".join(forged))
        assert check(tmp_path / "r", source, tmp_path / "forged.csv") == 1
    manifest = tmp_path / "r" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"quarantined": 2', '"quarantined": 0'))
    assert check(tmp_path / "r", source, mine) == 1


def test_the_report_stands_alone(edge: Edge, archived: Connections, tmp_path: Path) -> None:
    """The page fetches nothing; the program runs without Penstock; quarantined samples are listed with their hash."""
    rows = minutes("a", 0, 150)
    connection = archived("old", [frame([*rows, ("a", 3, -1.0, 0)])])
    verified(connection, edge, stored(frame(rows[:140])), tmp_path)
    page, manifest = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "manifest.json").read_text())
    assert "://" not in page
    assert page.count("<rect") == 3
    assert (manifest["equal"], manifest["samples"]) == (False, 150)
    listed = (tmp_path / "quarantined.csv").read_bytes()
    assert manifest["quarantined"] == {"file": "quarantined.csv", "samples": 1, "sha256": sha256(listed).hexdigest()}
    assert b"a,2026-03-01T22:03:00.000000Z,-1.0,,0,another value has the same tag and time," in listed
    program = [sys.executable, "-I", "-S", str(tmp_path / "verify_manifest.py"), str(tmp_path / "manifest.json")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, "the manifest itself says" in done.stdout) == (1, True)


@pytest.mark.parametrize(("policy", "changed"), [("keep-first", 1), ("quarantine", 1), ("source-wins", 0)])
def test_waveforms_are_read_again_around_what_is_held_back(
    edge: Edge, make_tag: Any, tmp_path: Path, policy: Policy, changed: int
) -> None:
    """Lost samples come in, a contradicting one is cut out of its stretch, to the sample."""
    values, rate = [float(number % 97) for number in range(3_000)], 25_600.0
    tag = make_tag("a", kind="vibration", sample_rate=rate)
    store = MemoryStore()
    for first, last, plus in ((0, 999, 0), (1_000, 2_000, 0), (2_000, 2_001, 1), (2_001, 3_000, 0)):
        start = T0 + timedelta(microseconds=round(first * 1e6 / rate))
        store.write_waveforms(
            wave("a", start, [each + plus for each in values[first:last]], rate), source="old", now=NOW
        )
    done = verified(connected(Waveforms(wave("a", T0, values, rate)), tag), edge, store, tmp_path, Order(policy=policy))
    [day] = done.manifest.days
    assert (day.missing, day.extra, day.changed, day.store.count) == (0, 0, changed, 3_000)
    kept = Quarantine(edge).rows()
    assert kept["count"].to_list() == ([1] if policy == "quarantine" else [])
