"""`penstock probe` and `penstock browse` on real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest
import typer

from bridge.cli.discover import browse, probe
from historian.errors import InvalidInput
from tests.bridge.drivers.modbus.plc import plant_of, running_plc
from tests.bridge.drivers.opcua import plc as opcua


@pytest.fixture(scope="module")
def server() -> Iterator[opcua.Plc]:
    """An OPC UA server."""
    one = opcua.Plc()
    one.start()
    yield one
    one.stop()
    one.end()


def test_browse_lists_and_writes_variables(
    server: opcua.Plc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a table, as JSON and as CSV, and says if there are more."""
    opcua.connection_of(tmp_path, server.port)
    browse("line1", tmp_path, limit=2)
    assert capsys.readouterr().out.splitlines() == [
        "  address            path   type     unit  low  high",
        "  ns=2;s=c101.de_h   de_h   Float[]",
        "  ns=2;s=c101.speed  speed  Double",
        "incomplete: stopped after 2 variables; there are more",
    ]
    browse("line1", tmp_path, csv=tmp_path / "found.csv", as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert pl.read_csv(tmp_path / "found.csv").to_dicts() == record["variables"]
    assert (len(record["variables"]), record["missing"]) == (5, [])


def test_probe_shows_facts_and_fails_if_a_source_cannot_be_read(
    server: opcua.Plc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is for programs."""
    opcua.connection_of(tmp_path, server.port)
    probe("line1", tmp_path)
    shown = capsys.readouterr().out
    assert "product: FreeOpcUa Python Server\n" in shown
    assert "  index  uri\n" in shown
    opcua.connection_of(tmp_path, server.port, username="bridge", password="guess")  # noqa: S106 (wrong on purpose)
    with pytest.raises(typer.Exit):
        probe("line1", tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_probe_lists_modbus_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a device."""
    ports, done = list[int](), Event()

    async def serve() -> None:
        async with running_plc() as plc:
            ports.append(plc.port)
            started.set()
            await asyncio.to_thread(done.wait)

    started = Event()
    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        plant_of(tmp_path, ["7,,,uint16,,", "9,7,,uint16,,"], port=ports[0])
        probe("plc", tmp_path, as_json=True)
    finally:
        done.set()
        thread.join()
    record = json.loads(capsys.readouterr().out)
    assert [(each["device_id"], each["responds"]) for each in record["devices"]] == [(1, True), (7, True)]


def test_an_unknown_source_is_named(tmp_path: Path) -> None:
    """With the one that was meant."""
    opcua.connection_of(tmp_path, 1)
    for command in (probe, browse):
        with pytest.raises(InvalidInput, match=r"no \[sources.lime1\].*line1"):
            command("lime1", tmp_path)
