"""The OPC UA driver against a real server that also dies, stops answering, or is contacted by a wrong user."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.drivers.opcua.source import OpcuaSource
from historian.errors import ConfigError, NotConnected
from historian.quality import BAD_NODE_ID_UNKNOWN, BAD_SENSOR_FAILURE
from tests.bridge.drivers.opcua.plc import (
    INITIAL,
    SPEED,
    Plc,
    connected,
    connection_of,
    free_port,
    heard,
    rows,
)


def test_every_change_becomes_rows(tmp_path: Path, device: Plc) -> None:
    """The present values come first, then each change: numbers, booleans, texts, Bad values and bursts."""

    async def main() -> tuple[pl.DataFrame, pl.DataFrame]:
        async with connected(connection_of(tmp_path, device.port)) as source:
            first = await heard(source, 4)
            device.say("speed", 1490.5, second=1)
            device.say("speed", None, second=2, status=BAD_SENSOR_FAILURE)
            device.say("running", content=True, second=3)
            device.say("state", "läuft", second=4)
            device.say("de_h", [1.0, 2.0, 3.0], second=5)
            device.say("de_h", [1.0, 2.0, 3.0], second=6)
            return first, await heard(source, 10)

    first, later = asyncio.run(main())
    assert_frame_equal(first.sort("tag"), INITIAL)
    expected = rows(
        *(("de_h", burst + step / 1000, step + 1.0, None, 0) for burst in (5, 6) for step in range(3)),
        ("running", 3, 1.0, None, 0),
        ("speed", 1, 1490.5, None, 0),
        ("speed", 2, None, None, BAD_SENSOR_FAILURE),
        ("state", 4, None, "läuft", 0),
    )
    assert_frame_equal(later.sort("tag", "timestamp"), expected)


def test_a_node_that_does_not_exist_is_one_bad_sample(tmp_path: Path, device: Plc) -> None:
    """The other nodes are not affected: 2,501 items take three calls."""
    nowhere = [f"x{number},ns=2;s=nowhere{number},first" for number in range(2_500)]

    async def main() -> pl.DataFrame:
        async with connected(connection_of(tmp_path, device.port, [*nowhere, SPEED])) as source:
            return await heard(source, 2_501)

    found = asyncio.run(main())
    absent = found.filter(pl.col("tag") != "c101.speed")
    assert absent["tag"].n_unique() == absent.height == absent["value"].null_count() == 2_500
    assert set(absent["quality"]) == {BAD_NODE_ID_UNKNOWN}
    assert_frame_equal(found.filter(tag="c101.speed"), rows(("speed", 0, 0.0, None, 0)))


def test_addresses_that_are_no_node_ids_are_found_before_any_connection(tmp_path: Path) -> None:
    """All of them are reported at once."""
    with pytest.raises(ConfigError) as caught:
        connection_of(tmp_path, 1, ["x1,nonsense,first", "speed,ns=2;s=c101.speed,first", "x2,ns=2;i=99999999999,last"])
    assert [(problem.place, problem.text.split(" is ")[0]) for problem in caught.value.problems] == [
        ("row 2", "the address 'nonsense'"),
        ("row 4", "the address 'ns=2;i=99999999999'"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"username": "bridge"}, "username and password belong together"),
        ({"silence": "100ms"}, "silence must be at least three publishing intervals"),
        ({"speed": 1}, "not permitted"),
    ],
)
def test_wrong_options_are_found_with_the_plant_file(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """`penstock check` reports them without any connection."""
    with pytest.raises(ConfigError, match=message):
        connection_of(tmp_path, 1, **options)


def test_a_user_is_accepted_and_a_wrong_password_is_reported(tmp_path: Path, device: Plc) -> None:
    """The error names endpoint and user; the same password is not sent again, so that no account is locked."""

    async def main() -> None:
        async with connected(connection_of(tmp_path, device.port, username="bridge", password="s3cret")) as source:  # noqa: S106
            await heard(source, 4)
        wrong = OpcuaSource(connection_of(tmp_path, device.port, username="bridge", password="guess"))  # noqa: S106
        with pytest.raises(
            NotConnected, match=f"opc.tcp://127.0.0.1:{device.port} refuses the user bridge .*not tried again"
        ):
            await wrong.connect()
        await asyncio.to_thread(device.stop)  # who tries again would fail in another way
        with pytest.raises(NotConnected, match=r"refuses the user bridge .*not tried again"):
            await wrong.connect()
        await wrong.close()
        await asyncio.to_thread(device.start)

    asyncio.run(main())


def test_a_server_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """The error is raised at once, and closing a source that never connected does nothing."""

    async def main() -> None:
        source = OpcuaSource(connection_of(tmp_path, free_port()))
        with pytest.raises(NotConnected, match="cannot connect"):
            await source.connect()
        await source.close()
        await source.close()

    asyncio.run(main())
