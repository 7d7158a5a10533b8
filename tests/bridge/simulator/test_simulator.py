"""The simulator: signals as functions of time, files that contain them, and servers that publish them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from socket import create_server
from typing import Any, Final

import numpy as np
import polars as pl
import pytest
from asyncua import Client, Node, ua
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from scipy.signal import hilbert

from bridge.cli.simulate import simulate
from bridge.drivers.files.archive import FilesArchive
from bridge.drivers.modbus.source import ModbusSource
from bridge.drivers.protocols import Page
from bridge.simulator.history import reported, write_history
from bridge.simulator.modbus_server import registers
from bridge.simulator.plant import write_plant
from bridge.simulator.signals import BPFO, SAMPLE_RATE, Compressor, Instants, burst_instants
from historian.errors import InvalidInput
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.samples import normalise
from historian.times import micros
from historian.waveforms.packing import unpack

T0: Final = datetime(2026, 3, 1, tzinfo=UTC)
COMPRESSOR: Final = Compressor(T0, T0 + timedelta(hours=1))
PENSTOCK: Final = Path(sys.executable).parent / "penstock"


def _rms(minutes: float, compressor: Compressor = COMPRESSOR) -> float:
    burst = compressor.acceleration("de_h", burst_instants(T0 + timedelta(minutes=minutes)))
    return float(np.sqrt(np.mean(burst**2)))


# Signals


@settings(max_examples=30)
@given(
    offsets=st.lists(st.integers(-7_200_000_000, 7_200_000_000), min_size=1, max_size=50), seed=st.integers(0, 2**32)
)
def test_a_value_depends_on_its_instant_and_the_seed_alone(offsets: list[int], seed: int) -> None:
    """Queried one by one, in reverse or all at once, every signal has the same value at an instant."""
    at: Instants = np.array(offsets, np.int64) + micros(T0)
    one, same = Compressor(T0, T0 + timedelta(hours=1), seed), Compressor(T0, T0 + timedelta(hours=1), seed)

    for of, again in [
        (one.speed, same.speed),
        (one.oil_temp, same.oil_temp),
        (one.discharge_pressure, same.discharge_pressure),
        (one.severity, same.severity),
        (lambda t: one.acceleration("de_v", t), lambda t: same.acceleration("de_v", t)),
    ]:
        singly = np.concatenate([again(at[place : place + 1]) for place in range(len(at))])
        np.testing.assert_array_equal(of(at[::-1])[::-1], of(at))
        np.testing.assert_allclose(singly, of(at), rtol=1e-12)


def test_the_rms_rises_from_0_4_to_4_g_as_the_fault_grows() -> None:
    """A sound bearing stays at 0.4 g; a failed one stays at ten times as much."""
    grown = [round(_rms(minutes), 1) for minutes in (-60, -1, 15, 30, 45, 60, 90)]

    assert grown[:2] == [0.4, 0.4]
    assert grown == sorted(grown)
    assert grown[-2:] == pytest.approx([4.0, 4.0], abs=0.4)


def test_the_fault_shows_at_the_ball_pass_frequency_of_the_outer_race() -> None:
    """The envelope's strongest line above the shaft's is BPFO of the momentary speed, within a bin."""
    at = T0.replace(hour=2)
    instants = np.concatenate([burst_instants(at + timedelta(milliseconds=100 * n)) for n in range(10)])
    envelope = np.abs(hilbert(COMPRESSOR.acceleration("de_h", instants))) ** 2

    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    frequencies = np.fft.rfftfreq(len(instants), 1 / SAMPLE_RATE)

    expected = BPFO * COMPRESSOR.speed(instants).mean() / 60
    assert frequencies[np.argmax(spectrum)] == pytest.approx(expected, abs=1.0)
    assert round(BPFO, 4) == 3.5848


def test_the_two_directions_are_correlated_but_not_equal() -> None:
    """They share impacts and some noise; neither is a copy of the other."""
    for minutes in (-30, 60):
        at = burst_instants(T0 + timedelta(minutes=minutes))
        horizontal, vertical = COMPRESSOR.acceleration("de_h", at), COMPRESSOR.acceleration("de_v", at)
        assert 0.4 < np.corrcoef(horizontal, vertical)[0, 1] < 0.99


def test_process_signals_stay_in_their_ranges_and_seeds_differ() -> None:
    """Speed about 1,480 rpm, oil and pressure plausible, all three states occur, another seed is another machine."""
    at: Instants = np.arange(micros(T0), micros(T0 + timedelta(hours=2)), 1_000_000, dtype=np.int64)

    assert np.abs(COMPRESSOR.speed(at) - 1480).max() <= 8
    assert 50 < COMPRESSOR.oil_temp(at).min() < COMPRESSOR.oil_temp(at).max() < 80
    assert 6.8 < COMPRESSOR.discharge_pressure(at).min() < COMPRESSOR.discharge_pressure(at).max() < 8.3
    assert set(COMPRESSOR.state(at)) == {"running", "idle", "starting"}
    assert _rms(-1) != _rms(-1, Compressor(T0, T0 + timedelta(hours=1), seed=1))


def test_report_by_exception_loses_no_more_than_the_deadband() -> None:
    """Between two reports the value stays within a deadband of the last one, and a minute never passes without."""
    values = np.cumsum(np.random.default_rng(5).normal(size=5_000)) / 10

    kept = np.flatnonzero(reported(values, 0.5))

    last = values[kept][np.searchsorted(kept, np.arange(len(values)), side="right") - 1]
    assert np.abs(values - last).max() < 0.5
    assert kept[0] == 0
    assert np.diff(kept).max() <= 60
    assert len(kept) < len(values) / 2


# Files


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulator's plant with 40 minutes of history around the fault's beginning."""
    directory = tmp_path_factory.mktemp("plant")
    write_plant(directory, opcua_port=4840, modbus_port=1502)
    write_history(directory, COMPRESSOR, T0 - timedelta(minutes=10), T0 + timedelta(minutes=30))
    return directory


