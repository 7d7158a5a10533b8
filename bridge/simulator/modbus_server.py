"""The compressor's Modbus server, device 1: the discharge pressure in every encoding a PLC might use.

    holding and input registers   0-1   float32 ABCD    2-3   float32 CDAB    4-5  float32 BADC    6-7  float32 DCBA
                                  8-11  float64 ABCD    12    uint16, mbar    13-14  int32 ABCD, mbar
    coil 0, discrete input 0      on while the pressure is above 8 bar

Registers are computed when they are read, so a poll returns the value at its own instant. Writing is refused.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bridge.simulator.signals import Compressor
from historian.times import micros, utc_now

HIGH_BAR: Final = 8.0
_BIT_FUNCTIONS: Final = (1, 2)
_READ_FUNCTIONS: Final = (1, 2, 3, 4)


class ModbusServer:
    """The server; call `start`, and `stop` when done."""

    def __init__(self, compressor: Compressor, *, host: str, port: int) -> None:
        self.port = port
        self._host = host
        self._compressor = compressor
        self._server: Any = None

    async def start(self) -> None:
        """Start to listen. Raises `RuntimeError` if the port is in use."""
        bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
        words = SimData(0, values=registers(0.0), datatype=DataType.REGISTERS)
        device = SimDevice(1, ([bits], [bits], [words], [words]), action=self._refresh)
        self._server = ModbusTcpServer(device, address=(self._host, self.port))
        await self._server.serve_forever(background=True)

    async def stop(self) -> None:
        """Close all connections and the port."""
        await self._server.shutdown()

    async def _refresh(
        self, function: int, _start: int, _address: int, _count: int, current: list[int], _written: object
    ) -> ExcCodes | None:
        if function not in _READ_FUNCTIONS:
            return ExcCodes.ILLEGAL_FUNCTION
        bar = float(self._compressor.discharge_pressure(np.array([micros(utc_now())]))[0])
        if function in _BIT_FUNCTIONS:
            current[0] = int(bar > HIGH_BAR)
        else:
            current[: len(registers(bar))] = registers(bar)
        return None


def registers(bar: float) -> list[int]:
    """Return the registers of the device at a pressure of `bar`, in the order of the module's table."""
    single, mbar = struct.pack(">f", bar), round(bar * 1000)
    high, low = struct.unpack(">HH", single)
    swapped_high, swapped_low = struct.unpack("<HH", single)
    floats = [high, low, low, high, swapped_high, swapped_low, swapped_low, swapped_high]
    return floats + list(struct.unpack(">7H", struct.pack(">dHi", bar, mbar, mbar)))
