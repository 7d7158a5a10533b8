"""The `modbus` driver: polls the registers of one Modbus TCP device, or of all devices behind one gateway.

    [sources.line2]
    driver = "modbus"
    host = "10.0.4.20"
    every = "1s"
    tags = "tags/line2.csv"

With a table `[sources.line2.tls]` the connection is encrypted as Modbus/TCP Security has it, on port 802 by default:
the same messages within TLS. Its keys are in `bridge.drivers.tls.Tls`; most devices want `certificate` and `key`.

    [sources.line2.tls]
    ca = "certificates/plant-ca.pem"
    certificate = "certificates/penstock.pem"
    key = "certificates/penstock.key"

The tag list's `address` is the 0-based number of the register, coil or discrete input: what a manual calls 40001 is 0
of table holding. Its own columns are `device_id`, `table`, `type`, `order` and, for one bit of a register, `bit`.

Read-only: functions 1 to 4 and nothing else, one connection, one request at a time. A sample's timestamp is halfway
between request and response. A value that could not be read becomes a Bad row at that instant:

    BadTimeout              no response within `timeout`, `retries` times over; or a gateway's "target did not respond"
    BadCommunicationError   the connection was lost; the read after that raises NotConnected
    BadOutOfRange           the device reports that it has no such register; a block is halved until that tag is alone,
                            and stays split until the next connect
    BadDeviceFailure        the device reports a failure or that it is busy
    BadDecodingError        the response has a different length than requested
"""

from __future__ import annotations

from typing import Final, cast

from pydantic import Field, model_validator

from bridge.drivers.modbus.places import BIT_TABLES, NumberType, Order, Place, Table
from bridge.drivers.protocols import Driver, opened_by
from bridge.drivers.tls import Tls
from historian.errors import ConfigError, Problem
from historian.plant.connections import ConnectionConfig, Tag
from historian.plant.keys import Model
from historian.times import Duration, parse_duration


class Options(Model):
    """Keys of `[sources.NAME]` with `driver = "modbus"`."""

    host: str = Field(min_length=1)
    port: int | None = Field(None, ge=1, le=65535, description="502 if absent; 802 with tls.")
    tls: Tls | None = Field(None, description="Modbus/TCP Security; not encrypted if absent.")
    every: Duration = Field(parse_duration("1s"), description="Time between polls.")
    timeout: Duration = Field(parse_duration("2s"), description="How long to wait for a response.")
    retries: int = Field(1, ge=0, le=10, description="Number of retries after a timeout.")
    max_gap: int = Field(
        16, ge=0, le=124, description="Largest number of unneeded registers to read in order to save a request."
    )
    pause: Duration | None = Field(None, description="Pause between two requests, for devices that need it.")

    @property
    def port_number(self) -> int:
        """The port to connect to."""
        return self.port or (502 if self.tls is None else 802)

    @property
    def peer(self) -> str:
        """Host and port, for messages."""
        return f"{self.host} port {self.port_number}"


class Columns(Model):
    """Columns the driver adds to the tag list."""

    device_id: int = Field(1, ge=0, le=255)
    table: Table = "holding"
    type: NumberType | None = Field(None, description="float32 if absent; bool for coils and discrete inputs.")
    order: Order = "ABCD"
    bit: int | None = Field(None, ge=0, le=15, description="For bool in a register; 0 is the least significant.")

    @model_validator(mode="after")
    def _agree(self) -> Columns:
        if self.table in BIT_TABLES and self.type not in (None, "bool"):
            raise ValueError(f"a {self.table} is a bool, not {self.type}")
        in_register = self.table not in BIT_TABLES and self.type == "bool"
        if in_register != (self.bit is not None):
            raise ValueError("bit belongs to bool in a holding or input register, which needs one")
        return self


def places_of(connection: ConnectionConfig) -> list[Place]:
    """Return where the values of the tags are in their devices. Raises `ConfigError` for impossible addresses."""
    places, problems = [], []
    for tag in connection.tags:
        try:
            places.append(_place(tag))
        except ValueError as error:
            problems.append(Problem(*tag.listed, str(error)))
    if problems:
        raise ConfigError(problems)
    return places


def _place(tag: Tag) -> Place:
    columns = cast(Columns, tag.options)
    if not tag.address.isdecimal():
        raise ValueError(f"the address {tag.address!r} is not a register number; write its 0-based number, such as 107")
    number_type = columns.type or ("bool" if columns.table in BIT_TABLES else "float32")
    place = Place(
        tag.name, columns.device_id, columns.table, int(tag.address), number_type, columns.order, columns.bit or 0
    )
    if place.end > 65536:
        raise ValueError(f"the address {tag.address} is too large: the last {place.table} is number 65535")
    return place


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
