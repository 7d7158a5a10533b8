"""An OPC UA server that plays a PLC, and a connection to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Any, Final, TypeVar

import polars as pl
from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509

from bridge.drivers.certificates import Identity, der_of
from bridge.drivers.opcua.source import OpcuaSource
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.samples import SCHEMA
from historian.waveforms.packing import unpack

T = TypeVar("T")
URI: Final = "urn:plant:plc"
POLICIES: Final = [
    getattr(ua.SecurityPolicyType, f"{name}_{mode}")
    for name in ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
    for mode in ("Sign", "SignAndEncrypt")
]
T0 = datetime(2026, 3, 1, tzinfo=UTC)
NODES: Final = {
    "de_h": ([0.0], ua.VariantType.Float),
    "speed": (0.0, ua.VariantType.Double),
    "running": (False, ua.VariantType.Boolean),
    "state": ("", ua.VariantType.String),
}
POINTS: Final = {
    "de_h": '{ kind = "vibration", sample_rate = 1000 }',
    "speed": '{ kind = "speed" }',
    "running": '{ kind = "process" }',
    "state": '{ kind = "state" }',
}


def free_port() -> int:
    """A port nobody listens on."""
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def connection_of(
    directory: Path, port: int, rows: Sequence[str] = (), *, columns: str = "stamp", **options: object
) -> ConnectionConfig:
    """A plant with one OPC UA source.

    Args:
        directory: where its files are written.
        port: of the server.
        rows: `point,address,stamp` of each tag, by default one of each node. Points `x…` are process
            values, `s…` with a digit are states.
        columns: what the rows have instead of `stamp`.
        options: keys of the source.
    """
    lines = rows or [f"{point},ns=2;s=c101.{point},first" for point in NODES]
    points = {**POINTS, **{row.split(",")[0]: '{ kind = "process" }' for row in lines if row[:1] == "x"}}
    points |= {row.split(",")[0]: '{ kind = "state" }' for row in lines if re.match(r"s\d", row)}
    keys = "\n".join(f"{key} = {value!r}" for key, value in {"publishing_interval": "50ms", **options}.items())
    (directory / "plant.toml").write_text(
        "[site]\nname = 'test'\n[classes.compressor.points]\n"
        + "\n".join(f"{name} = {point}" for name, point in points.items())
        + "\n[assets.c101]\nclass = 'compressor'\n[sources.line1]\ndriver = 'opcua'\ntags = 'line1.csv'\n"
        + f"endpoint = 'opc.tcp://127.0.0.1:{port}'\n{keys}\n"
    )
    tags = [f"c101.{line.split(',')[0]},c101,{line}" for line in lines]
    (directory / "line1.csv").write_text("\n".join([f"tag,asset,point,address,{columns}", *tags, ""]))
    return load_plant(directory).sources["line1"]


async def _add_others(server: Server, index: int) -> None:
    """Adds nodes of other kinds where no browse finds them."""
    views = server.get_node(ua.NodeId(ua.ObjectIds.ViewsFolder))
    kinds = await server.nodes.enum_data_type.add_data_type(ua.NodeId("mode_t", index), f"{index}:Mode")
    texts = [ua.LocalizedText(text) for text in ("Off", "Auto", "Manual")]
    await kinds.add_property(ua.NodeId("mode_t.texts", index), "0:EnumStrings", texts)
    mode = ua.NodeId("mode", index)
    await views.add_variable(mode, f"{index}:mode", 1, ua.VariantType.Int32, datatype=kinds.nodeid)
    step = await views.add_variable(ua.NodeId("step", index), f"{index}:step", 20, ua.VariantType.UInt16)
    named = [ua.EnumValueType(value, ua.LocalizedText(text)) for value, text in ((10, "Fill"), (20, "Mix"))]
    await step.add_property(ua.NodeId("step.texts", index), "0:EnumValues", named)
    contents = {
        "array": ua.Variant([1.5, 2.5, 3.5], ua.VariantType.Double),
        "words": ua.Variant(["a", "b"], ua.VariantType.String),
        "big": ua.Variant(2**60, ua.VariantType.Int64),
        "bigs": ua.Variant([1, 2**53 + 1], ua.VariantType.Int64),
        "range": ua.Variant(ua.Range(-1.0, 2.0), ua.VariantType.ExtensionObject),
    }
    for name, content in contents.items():
        await views.add_variable(ua.NodeId(name, index), f"{index}:{name}", content)


class Users:
    """Knows only one user, whose password it checks, and counts the attempts."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str | None, object]] = []

    def get_user(
        self, _: object, username: str | None = None, password: str | None = None, certificate: object = None
    ) -> User | None:
        """Returns the user, or None to refuse."""
        self.attempts.append((username, certificate))
        known = username is None or (username, password) == ("bridge", "s3cret")
        return User(UserRole.User) if known else None


