"""The `modbus` driver: polls the registers of one Modbus device, or of all devices behind one gateway or on one line.

    [sources.line2]
    driver = "modbus"
    host = "10.0.4.20"
    every = "1s"
    tags = "tags/line2.csv"

`serial = "/dev/ttyUSB0"` instead of `host` reads a serial line as RTU; `framing = "rtu"` with `host` is for gateways
that pass RTU on unchanged.

With a table `[sources.line2.tls]` the connection is encrypted as Modbus/TCP Security has it, on port 802 by default:
the same messages within TLS. Its keys are in `bridge.drivers.tls.Tls`; most devices want `certificate` and `key`.

    [sources.line2.tls]
    ca = "certificates/plant-ca.pem"
    certificate = "certificates/penstock.pem"
    key = "certificates/penstock.key"

The tag list's `address` is the number of the register, coil or discrete input. Manuals count in three ways, and
`address_base` says in which the tag list does; the register that they call 107, 108 and 40108 is the same:

    address_base = 0        107     as the protocol counts; the default
    address_base = 1        108     the first register is 1
    address_base = 40001    40108   the first digit is the table: 0 coil, 1 discrete input, 3 input, 4 holding register

Its own columns are `device_id`, `table`, `type` and `order`; `bit` for a part of a register; `length` for a string;
`missing` for a device that shows a number such as -32768 when it has no value; and `every` for tags that are read more
or less often than the others.

Read-only: functions 1 to 4 and nothing else, one connection, one request at a time. A sample's timestamp is halfway
between request and response. A connection that the device has closed since the last poll is opened again within the
poll. Integers beyond 2**53, which a number in the store would round, are quarantined; as a state they keep all digits.

A device that does not respond does not hold up the others: the rest of its tags is skipped, and it is asked for one
value, more and more rarely, until it responds again. A device that responds to small requests alone is asked in smaller
and smaller ones; the log says the number to write as `[sources.line2.devices.8] max_registers`, which saves the search.

A value that could not be read becomes a Bad row at the time of the request:

    BadTimeout              no response within `timeout`, `retries` times over; or a gateway's "target did not respond"
    BadCommunicationError   the connection was lost; the read after that raises NotConnected
    BadOutOfRange           the device reports that it has no such register
    BadDeviceFailure        the device reports a failure or that it is busy
    BadDecodingError        the response has a different length than requested, or a decimal or string is none
    BadNoData               the device shows the number in the column `missing`

A block with a register that makes the device refuse or fail (exceptions 2, 3 and 4) is halved until its tag is alone,
and stays split until the next connect.
"""

from __future__ import annotations

import math
from typing import Final, Literal, cast

from pydantic import Field, model_validator

from bridge.drivers.modbus.places import (
    BIT_TABLES,
    PARTS,
    AddressBase,
    Order,
    Place,
    Table,
    ValueType,
    check_end,
    parse_address,
)
from bridge.drivers.protocols import Driver, opened_by
from bridge.drivers.tls import Tls
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.keys import Model
from historian.times import Duration, parse_duration


class Device(Model):
    """Keys of `[sources.NAME.devices.ID]`."""

    max_registers: int = Field(125, ge=1, le=125, description="Largest number of registers to ask it for at once.")


class Options(Model):
    """Keys of `[sources.NAME]` with `driver = "modbus"`."""

    host: str = Field("", description="Name or address of a device or gateway; serial is for a serial line.")
    port: int | None = Field(None, ge=1, le=65535, description="502 if absent; 802 with tls.")
    tls: Tls | None = Field(None, description="Modbus/TCP Security; not encrypted if absent.")
    framing: Literal["tcp", "rtu"] = Field(
        "tcp", description="rtu for gateways that pass RTU on; serial is always rtu."
    )
    serial: str = Field("", description="A serial line, such as /dev/ttyUSB0 or COM3, instead of host.")
    baud_rate: int = Field(19200, ge=300, le=4_000_000, description="Of the serial line, in bits a second.")
    parity: Literal["N", "E", "O"] = Field("E", description="Of the serial line: none, even or odd.")
    stop_bits: Literal[1, 2] = Field(1, description="Of the serial line; 2 is usual without parity.")
    every: Duration = Field(parse_duration("1s"), description="Time between polls.")
    timeout: Duration = Field(parse_duration("2s"), description="How long to wait for a response.")
    retries: int = Field(
        1, ge=0, le=10, description="Number of retries after a timeout of a device that has responded."
    )
    max_gap: int = Field(
        16, ge=0, le=124, description="Largest number of unneeded registers to read in order to save a request."
    )
    pause: Duration | None = Field(None, description="Pause between two requests, for devices that need it.")
    address_base: AddressBase = Field(
        0, description="What the first register is called: 0, 1 or, with its table, 40001."
    )
    devices: dict[int, Device] = Field({}, description="Limits of single devices, by device id.")

    @model_validator(mode="after")
    def _agree(self) -> Options:
        if bool(self.host) == bool(self.serial):
            raise ValueError("set host, or serial for a serial line, and not both")
        if self.tls is not None and self.by_rtu:
            raise ValueError("tls goes with framing tcp only")
        return self

    @property
    def by_rtu(self) -> bool:
        """Whether messages are framed as on a serial line."""
        return bool(self.serial) or self.framing == "rtu"

    @property
    def port_number(self) -> int:
        """The port to connect to."""
        return self.port or (502 if self.tls is None else 802)

    @property
    def peer(self) -> str:
        """Host and port, or the serial line, for messages."""
        return self.serial or f"{self.host} port {self.port_number}"