def test_the_plant_that_is_written_loads(plant: Path) -> None:
    """Six tags of one compressor, each live and in an archive, and two feature sets."""
    loaded = load_plant(plant)

    live = {tag.name for connection in loaded.sources.values() for tag in connection.tags}
    archived = {tag.name for connection in loaded.archives.values() for tag in connection.tags}
    assert live == archived == set(loaded.tags)
    assert len(live) == 6
    assert sorted(loaded.views) == ["compressor_process", "compressor_vibration"]


def test_the_history_is_the_signals_with_three_known_defects(plant: Path) -> None:
    """The files driver reads the generated signals, except for one repeat, one outage and one impossible value."""
    archives = load_plant(plant).archives

    async def pages_of(connection: ConnectionConfig) -> list[Page]:
        names = [tag.name for tag in connection.tags]
        read = FilesArchive(connection).read(names, T0 - timedelta(days=1), T0 + timedelta(days=1))
        return [page async for page in read]

    pages = {name: asyncio.run(pages_of(connection)) for name, connection in archives.items()}
    rows = {
        name: pl.concat([part for page in found for part in (page.rows.samples, unpack(page.rows.waveforms))])
        for name, found in pages.items()
    }
    assert all(page.rejected is None or page.rejected.is_empty() for found in pages.values() for page in found)

    vibration = rows["vibration"].filter(tag="c101.de_v").sort("timestamp")
    assert vibration.height == 240 * 2_560
    exact = COMPRESSOR.acceleration("de_v", vibration["timestamp"].to_physical().to_numpy()).astype(np.float32)
    np.testing.assert_array_equal(vibration["value"].to_numpy(), exact.astype(np.float64))
    pressure = rows["pressure"]
    bar = COMPRESSOR.discharge_pressure(pressure["timestamp"].to_physical().to_numpy())
    np.testing.assert_allclose(pressure["value"].to_numpy(), bar, atol=0.00051)
    oil_and_states = normalise(rows["slow"])
    assert oil_and_states.conflicts.is_empty()
    assert rows["slow"].height - oil_and_states.batch.height == 1
    oil = oil_and_states.batch.filter(tag="c101.oil_temp")
    assert oil.filter(pl.col("quality") > 0)["text"].to_list() == ["I/O Timeout"]
    assert oil.filter(pl.col("value") > 100)["value"].to_list() == [999.0]
    assert oil["timestamp"].diff().n_unique() > 3
    assert set(oil_and_states.batch.filter(tag="c101.state")["text"]) == {"running", "idle", "starting"}


