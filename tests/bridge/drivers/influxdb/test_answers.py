"""InfluxDB's answers: partial flags, errors with status 200 and in the middle, fields of two types, awkward names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest

from bridge.drivers.influxdb.driver import Options
from bridge.drivers.influxdb.places import Place, place_by, place_of
from bridge.drivers.influxdb.wire import ReadingWire
from bridge.drivers.protocols import Archive, Page, ReportsProblems, open_archive
from historian.errors import ConfigError, NotConnected, SourceError
from tests.contracts.archives import connection_of
from tests.servers import Server, answering

T0 = datetime(2026, 3, 1, tzinfo=UTC)
US = int(T0.timestamp() * 1_000_000)
END = T0 + timedelta(days=90)


def archive(directory: Path, url: str, *addresses: str, keys: str = "") -> Archive:
    """The archive with a tag for each address: t0, t1, ..."""
    tags = {f"t{number}": {"address": address} for number, address in enumerate(addresses)}
    return open_archive(connection_of(directory, f'driver = "influxdb"\nurl = "{url}"\n{keys}', tags))


def read(found: Archive, *tags: str) -> tuple[list[Page], Sequence[str]]:
    """All pages, and the problems."""

    async def main() -> tuple[list[Page], Sequence[str]]:
        try:
            await found.open()
            pages = [page async for page in found.read(tags, T0, END)]
            assert isinstance(found, ReportsProblems)
            return pages, await found.problems()
        finally:
            await found.close()

    return asyncio.run(main())


def written(server: Server, name: str, *lines: str) -> str:
    """The url of a new database with these lines of line protocol, in microseconds."""
    httpx.post(f"{server.base}/query", params={"q": f"CREATE DATABASE {name}"}).raise_for_status()
    params = {"db": name, "precision": "u"}
    httpx.post(f"{server.base}/write", params=params, content="\n".join(lines)).raise_for_status()
    return f"influxdb://127.0.0.1:{server.port}/{name}"


def answer(*chunks: object) -> dict[str, tuple[int, dict[str, str], str]]:
    """A server that answers every query with these chunks."""
    return {"": (200, {}, "\n".join(json.dumps(chunk) for chunk in chunks))}


def points(*, partial: bool) -> dict[str, object]:
    """A chunk with a point."""
    series = {"name": "m", "columns": ["time", "value"], "values": [[US, 1.5]]}
    return {"results": [{"series": [series], "partial": partial}]}


def test_a_field_of_two_types_is_read_as_both(influx1_server: Server, tmp_path: Path) -> None:
    """A field may have another type in another shard; points of neither type are dropped, and Booleans are numbers."""
    later = US + 30 * 86_400_000_000
    url = written(influx1_server, "two_types", f"m v=1.5 {US}", f'm v="RUN" {later}', f"m b=true {US}", f"m i=7i {US}")
    pages, problems = read(archive(tmp_path, url, "m v", "m b", "m i"), "t0", "t1", "t2")
    rows = pl.concat([page.rows.samples for page in pages]).sort("tag", "timestamp")
    assert rows.select("tag", "value").rows() == [("t0", 1.5), ("t1", 1.0), ("t2", 7.0)]
    rejected = pl.concat([page.rejected for page in pages if page.rejected is not None], how="vertical_relaxed")
    assert rejected.select("tag", "text").rows() == [("t0", "RUN")]  # text of a tag that is a number
    assert problems == []


def test_names_of_any_characters_are_escaped(influx1_server: Server, tmp_path: Path) -> None:
    """Quotes, blanks, commas and backslashes in measurement, tag and field select what they name, and nothing else."""
    line = f'a\\ "m\\,x,k\\ y=it\'s\\,"odd" f\\ "1=2.5 {US}'
    url = written(influx1_server, "odd_names", line, f"a,k=b value=1 {US}")
    pages, problems = read(archive(tmp_path, url, line.rpartition("=")[0]), "t0")
    assert [page.rows.samples["value"].to_list() for page in pages] == [[2.5]], problems


def test_an_address_of_several_series_is_named(influx1_server: Server, tmp_path: Path) -> None:
    """Two series must not become one tag by chance; a star says that they are one."""
    url = written(influx1_server, "several", f"m,machine=a,fw=1 value=1 {US}", f"m,machine=a,fw=2 value=2 {US + 1}")
    found = archive(tmp_path, url, "m,machine=a", "m,machine=a,fw=*", "m,machine=b")
    pages, problems = read(found, "t0", "t1", "t2")
    assert pl.concat([page.rows.samples for page in pages]).select("tag", "value").rows() == [("t1", 1.0), ("t1", 2.0)]
    assert "2 series of m match: fw=1,machine=a; fw=2,machine=a" in problems[0]
    assert "no series has these tags" in problems[1]


def test_an_answer_that_was_cut_off_fails(tmp_path: Path) -> None:
    """The last chunk must not say that more follows."""
    with answering(answer(points(partial=False))) as port:
        assert len(read_points(tmp_path, port)) == 1
    with (
        answering(answer(points(partial=False), points(partial=True))) as port,
        pytest.raises(SourceError, match="cut"),
    ):
        read_points(tmp_path, port)


def test_an_error_within_an_answer_fails(tmp_path: Path) -> None:
    """With status 200, in place of the answer or after some of it; in CSV it would be missing without a word."""
    error = {"results": [{"error": "query interrupted"}]}
    for chunks in ([error], [points(partial=True), error], [{"error": "timeout"}]):
        with answering(answer(*chunks)) as port, pytest.raises(SourceError, match=r"interrupted|timeout") as caught:
            read_points(tmp_path, port)
        assert not isinstance(caught.value, NotConnected)


@pytest.mark.parametrize(("status", "lost"), [(401, False), (400, False), (429, True), (503, True)])
def test_a_refusal_is_no_lost_connection(tmp_path: Path, status: int, *, lost: bool) -> None:
    """A server that is busy is tried again, one that refuses us is not."""
    with answering({"": (status, {}, '{"error": "no"}')}) as port, pytest.raises(SourceError) as caught:
        read_points(tmp_path, port)
    assert isinstance(caught.value, NotConnected) is lost
    assert f"answers {status}: no" in str(caught.value)


def read_points(directory: Path, port: int) -> list[object]:
    """The rows of an answer, without looking for fields first."""
    connection = connection_of(
        directory, f'driver = "influxdb"\nurl = "influxdb://127.0.0.1:{port}/d"', {"t": {"address": "m"}}
    )
    assert isinstance(connection.options, Options)
    wire = ReadingWire(connection, connection.options)
    try:
        return list(wire.blocks("SELECT", rows=10, numeric=True))
    finally:
        wire.close()


def test_addresses_are_line_protocol_or_parts_of_a_pattern() -> None:
    """Both name measurement, Influx tags and field."""
    place = Place("vibration", (("axis", "h"), ("machine", "c 101")), "rms")
    assert place_of("vibration,machine=c\\ 101,axis=h rms") == place
    assert place_by("vibration,machine={1},axis={2} {3}", "c 101/h/rms") == place
    assert place_of("temperature").field == "value"


@pytest.mark.parametrize(
    ("keys", "address", "said"),
    [
        ('url = "influxdb://u:pw@h/d"', "m", "url has a password"),
        ('url = "influxdb://h/d"\npath = "a.csv"', "m", "one of them"),
        ('url = "influxdb://h/d"\npattern = "m,a={2} v"', "m", "number its parts from 1"),
        ('url = "influxdb://h/d"\npattern = "m,a={1} {2}"', "x", "has 1 parts"),
        ('url = "influxdb://h/d"', "m,a v", "tag without a value"),
        ('path = "a.csv"\nquality = "q"', "m", "quality"),
    ],
)
def test_a_table_that_cannot_work_is_refused(tmp_path: Path, keys: str, address: str, said: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError, match=said):
        connection_of(tmp_path, f'driver = "influxdb"\n{keys}', {"t": {"address": address}})