class Columns(Model):
    """Columns the driver adds to the tag list."""

    device_id: int = Field(1, ge=0, le=255)
    table: Table | None = Field(None, description="holding if absent; the address names it if address_base is 40001.")
    type: ValueType | None = Field(None, description="float32 if absent; bool for coils and discrete inputs.")
    order: Order = "ABCD"
    bit: int | None = Field(
        None, ge=0, le=15, description="For bool, int8 and uint8 in a register: the least significant bit of the value."
    )
    length: int | None = Field(None, ge=1, le=250, description="For string: number of characters, two in a register.")
    missing: float | None = Field(None, description="The number in the register that means no value, such as -32768.")
    every: Duration | None = Field(None, description="Time between polls of this tag; that of the source if absent.")

    @model_validator(mode="after")
    def _agree(self) -> Columns:
        if (self.type == "string") != (self.length is not None):
            raise ValueError("length belongs to string, which needs it")
        if self.bit is not None and self.type not in PARTS:
            raise ValueError("bit belongs to bool, int8 and uint8 in a holding or input register")
        return self


def places_of(connection: ConnectionConfig) -> list[Place]:
    """Return where the values of the tags are in their devices. Raises `ConfigError` for impossible addresses."""
    places, problems = [], []
    for tag in connection.tags:
        try:
            places.append(_place(tag, cast(Options, connection.options)))
        except ValueError as error:
            problems.append(Problem(*tag.listed, str(error)))
    if problems:
        raise ConfigError(problems)
    return places


def _place(tag: Tag, options: Options) -> Place:
    columns = cast(Columns, tag.options)
    named, first = parse_address(tag.address, options.address_base)
    if named and columns.table not in (None, named):
        raise ValueError(f"the address {tag.address} is that of a {named}, and the table says {columns.table}")
    table = named or columns.table or "holding"
    value_type = _type(columns, table)
    place = Place(
        tag.name,
        columns.device_id,
        table,
        first,
        value_type,
        columns.order,
        columns.bit or 0,
        columns.length or 0,
        math.nan if columns.missing is None else columns.missing,
        columns.every or options.every,
    )
    check_end(place)
    return place


def _type(columns: Columns, table: Table) -> ValueType:
    """Return the type of a value. Raises `ValueError` if the table has no such values."""
    if table in BIT_TABLES:
        if columns.type not in (None, "bool") or columns.bit is not None:
            raise ValueError(f"a {table} is a bool, not {columns.type or 'a bit of a register'}")
        return "bool"
    if columns.type == "bool" and columns.bit is None:
        raise ValueError("bool in a holding or input register needs bit, the number of its bit")
    if columns.type in ("int8", "uint8") and columns.bit not in (None, 0, 8):
        raise ValueError(f"bit of {columns.type} is 0 for the low byte of the register or 8 for the high one")
    return columns.type or "float32"


def _check(connection: ConnectionConfig) -> None:
    places_of(connection)


driver: Final = Driver(
    options=Options,
    address=Columns,
    source=opened_by("bridge.drivers.modbus.source:ModbusSource"),
    probe=opened_by("bridge.drivers.modbus.probe:probe"),
    interval=lambda connection: cast(Options, connection.options).every,
    check_tags=_check,
)