def test_labels_are_the_true_severity_and_some_are_repeated(plant: Path) -> None:
    """Forty-odd instants with the severity the bearing had; three of them are exact repeats."""
    labels = pl.read_csv(plant / "labels.csv", try_parse_dates=True)

    assert labels.columns == ["asset", "event_timestamp", "severity"]
    assert (labels.height, labels.unique().height) == (43, 40)
    at = labels["event_timestamp"].dt.cast_time_unit("us").to_physical().to_numpy()
    np.testing.assert_allclose(labels["severity"].to_numpy(), COMPRESSOR.severity(at), atol=0.0001)
    assert labels["severity"].n_unique() > 20


@pytest.mark.slow
def test_two_hours_of_history_are_written_in_a_few_seconds(tmp_path: Path) -> None:
    """3.7 million samples of vibration among them."""
    began = datetime.now(UTC)

    written = write_history(tmp_path, COMPRESSOR, T0 - timedelta(hours=1), T0 + timedelta(hours=1))

    assert written["bursts"] == 720
    assert datetime.now(UTC) - began < timedelta(seconds=15)


# Servers


@pytest.mark.parametrize("bar", [0.0, 7.123456, 8.2])
def test_registers_show_the_pressure_in_every_type_and_order(bar: float) -> None:
    """Pymodbus decodes them where it can, so that an error of ours cannot cancel itself out."""
    shown = registers(bar)
    types = AsyncModbusTcpClient.DATATYPE

    def decoded(first: int, count: int, kind: Any, order: Any = "big") -> Any:
        return AsyncModbusTcpClient.convert_from_registers(shown[first : first + count], kind, word_order=order)

    assert decoded(0, 2, types.FLOAT32) == decoded(2, 2, types.FLOAT32, "little") == np.float32(bar)
    swapped = [(word >> 8) | (word & 0xFF) << 8 for word in shown[4:8]]
    assert (swapped[:2], swapped[2:]) == (shown[0:2], shown[2:4])
    assert decoded(8, 4, types.FLOAT64) == bar
    assert decoded(12, 1, types.UINT16) == decoded(13, 2, types.INT32) == round(bar * 1000)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The output of a `penstock simulate` process, which must print nothing else until it ends."""
    directory = tmp_path_factory.mktemp("served")
    options = ["--plant-dir", str(directory), "--history", "1m", "--burst-every", "300ms", "--rate", "200", "--json"]
    command = [str(PENSTOCK), "simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield {**json.loads(running.stdout.readline()), "directory": directory}
        finally:
            running.send_signal(signal.SIGTERM)
            rest, errors = running.communicate(timeout=20)
    assert (running.returncode, rest, errors) == (0, "", "")


class _Received:
    """Collects the values of a subscription, by node."""

    def __init__(self) -> None:
        self.values: dict[str, list[ua.DataValue]] = {}

    def datachange_notification(self, node: Node, _value: object, data: Any) -> None:
        self.values.setdefault(str(node.nodeid.Identifier), []).append(data.monitored_item.Value)


def test_opcua_nodes_follow_the_signals_and_lose_nothing(served: dict[str, Any]) -> None:
    """Bursts arrive complete in both directions; the counter has no gap; `sent` has the right count."""
    names = ["c101.de_h", "c101.de_v", "c101.speed", "c101.state", "counter"]

    async def listen() -> tuple[dict[str, list[ua.DataValue]], dict[str, int], datetime]:
        received = _Received()
        async with Client(served["opcua"]) as client:
            assert await client.get_namespace_index("urn:penstock:simulator") == 2
            subscription = await client.create_subscription(100, received)
            await subscription.subscribe_data_change([client.get_node(f"ns=2;s={n}") for n in names], queuesize=10_000)
            await asyncio.sleep(2.5)
            sent = json.loads(await client.get_node("ns=2;s=sent").read_value())
            read_at = datetime.now(UTC)
            await asyncio.sleep(0.5)
            await subscription.delete()
        return received.values, sent, read_at

    values, sent, read_at = asyncio.run(listen())

    counted = [value.Value.Value for value in values["counter"]]
    assert counted == list(range(counted[0], counted[-1] + 1))
    assert counted[0] <= sent["counter"] <= counted[-1]
    assert len(values["c101.de_h"]) >= 7
    for direction in ("c101.de_h", "c101.de_v"):
        for value in values[direction]:
            assert len(value.Value.Value) == 2_560
            assert value.SourceTimestamp < read_at + timedelta(seconds=0.6)
    horizontal = {value.SourceTimestamp: value.Value.Value for value in values["c101.de_h"]}
    vertical = {value.SourceTimestamp: value.Value.Value for value in values["c101.de_v"]}
    both = sorted(horizontal.keys() & vertical.keys())
    assert {later - earlier for earlier, later in pairwise(both)} == {timedelta(milliseconds=300)}
    assert all(0.4 < np.corrcoef(horizontal[start], vertical[start])[0, 1] < 1 for start in both)
    assert values["c101.state"][0].Value.Value in ("running", "idle", "starting")
    assert all(1472 <= value.Value.Value <= 1488 for value in values["c101.speed"])


def test_modbus_gives_the_pressure_to_our_driver_and_refuses_writes(served: dict[str, Any]) -> None:
    """The plant's own Modbus source reads a plausible pressure; no function writes."""
    connection = load_plant(served["directory"]).sources["plc"]

    async def poll() -> tuple[pl.DataFrame, bool, bool]:
        source = ModbusSource(connection)
        await source.connect()
        rows = (await source.read()).samples
        await source.close()
        host, _, port = served["modbus"].partition(":")
        async with AsyncModbusTcpClient(host, port=int(port)) as client:
            register = await client.write_register(0, 1, device_id=1)
            coil = await client.write_coil(0, value=True, device_id=1)
        return rows, register.isError(), coil.isError()

    rows, *refused = asyncio.run(poll())

    assert rows.select("tag", "quality").rows() == [("c101.discharge_pressure", 0)]
    assert 6.8 < rows["value"][0] < 8.3
    assert refused == [True, True]


