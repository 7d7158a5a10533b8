"""Large batches are in segment files: durable before their rows, there as long as a row needs them, and no longer."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from pydantic import ByteSize

from bridge.edge.batches import Batches
from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.edge.spool_rows import INLINE_BYTES
from historian.errors import SpoolFull
from historian.intervals import intervals
from historian.plant.model import SpoolBounds
from tests.bridge.edge.batches import T0, bursts, numbered

LARGE = INLINE_BYTES // (4 * 2_560) + 1
"""Arrays of float32 that do not fit into a row."""
DAY = intervals(["a"], T0, T0 + timedelta(days=1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a database whose segments are in `spool` next to it."""
    return tmp_path / "edge.db"


@contextmanager
def opened(path: Path) -> Iterator[Edge]:
    """The database as another process sees it, without what this one holds in memory."""
    edge = Edge(path)
    try:
        yield edge
    finally:
        edge.close()


def appended(spool: Spool, *firsts: int) -> None:
    """A large batch for each number, with a sample and a mark."""
    for first in firsts:
        spool.append(Batches(numbered(first, 1), bursts(LARGE * first, LARGE)), source="s", now=T0, covered=DAY)


def files(path: Path) -> list[Path]:
    """The segments on disk."""
    return sorted(path.parent.glob("spool/*/*"))


def firsts_of(edge: Edge) -> list[float]:
    """The samples that wait, delivered one write after the other; each stands for its batch."""
    found: list[float] = []
    while item := Spool(edge).oldest("s", now=T0, max_memory=1):
        for first in item.batches.samples["value"]:
            assert_frame_equal(item.batches.waveforms, bursts(LARGE * int(first), LARGE), check_exact=True)
            found.append(first)
        Spool(edge).delivered(item)
    return found


def test_a_large_batch_comes_out_as_it_went_in(path: Path) -> None:
    """Its samples, stretches and mark are a frame in a file; what is small stays in its row."""
    with opened(path) as edge:
        appended(Spool(edge), 0, 1)
        Spool(edge).append(Batches(numbered(2, 1)), source="s", now=T0)
        assert [row[0] is None for row in edge.rows("SELECT segment FROM spool ORDER BY id")] == [False, False, True]
        with opened(path) as other:
            item = Spool(other).oldest("s", now=T0)
    assert item is not None
    assert_frame_equal(item.batches.waveforms, bursts(0, 2 * LARGE).head(0).vstack(item.batches.waveforms))
    assert_frame_equal(item.batches.samples, numbered(0, 3))
    assert_frame_equal(item.covered, DAY)
    assert item.batches.waveforms.height == 2 * LARGE


