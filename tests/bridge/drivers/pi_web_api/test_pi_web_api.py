"""The pi-web-api driver against a strict simulator of the published reference; tests/contracts has what all promise."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bridge.drivers.pi_web_api.values import rows_of
from bridge.drivers.protocols import Page, open_archive
from historian.errors import ConfigError, NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.quality import BAD, BAD_NO_DATA, BAD_TIMEOUT, GOOD, UNCERTAIN
from tests.bridge.drivers.pi_web_api.simulator import PiWebApi, Point, event
from tests.bridge.drivers.rest_server import Response
from tests.contracts.archives import connection_of

T0 = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@contextmanager
def simulated(points: dict[str, Point], **how: Any) -> Iterator[PiWebApi]:
    """A simulator while the block runs."""
    pi = PiWebApi(points, **how)
    try:
        yield pi
    finally:
        pi.server.stop()


def connection(directory: Path, pi: PiWebApi, *tags: str, keys: str = "", tls: str = "") -> ConnectionConfig:
    """An archive of these points."""
    table = f'driver = "pi-web-api"\nurl = "{pi.url}"\nserver = "PISRV1"\n{keys}\n{tls}'
    return connection_of(directory, table, {f"c.{tag}": {"address": tag} for tag in tags or pi.points})


def read(config: ConnectionConfig, *, extents: bool = False) -> tuple[list[Page], list[str]]:
    """The pages of an hour, and the problems."""

    async def main() -> tuple[list[Page], list[str]]:
        archive = open_archive(config)
        try:
            await archive.open()
            if extents:
                await archive.extents()
            names = [tag.name for tag in config.tags]
            pages = [page async for page in archive.read(names, T0, T0 + 60 * MINUTE)]
            return pages, list(await archive.problems())  # type: ignore[attr-defined]  # it reports problems
        finally:
            await archive.close()

    return asyncio.run(main())


def samples(pages: list[Page]) -> pl.DataFrame:
    """The samples of pages."""
    return pl.concat([page.rows.samples for page in pages]).sort("tag", "timestamp", maintain_order=True)


def stamped(seconds: float, ticks: int = 0) -> str:
    """A time with seven decimals."""
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{ticks}Z"


def test_what_a_value_of_pi_becomes() -> None:
    """Numbers, states, system states, flags, and errors in place of values."""
    out_of_reach = {"Name": "I/O Timeout", "Value": 246, "IsSystem": True}
    items = [
        event(stamped(0, 7), 12.3),
        event(stamped(1), out_of_reach, Good=False),
        event(stamped(2), {"Name": "Something New", "Value": 307, "IsSystem": True}, Good=False),
        event(stamped(3), 5, Questionable=True),
        event(stamped(4), 7.5, Good=False),
        event(stamped(5), {"Name": "RUN", "Value": 1, "IsSystem": False}),
        event(stamped(6), None, Errors=[{"FieldName": "Value", "Message": ["out of memory"]}]),
    ]
    found = rows_of(items, "c.a", is_number=True, is_state=False)
    assert found.head(6).select("value", "text", "quality").rows() == [
        (12.3, None, GOOD),
        (None, None, BAD_TIMEOUT),
        (None, None, BAD),
        (5.0, None, UNCERTAIN),
        (None, None, BAD),
        (1.0, None, GOOD),
    ]
    assert found["timestamp"].to_list() == [T0 + timedelta(seconds=second) for second in range(7)]
    assert found["reason"].to_list() == [None] * 6 + ["the server has an error instead of a value"]
    assert "out of memory" in found["detail"][6]


def test_states_and_texts_of_pi_are_texts() -> None:
    """A digital state is its name for a point of kind state; texts that look like numbers stay texts."""
    states = [event(stamped(0), {"Name": "RUN", "Value": 1, "IsSystem": False})]
    assert rows_of(states, "c.a", is_number=True, is_state=True)["text"].to_list() == ["RUN"]
    nothing = {"Name": "No Data", "Value": 248, "IsSystem": True}
    texts = rows_of([event(stamped(0), "7"), event(stamped(1), nothing)], "c.a", is_number=False, is_state=True)
    assert texts.select("text", "quality").rows() == [("7", GOOD), (None, BAD_NO_DATA)]


def test_an_error_in_place_of_a_value_goes_to_quarantine(tmp_path: Path) -> None:
    """With the message; its neighbours are read."""
    wrong = event(stamped(1), None, Errors=[{"FieldName": "Value", "Message": ["out of memory"]}])
    with simulated({"a": Point(items=[event(stamped(0), 1.0), wrong, event(stamped(2), 2.0)])}) as pi:
        pages, _ = read(connection(tmp_path, pi))
    assert samples(pages)["value"].to_list() == [1.0, 2.0]
    [rejected] = [page.rejected for page in pages if page.rejected is not None]
    assert rejected["reason"].to_list() == ["the server has an error instead of a value"]


def test_a_page_may_end_between_ticks_of_pis_clock(tmp_path: Path) -> None:
    """The next page begins at the last time as the server wrote it: not cut, and not a millisecond later."""
    items = [event(stamped(0, tick), float(tick)) for tick in range(10)]
    with simulated({"a": Point(items=items)}) as pi:
        pages, _ = read(connection(tmp_path, pi, keys="page = 4"))
        starts = [dict(each.parameters)["startTime"] for each in pi.server.requests if "recorded" in each.path]
    assert samples(pages)["value"].to_list() == [float(tick) for tick in range(10)]
    assert starts == ["2024-05-01T00:00:00.000Z", stamped(0, 3), stamped(0, 6), stamped(0, 9)]


@pytest.mark.parametrize("limit_is_total", [False, True])
def test_a_limit_may_hold_for_each_point_or_for_all(tmp_path: Path, limit_is_total: bool) -> None:  # noqa: FBT001
    """Every value is read once, either way."""
    points = {name: Point(items=[event(stamped(second), float(second)) for second in range(9)]) for name in "abc"}
    with simulated(points, limit_is_total=limit_is_total) as pi:
        pages, _ = read(connection(tmp_path, pi, keys="page = 4"))
    found = samples(pages)
    assert {tag: rows["value"].to_list() for (tag,), rows in found.group_by("tag")} == {
        f"c.{name}": [float(second) for second in range(9)] for name in points
    }


def test_points_that_cannot_be_read_stop_no_other(tmp_path: Path) -> None:
    """One is not there, one may not be read: each is named with the server's reason."""
    points = {"a": Point(items=[event(stamped(0), 1.0)]), "secret": Point(forbidden=True)}
    with simulated(points) as pi:
        pages, problems = read(connection(tmp_path, pi, "a", "secret", "gone"), extents=True)
    assert samples(pages)["value"].to_list() == [1.0]
    assert [line.partition(": ")[2] for line in problems] == [
        "old.csv row 3: c.secret (secret): 403 Forbidden: Access to the point is denied.",
        r"old.csv row 4: c.gone (gone): 404 Not Found: Failed to retrieve the point '\\PISRV1\gone'; it was not found.",
    ]


