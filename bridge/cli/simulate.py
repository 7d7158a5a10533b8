"""`penstock simulate`: a simulated plant for trying everything out, in a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from socket import create_server
from typing import Annotated, Final

import typer

from bridge.simulator.history import write_history
from bridge.simulator.modbus_server import ModbusServer
from bridge.simulator.opcua_server import OpcuaServer
from bridge.simulator.plant import write_plant
from bridge.simulator.signals import BURST, Compressor
from historian.cli.console import JsonOption, answer
from historian.cli.options import parse_duration_option
from historian.errors import InvalidInput
from historian.times import format_duration, utc_now

_SPAN: Final = timedelta(hours=2)
_SOUND_SHARE: Final = 0.3
"""Share of the history in which the bearing is healthy."""
_WORST_AFTER: Final = timedelta(minutes=10)
"""Time from now until the fault reaches its full severity."""


def simulate(  # noqa: PLR0913 (a parameter an option)
    *,
    plant_dir: Annotated[Path | None, typer.Option(help="Write plant.toml and its tag lists here first.")] = None,
    history: Annotated[str | None, typer.Option(help="Also write this much history as files, such as 2h.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Start the servers, or only write the files.")
    ] = True,
    span: Annotated[str | None, typer.Option("--for", help="Stop after this long, such as 30s.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    opcua_port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = 0,
    modbus_port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = 0,
    burst_every: Annotated[str, typer.Option(help="Time from one waveform to the next.")] = "1s",
    rate: Annotated[
        float, typer.Option(min=0.1, max=10_000, help="Increments of the node `counter` per second.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers; each gives another compressor.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Simulate a compressor whose bearing fails, on real OPC UA and Modbus servers, until interrupted.

    Prints a line that begins with READY once both servers listen.
    """
    now = utc_now().replace(microsecond=0)
    past = parse_duration_option(history, "--history") if history is not None else None
    every = parse_duration_option(burst_every, "--burst-every")
    seconds = parse_duration_option(span, "--for") if span is not None else None
    if plant_dir is None and (past or not serve):
        raise InvalidInput("--history and --no-serve write files: say where with --plant-dir")
    if every < BURST:
        raise InvalidInput(f"--burst-every must be at least {format_duration(BURST)}, the length of a burst")
    compressor = _compressor(now, past or _SPAN, seed)
    ports = {"opcua_port": _free_port(host, opcua_port), "modbus_port": _free_port(host, modbus_port)}
    written = _write(plant_dir, compressor, host, ports, past, now) if plant_dir else {}
    if not serve:
        answer({"ready": False, **written}, f"wrote {plant_dir}", as_json=as_json)
        return
    opcua = OpcuaServer(compressor, host=host, port=ports["opcua_port"], burst_every=every, rate=rate)
    modbus = ModbusServer(compressor, host=host, port=ports["modbus_port"])
    address = f"{host}:{modbus.port}"
    record = {"ready": True, "opcua": opcua.endpoint, "modbus": address, **written}

    def ready() -> None:
        answer(record, f"READY {opcua.endpoint} modbus {address}", as_json=as_json)

    asyncio.run(_serve(opcua, modbus, seconds, ready))


def _compressor(now: datetime, past: timedelta, seed: int) -> Compressor:
    return Compressor(fault_from=now - (1 - _SOUND_SHARE) * past, fault_until=now + _WORST_AFTER, seed=seed)


def _write(
    directory: Path, compressor: Compressor, host: str, ports: dict[str, int], past: timedelta | None, now: datetime
) -> dict[str, object]:
    try:
        write_plant(directory, host=host, **ports)
        history = write_history(directory, compressor, now - past, now) if past else {}
    except OSError as error:
        raise InvalidInput(f"cannot write the plant to {directory}: {error}") from None
    return {"plant": directory / "plant.toml", "history": history}


async def _serve(
    opcua: OpcuaServer, modbus: ModbusServer, seconds: timedelta | None, ready: Callable[[], None]
) -> None:
    """Serve until the time has passed or a signal arrives."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await opcua.start()
    await modbus.start()
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(opcua.publish())
        if seconds is not None:
            loop.call_later(seconds.total_seconds(), stop.set)
        ready()
        await stop.wait()
        publishing.cancel()
    await modbus.stop()
    await opcua.stop()


def _free_port(host: str, wanted: int) -> int:
    """Return the port if it is free, or any free port for 0."""
    try:
        with create_server((host, wanted)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise InvalidInput(
            f"{host} port {wanted} cannot be used: {error}; choose another, or 0 for any free one"
        ) from None