def test_a_segment_goes_when_its_last_row_is_delivered(path: Path) -> None:
    """That of a living writer stays for what comes next."""
    with opened(path) as edge:
        spool = Spool(edge, bounds=SpoolBounds(max_size=ByteSize(16 * 3 * INLINE_BYTES // 2)))
        appended(spool, 0, 1, 2)
        assert len(files(path)) == 2
        assert (firsts_of(edge), len(files(path))) == ([0, 1, 2], 1)
    assert files(path) == []


def test_a_segment_is_not_deleted_before_the_cursor_is_durable(path: Path) -> None:
    """If the transaction fails that moves the cursor, everything is there to be delivered again."""
    with opened(path) as edge:
        appended(Spool(edge), 0)
    with opened(path) as edge:

        def fail() -> None:
            with edge.transaction():
                assert firsts_of(edge) == [0]
                raise InterruptedError

        with pytest.raises(InterruptedError):
            fail()
        assert firsts_of(edge) == [0]
    assert files(path) == []


def test_what_no_row_refers_to_is_cut_off_when_it_is_opened_again(path: Path) -> None:
    """As a crash between the frame and its row leaves it; a file without any row is deleted."""
    with opened(path) as edge:
        appended(Spool(edge), 0)
    [segment] = files(path)
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"PSF1 half a frame")
    segment.with_name("left.seg").write_bytes(b"PSF1")
    segment.with_name("begun.new").touch()
    with opened(path) as edge:
        assert [each.stat().st_size for each in files(path)] == [size]
        assert firsts_of(edge) == [0]


def test_a_database_that_was_moved_away_keeps_its_segments(path: Path) -> None:
    """An empty one that takes its place has others, and deletes none that it does not know."""
    with opened(path) as edge:
        appended(Spool(edge), 0)
    away = path.rename(path.with_name("away.db"))
    with opened(path) as edge:
        appended(Spool(edge), 1)
    with opened(away) as edge:
        assert firsts_of(edge) == [0]


def test_opening_leaves_the_frame_alone_that_another_is_just_writing(path: Path) -> None:
    """Its row follows: the writer holds a lock on the file."""
    with opened(path) as edge:
        appended(Spool(edge), 0)
        place = edge.segments.append("s", [b"a", b"b", b""])
        with opened(path) as other:
            assert other.segments.read(place).endswith(b"ab")


def test_a_damaged_frame_is_set_aside_and_stops_nothing(path: Path) -> None:
    """A flipped bit, a length that is wrong, and a file that is not there; the bytes that are left are kept."""
    with opened(path) as edge:
        appended(Spool(edge), 0, 1, 2)
        lengths = edge.rows("SELECT length FROM spool ORDER BY id")
    [segment] = files(path)
    frames = bytearray(segment.read_bytes())
    frames[lengths[0][0] - 1] ^= 1
    frames[lengths[0][0] + 4] ^= 1
    segment.write_bytes(frames)
    with opened(path) as edge:
        assert firsts_of(edge) == [2]
        assert (Spool(edge).damaged(), Spool(edge).sizes(), Spool(edge).waiting()) == ({"s": 2}, {"s": 0}, {})
        assert edge.rows("SELECT length(payload) FROM spool_damaged") == lengths[:2]
        appended(Spool(edge), 3)
    [segment] = files(path)
    segment.unlink()
    with opened(path) as edge:
        assert firsts_of(edge) == []
        [(reason,)] = edge.rows("SELECT reason FROM spool_damaged WHERE payload = x''")
        assert "No such file" in reason


def test_a_disk_that_fills_up_leaves_no_half_frame(path: Path) -> None:
    """The batch is refused as by a full spool, and accepted when there is room."""
    with opened(path) as edge:
        spool, limits = Spool(edge), resource.getrlimit(resource.RLIMIT_FSIZE)
        appended(spool, 0)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (files(path)[0].stat().st_size + 50_000, limits[1]))
        try:
            with pytest.raises(SpoolFull, match="free some space"):
                appended(spool, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert spool.accepted() == {"s": 1 + LARGE * 2_560}
        appended(spool, 1)
        assert firsts_of(edge) == [0, 1]


def test_a_frame_whose_row_is_refused_is_taken_back(path: Path) -> None:
    """A full database would otherwise be answered with a file that grows at each attempt."""
    with opened(path) as edge:
        appended(Spool(edge), 0)
        [before] = [each.stat().st_size for each in files(path)]
        [(pages,)] = edge.rows("PRAGMA page_count")
        edge.rows(f"PRAGMA max_page_count = {pages}")
        for _ in range(3):
            with pytest.raises(SpoolFull):
                Spool(edge).append(Batches(waveforms=bursts(0, 60 * LARGE)), source="x" * 5_000, now=T0)
        assert sum(each.stat().st_size for each in files(path)) == before


def test_what_is_held_in_memory_is_what_was_committed(path: Path) -> None:
    """An id that a transaction gave up may be another batch's; the batch that failed is never delivered."""
    with opened(path) as edge:

        def fail() -> None:
            with edge.transaction():
                appended(Spool(edge), 0)
                raise InterruptedError

        with pytest.raises(InterruptedError):
            fail()
        with opened(path) as other:
            appended(Spool(other), 1)
        assert firsts_of(edge) == [1]