def test_a_login_that_is_refused_is_not_tried_again(tmp_path: Path, certificates: Path) -> None:
    """Neither with the next request nor with the next slice: the account would be locked."""
    secure = _server_context(certificates)
    with simulated({"a": Point()}, login=("bridge", "s3cret"), secure=secure) as pi:
        keys = 'username = "bridge"\npassword = "wrong"'
        config = connection(tmp_path, pi, keys=keys, tls=f'tls = {{ ca = "{certificates}/ca.pem" }}')

        async def attempts() -> None:
            archive = open_archive(config)
            for _ in range(3):
                with pytest.raises(SourceError, match=r"refuses the login \(401\); correct user and password"):
                    await archive.open()
            await archive.close()

        asyncio.run(attempts())
        assert len(pi.server.requests) == 1


def test_basic_over_tls_with_the_plants_own_authority(tmp_path: Path, certificates: Path) -> None:
    """A server of another authority is refused before the password is sent."""
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "password").write_text("s3cret\n")
    keys = 'username = "bridge"\npassword_file = "password"'
    points = {"a": Point(items=[event(stamped(0), 1.0)])}
    with simulated(points, login=("bridge", "s3cret"), secure=_server_context(certificates)) as pi:
        trusted = connection(tmp_path, pi, keys=keys, tls=f'tls = {{ ca = "{certificates}/ca.pem" }}')
        assert samples(read(trusted)[0])["value"].to_list() == [1.0]
        other = connection(tmp_path, pi, keys=keys, tls=f'tls = {{ ca = "{certificates}/other.pem" }}')
        before = len(pi.server.requests)
        with pytest.raises(NotConnected, match="the server's certificate is not trusted"):
            read(other)
        assert len(pi.server.requests) == before


