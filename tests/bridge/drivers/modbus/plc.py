"""A Modbus server that plays a PLC, and a connection to it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import polars as pl
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bridge.drivers.modbus.source import ModbusSource
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant

Action = Callable[..., Coroutine[None, None, ExcCodes | None]]
Row = tuple[str, float | None, int]


def plant_of(directory: Path, rows: Sequence[str], **options: object) -> Path:
    """A plant with one Modbus source; `rows` are `address,device_id,table,type,order,bit,every` of tags t0, t1, …"""
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(len(rows)))
    where = {} if "serial" in options else {"host": "127.0.0.1"}
    keys = "\n".join(f"{key} = {_toml(value)}" for key, value in {**where, **options}.items())
    (directory / "plant.toml").write_text(
        f"[site]\nname = 'test'\n[classes.plc.points]\n{points}\n[assets.a]\nclass = 'plc'\n"
        f"[sources.plc]\ndriver = 'modbus'\ntags = 'plc.csv'\n{keys}\n"
    )
    lines = [f"t{number},a,p{number},{row}{',' * (6 - row.count(','))}" for number, row in enumerate(rows)]
    (directory / "plc.csv").write_text(
        "\n".join(["tag,asset,point,address,device_id,table,type,order,bit,every", *lines, ""])
    )
    return directory


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return repr(value)


def connection_of(directory: Path, rows: Sequence[str], **options: object) -> ConnectionConfig:
    """The connection of a plant with one Modbus source."""
    return load_plant(plant_of(directory, rows, **options)).sources["plc"]


class Plc:
    """A pymodbus server that records the function codes it receives."""

    def __init__(self, devices: list[SimDevice], port: int, secure: ssl.SSLContext | None) -> None:
        self.functions: list[int] = []
        address = ("127.0.0.1", port)
        self.server: Any = (
            ModbusTcpServer(devices, address=address, trace_pdu=self._note)
            if secure is None
            else ModbusTlsServer(devices, address=address, trace_pdu=self._note, sslctx=secure)
        )

    def _note(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:  # noqa: FBT001 (pymodbus calls it so)
        if not sending:
            self.functions.append(pdu.function_code)
        return pdu

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.transport.sockets[0].getsockname()[1])


@asynccontextmanager
async def running_plc(
    *, registers: int = 10_000, action: Action | None = None, port: int = 0, secure: ssl.SSLContext | None = None
) -> AsyncIterator[Plc]:
    """Registers hold their own address, odd coils are on, every third discrete input is on."""
    own_address = [SimData(0, values=list(range(registers)), datatype=DataType.REGISTERS)]
    coils = [SimData(0, values=[address % 2 == 1 for address in range(4800)], datatype=DataType.BITS)]
    discrete = [SimData(0, values=[address % 3 == 0 for address in range(4800)], datatype=DataType.BITS)]
    tables = (coils, discrete, own_address, list(own_address))
    plc = Plc([SimDevice(1, tables, action=action), SimDevice(7, tables)], port, secure)
    await plc.server.serve_forever(background=True)
    try:
        yield plc
    finally:
        await plc.server.shutdown()


async def polls_of(connection: ConnectionConfig, count: int = 1) -> list[pl.DataFrame]:
    """The frames of the first `count` reads of a new connection."""
    source = ModbusSource(connection)
    await source.connect()
    read = [(await source.read()).samples for _ in range(count)]
    await source.close()
    return read


def contents_of(frame: pl.DataFrame) -> list[Row]:
    """(tag, value, quality) of each row, sorted."""
    assert frame["text"].null_count() == frame.height
    return sorted(frame.select("tag", "value", "quality").rows())
