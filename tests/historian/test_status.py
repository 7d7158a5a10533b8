"""The status of a bridge, written as it runs and read by other processes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from historian.errors import HistorianError
from historian.status import STALE, TAGS, BridgeStatus, SinkStatus, SourceStatus, StatusFile, problems_of

T0 = datetime(2026, 3, 1, tzinfo=UTC)
LINE1 = SourceStatus(name="line1", state="connected", since=T0, updated_at=T0, connections=1, last_heard=T0)
STORE = SinkStatus(name="store", state="ok", updated_at=T0, written=5, last_write=T0)


def tags(**last: datetime) -> pl.DataFrame:
    """The status records of line1's tags."""
    rows = [(tag, "line1", at, timedelta(seconds=2)) for tag, at in last.items()]
    return pl.DataFrame(rows, schema=TAGS, orient="row")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """A record replaces the one of the same name; the others stay."""
    status = StatusFile(tmp_path)
    status.write([LINE1, replace(LINE1, name="line2")], [STORE], tags(a=T0, b=T0))
    later = replace(LINE1, state="waiting", last_error="cut", error_since=T0)
    status.write([later], [STORE], tags(b=T0 + timedelta(seconds=1)))
    assert StatusFile(tmp_path).bridge() == BridgeStatus((later, replace(LINE1, name="line2")), (STORE,))
    assert status.tags().rows() == [
        ("a", "line1", T0, timedelta(seconds=2)),
        ("b", "line1", T0 + timedelta(seconds=1), timedelta(seconds=2)),
    ]


def test_before_any_bridge_has_run_there_is_nothing_and_no_file_is_made(tmp_path: Path) -> None:
    """Reading writes nothing."""
    status = StatusFile(tmp_path / "state")
    assert status.bridge() == BridgeStatus((), ())
    assert status.tags().is_empty()
    assert not (tmp_path / "state").exists()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    """The error has its path."""
    (tmp_path / "status.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(HistorianError, match=r"status\.db cannot be read"):
        StatusFile(tmp_path).bridge()


@pytest.mark.parametrize(
    ("source", "sink", "problem"),
    [
        (LINE1, STORE, None),
        (None, STORE, "source line1: never streamed; run penstock stream"),
        (replace(LINE1, troubles=("it is odd",)), STORE, "source line1: it is odd"),
        (replace(LINE1, state="stopped"), STORE, "source line1: stopped at 2026-03-01 00:00:00 UTC"),
        (
            replace(LINE1, updated_at=T0 - STALE - timedelta(seconds=1)),
            STORE,
            "the bridge has not reported since 2026-02-28 23:59:44 UTC",
        ),
        (
            replace(LINE1, state="waiting", last_error="no answer", error_since=T0),
            STORE,
            "source line1: not connected since 2026-03-01 00:00:00 UTC: no answer",
        ),
        (replace(LINE1, damaged=2), STORE, "2 batches of the spool could not be read"),
        (replace(LINE1, spool_full=True), STORE, "the spool is full"),
        (replace(LINE1, discarded=5_000), STORE, "5,000 samples were discarded by the full spool"),
        (
            LINE1,
            replace(STORE, state="permanent", last_error="no token", error_since=T0),
            "sink store: permanent failure since 2026-03-01 00:00:00 UTC: no token",
        ),
    ],
)
def test_problems_are_listed_or_all_is_well(source: SourceStatus | None, sink: SinkStatus, problem: str | None) -> None:
    """Each problem is a sentence with its start and its reason."""
    found = problems_of(BridgeStatus((source,) if source else (), (sink,)), {"line1": object()}, now=T0)
    assert len(found) == (problem is not None)
    assert not problem or problem in found[0]