async def _add_line(server: Server, index: int) -> None:
    """Adds a folder with a machine, whose temperature has unit and range."""
    line = await server.nodes.objects.add_folder(ua.NodeId("line", index), f"{index}:Line 1")
    machine = await line.add_folder(ua.NodeId("line.m1", index), f"{index}:M1")
    temperature = await machine.add_variable(ua.NodeId("line.m1.t", index), f"{index}:Temperature", 20.0)
    unit = ua.EUInformation(UnitId=4408652, DisplayName=ua.LocalizedText("°C"))
    await temperature.add_property(ua.NodeId("line.m1.t.eu", index), "0:EngineeringUnits", unit)
    await temperature.add_property(ua.NodeId("line.m1.t.range", index), "0:EURange", ua.Range(-10.0, 120.0))


class Plc:
    """An OPC UA server in a thread of its own, with the nodes of `NODES`, whose values tests set as a device would."""

    def __init__(self, identity: Identity | None = None) -> None:
        """Make the server.

        Args:
            identity: its certificate; it then offers every policy, and None too.
        """
        self.port = free_port()
        self.users = Users()
        self.trusted: list[bytes] | None = None
        """Certificates of clients that it accepts, in DER; None for all."""
        self._identity = identity
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._nodes: dict[str, ua.NodeId] = {}
        self._server = self._do(self._made())

    async def _made(self) -> Server:
        server = Server(user_manager=self.users)
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        if self._identity is not None:
            server.set_security_policy([*POLICIES, ua.SecurityPolicyType.NoSecurity])
            server.iserver.certificate, server.iserver.private_key = self._identity
            server.set_certificate_validator(self._accept)
            await server.set_application_uri(URI)
        index = await server.register_namespace("urn:plant")
        for point, (content, kind) in NODES.items():
            node_id = self._nodes[point] = ua.NodeId(f"c101.{point}", index)
            await server.nodes.objects.add_variable(node_id, f"{index}:{point}", content, kind)
        await _add_line(server, index)
        await _add_others(server, index)
        return server

    def say(self, point: str, content: Any, *, second: float, status: int = 0) -> None:
        """Sets a value with its source time."""
        variant = None if content is None else ua.Variant(content, NODES[point][1])
        value = ua.DataValue(variant, ua.StatusCode(status), T0 + timedelta(seconds=second))
        self._do(self._server.write_attribute_value(self._nodes[point], value))

    async def _accept(self, certificate: x509.Certificate, _: object) -> None:
        if self.trusted is not None and der_of(certificate) not in self.trusted:
            raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

    def use(self, identity: Identity) -> None:
        """Exchanges the certificate of the server, while it is stopped."""
        self._server.iserver.certificate, self._server.iserver.private_key = identity
        self._server.iserver.endpoints.clear()
        self._server._policies.clear()

    def add(self, point: str, content: float) -> None:
        """Adds a node that was not there when the server started."""
        self._nodes[point] = ua.NodeId(f"c101.{point}", 2)
        folder = self._server.get_node(ua.NodeId(ua.ObjectIds.ViewsFolder))
        self._do(folder.add_variable(self._nodes[point], f"2:{point}", content))

    def set_service_level(self, level: int) -> None:
        """Sets how well the server says it can do its work."""
        value = ua.DataValue(ua.Variant(level, ua.VariantType.Byte))
        self._do(self._server.write_attribute_value(ua.NodeId(ua.ObjectIds.Server_ServiceLevel), value))

    def start(self) -> None:
        """Starts the server."""
        self._do(self._server.start())

    def stop(self) -> None:
        """Breaks every connection and stops the server."""
        self._do(self._server.stop())

    def end(self) -> None:
        """Ends the thread, including the tasks that asyncua leaves running after `stop`."""

        async def cancel() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self._do(cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@asynccontextmanager
async def connected(connection: ConnectionConfig, *, upkeep_s: float = 60.0) -> AsyncIterator[OpcuaSource]:
    """A source, connected while the block runs."""
    source = OpcuaSource(connection, upkeep_s=upkeep_s)
    try:
        await source.connect()
        yield source
    finally:
        await source.close()


async def heard(source: OpcuaSource, rows: int) -> pl.DataFrame:
    """Reads until this many samples have arrived, those of stretches included, and returns a row for each."""
    found = SCHEMA.to_frame()
    async with asyncio.timeout(10):
        while found.height < rows:
            read = await source.read()
            found = pl.concat([found, read.samples, unpack(read.waveforms)])
    return found


def rows(*given: tuple[str, float, float | None, str | None, int]) -> pl.DataFrame:
    """Rows of (point, second, value, text, quality)."""
    filled = [(f"c101.{point}", T0 + timedelta(seconds=at), *rest) for point, at, *rest in given]
    return pl.DataFrame(filled, schema=SCHEMA, orient="row")


SPEED: Final = "speed,ns=2;s=c101.speed,first"
INITIAL: Final = rows(
    ("de_h", 0, 0.0, None, 0), ("running", 0, 0.0, None, 0), ("speed", 0, 0.0, None, 0), ("state", 0, None, "", 0)
)