def test_a_token_instead_of_a_user(tmp_path: Path, certificates: Path) -> None:
    """As a proxy in front of PI Web API may want it."""
    points = {"a": Point(items=[event(stamped(0), 1.0)])}
    with simulated(points, login="t0ken", secure=_server_context(certificates)) as pi:
        config = connection(tmp_path, pi, keys='token = "t0ken"', tls=f'tls = {{ ca = "{certificates}/ca.pem" }}')
        assert samples(read(config)[0])["value"].to_list() == [1.0]


def test_a_password_is_not_sent_without_encryption(tmp_path: Path) -> None:
    """`penstock check` says so."""
    with simulated({"a": Point()}) as pi, pytest.raises(ConfigError, match="sent over https only"):
        connection(tmp_path, pi, keys='username = "bridge"\npassword = "s3cret"')


def test_a_busy_server_is_waited_for(tmp_path: Path) -> None:
    """As long as it requests; if that is too long, the archive is not connected, and the runner waits."""
    with simulated({"a": Point(items=[event(stamped(0), 1.0)])}) as pi:
        pi.busy = [Response("busy", 503, {"Retry-After": "0"}), Response({}, 429, {"Retry-After": "0"})]
        assert samples(read(connection(tmp_path, pi))[0])["value"].to_list() == [1.0]
        pi.busy = [Response({"Message": "maintenance"}, 503, {"Retry-After": "3600"})]
        with pytest.raises(NotConnected, match="is busy: 503 Service Unavailable: maintenance"):
            read(connection(tmp_path, pi))


def test_a_page_beyond_the_servers_limit_is_a_failure_that_quotes_it(tmp_path: Path) -> None:
    """An administrator may have set a lower one."""
    with simulated({"a": Point(items=[event(stamped(0), 1.0)])}) as pi:
        pi.most = 100
        with pytest.raises(SourceError, match=r"'maxCount' is greater than the maximum allowed \(100\)"):
            read(connection(tmp_path, pi, keys="page = 1000"))


def test_only_get_is_ever_sent_and_the_simulator_is_strict(tmp_path: Path) -> None:
    """It refuses other methods and parameters that the reference does not have."""
    with simulated({name: Point(items=[event(stamped(0), 1.0)]) for name in "ab"}) as pi:
        read(connection(tmp_path, pi), extents=True)
        sent = [request for request in pi.server.requests if request.method != "GET"]
        refused = [
            pi.answer(pi.server.requests[0]._replace(**change)).status
            for change in ({"method": "POST"}, {"parameters": [("max", "1")]}, {"path": "/piwebapi/batch"})
        ]
    assert (sent, refused) == ([], [405, 400, 404])


def test_an_address_needs_a_server(tmp_path: Path) -> None:
    """Its own, or that of the configuration."""
    with simulated({}) as pi:
        config = connection(tmp_path, pi, r"\\PISRV1\a", "b")
        config.driver.check(config, "archives")
        table = f'driver = "pi-web-api"\nurl = "{pi.url}"'
        with pytest.raises(ConfigError, match=r"'b' names no server; write \\\\SERVER\\POINT"):
            open_archive(connection_of(tmp_path, table, {"c.b": {"address": "b"}}))


def _server_context(certificates: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    return context