def test_the_plant_can_be_written_without_serving_it(tmp_path: Path) -> None:
    """With --no-serve the files have the requested ports, below those given to clients, and the command ends."""
    options = ["--plant-dir", str(tmp_path), "--no-serve", "--history", "1m", "--opcua-port", "14840", "--json"]

    ended = subprocess.run([PENSTOCK, "simulate", *options], capture_output=True, text=True, timeout=60, check=True)

    record = json.loads(ended.stdout)
    assert (record["ready"], record["history"]["bursts"], ended.stderr) == (False, 6, "")
    assert 'endpoint = "opc.tcp://127.0.0.1:14840"' in (tmp_path / "plant.toml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"serve": False}, "say where with --plant-dir"),
        ({"history": "2h"}, "say where with --plant-dir"),
        ({"burst_every": "50ms"}, "--burst-every must be at least 100ms"),
        ({"span": "soon"}, "'soon' is not a duration"),
    ],
)
def test_wrong_options_are_reported_before_anything_starts(options: dict[str, Any], message: str) -> None:
    """One sentence says which option is wrong and what to do."""
    with pytest.raises(InvalidInput, match=message):
        simulate(**options)


def test_a_port_in_use_is_reported_before_anything_starts() -> None:
    """The message names the port and the option that changes it."""
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"port {port} cannot be used: .*; choose another, or 0"):
            simulate(modbus_port=port)
