"""The OPC UA driver against a real server that also dies, stops answering, or is contacted by a wrong user."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Any, Final, TypeVar

import polars as pl
import pytest
from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from polars.testing import assert_frame_equal

from bridge.drivers.opcua.source import OpcuaSource
from bridge.edge.database import Edge
from bridge.run.stream import Bridge
from historian.errors import ConfigError, NotConnected
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.quality import BAD_NODE_ID_UNKNOWN, BAD_NOT_CONNECTED, BAD_SENSOR_FAILURE
from historian.samples import SCHEMA
from historian.status import StatusFile
from historian.stores.memory import MemoryStore

T = TypeVar("T")
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


def connection_of(directory: Path, port: int, rows: Sequence[str] = (), **options: object) -> ConnectionConfig:
    """A plant with one OPC UA source; rows are `point,address,stamp`, by default one of each node."""
    lines = rows or [f"{point},ns=2;s=c101.{point},first" for point in NODES]
    points = {**POINTS, **{row.split(",")[0]: '{ kind = "process" }' for row in lines if row[:1] == "x"}}
    keys = "\n".join(f"{key} = {value!r}" for key, value in {"publishing_interval": "50ms", **options}.items())
    (directory / "plant.toml").write_text(
        "[site]\nname = 'test'\n[classes.compressor.points]\n"
        + "\n".join(f"{name} = {point}" for name, point in points.items())
        + "\n[assets.c101]\nclass = 'compressor'\n[sources.line1]\ndriver = 'opcua'\ntags = 'line1.csv'\n"
        + f"endpoint = 'opc.tcp://127.0.0.1:{port}'\n{keys}\n"
    )
    tags = [f"c101.{line.split(',')[0]},c101,{line}" for line in lines]
    (directory / "line1.csv").write_text("\n".join(["tag,asset,point,address,stamp", *tags, ""]))
    return load_plant(directory).sources["line1"]


class Users:
    """Knows only one user, whose password it checks."""

    def get_user(
        self, _: object, username: str | None = None, password: str | None = None, **__: object
    ) -> User | None:
        """Returns the user, or None to refuse."""
        known = username is None or (username, password) == ("bridge", "s3cret")
        return User(UserRole.User) if known else None


class Plc:
    """An OPC UA server in a thread of its own, with the nodes of `NODES`, whose values tests set as a device would."""

    def __init__(self) -> None:
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._nodes: dict[str, ua.NodeId] = {}
        self._server = self._do(self._made())

    async def _made(self) -> Server:
        server = Server(user_manager=Users())
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace("urn:plant")
        for point, (content, kind) in NODES.items():
            node_id = self._nodes[point] = ua.NodeId(f"c101.{point}", index)
            await server.nodes.objects.add_variable(node_id, f"{index}:{point}", content, kind)
        return server

    def say(self, point: str, content: Any, *, second: float, status: int = 0) -> None:
        """Sets a value with its source time."""
        variant = None if content is None else ua.Variant(content, NODES[point][1])
        value = ua.DataValue(variant, ua.StatusCode(status), T0 + timedelta(seconds=second))
        self._do(self._server.write_attribute_value(self._nodes[point], value))

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


@pytest.fixture(scope="module")
def server() -> Iterator[Plc]:
    """One server for all tests: its address space takes seconds to make."""
    one = Plc()
    one.start()
    yield one
    one.stop()
    one.end()


@pytest.fixture
def device(server: Plc) -> Plc:
    """The server, with every node reset to its initial value."""
    for point, (content, _) in NODES.items():
        server.say(point, content, second=0)
    return server


@asynccontextmanager
async def connected(connection: ConnectionConfig) -> AsyncIterator[OpcuaSource]:
    """A source, connected while the block runs."""
    source = OpcuaSource(connection)
    try:
        await source.connect()
        yield source
    finally:
        await source.close()


async def heard(source: OpcuaSource, rows: int) -> pl.DataFrame:
    """Reads until this many rows have arrived."""
    found = SCHEMA.to_frame()
    async with asyncio.timeout(10):
        while found.height < rows:
            found = pl.concat([found, await source.read()])
    return found


def rows(*given: tuple[str, float, float | None, str | None, int]) -> pl.DataFrame:
    """Rows of (point, second, value, text, quality)."""
    filled = [(f"c101.{point}", T0 + timedelta(seconds=at), *rest) for point, at, *rest in given]
    return pl.DataFrame(filled, schema=SCHEMA, orient="row")


SPEED: Final = "speed,ns=2;s=c101.speed,first"
INITIAL: Final = rows(
    ("de_h", 0, 0.0, None, 0), ("running", 0, 0.0, None, 0), ("speed", 0, 0.0, None, 0), ("state", 0, None, "", 0)
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
    """The error names the endpoint and what the server answered."""

    async def main() -> None:
        async with connected(connection_of(tmp_path, device.port, username="bridge", password="s3cret")) as source:  # noqa: S106
            await heard(source, 4)
        wrong = OpcuaSource(connection_of(tmp_path, device.port, username="bridge", password="guess"))  # noqa: S106
        with pytest.raises(NotConnected, match=f"cannot connect to opc.tcp://127.0.0.1:{device.port}: .*User"):
            await wrong.connect()
        await wrong.close()

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


class Relay:
    """A TCP relay in front of a server that counts the requested services and can stop forwarding."""

    def __init__(self) -> None:
        self.services: Counter[int] = Counter()
        self.silent = False

    @asynccontextmanager
    async def between(self, port: int, server_port: int) -> AsyncIterator[None]:
        """Relays while the block runs."""
        tasks: list[asyncio.Task[None]] = []
        writers: list[asyncio.StreamWriter] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server_port)
            tasks.append(asyncio.create_task(self._pass_requests(reader, server_writer)))
            tasks.append(asyncio.create_task(self._pass_responses(server_reader, writer)))
            writers.extend((writer, server_writer))

        async with await asyncio.start_server(accept, "127.0.0.1", port):
            yield
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """OPC UA Part 6: type, chunk, size; in a message behind 24 bytes the node id of the service's type."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                header = await reader.readexactly(8)
                kind, size = struct.unpack("<4sI", header)
                body = await reader.readexactly(size - 8)
                if kind[:3] == b"MSG":
                    encoding, _, service = struct.unpack_from("<BBH", body, 16)
                    assert encoding == 1
                    self.services[service] += 1
                await self._pass_on(header + body, writer)

    async def _pass_responses(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                await self._pass_on(piece, writer)

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.silent:
            writer.write(piece)
            await writer.drain()


def service(request: type) -> int:
    """The number under which a request goes over the wire."""
    return int(getattr(ua.ObjectIds, f"{request.__name__}_Encoding_DefaultBinary"))


ALLOWED: Final = {
    service(request)
    for request in (
        ua.GetEndpointsRequest,
        ua.CreateSessionRequest,
        ua.ActivateSessionRequest,
        ua.CloseSessionRequest,
        ua.ReadRequest,
        ua.CreateSubscriptionRequest,
        ua.CreateMonitoredItemsRequest,
        ua.PublishRequest,
    )
}


def test_only_reading_services_are_ever_requested(tmp_path: Path, device: Plc) -> None:
    """On the wire there is no Write, no Call, and nothing that changes a server's nodes."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        async with wire.between(port, device.port), connected(connection_of(tmp_path, port)) as source:
            await heard(source, 4)
            device.say("speed", 1.0, second=1)
            await heard(source, 1)

    asyncio.run(main())
    assert wire.services[service(ua.PublishRequest)] > 0
    assert set(wire.services) <= ALLOWED


def test_a_server_that_falls_silent_is_noticed(tmp_path: Path, device: Plc) -> None:
    """Missing keep-alives end the connection; while they arrive, a server without changes counts as alive."""
    port, wire = free_port(), Relay()

    async def main() -> None:
        async with wire.between(port, device.port), connected(connection_of(tmp_path, port, silence="600ms")) as source:
            await heard(source, 4)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await source.read()
            wire.silent = True
            with pytest.raises(NotConnected, match="nothing was heard for"):
                async with asyncio.timeout(5):
                    await source.read()

    asyncio.run(main())


def test_a_publish_response_that_is_lost_ends_the_connection(tmp_path: Path, device: Plc) -> None:
    """Values that arrived are read first; the new connection leaves a gap in coverage."""

    async def main() -> None:
        async with connected(connection_of(tmp_path, device.port, [SPEED])) as source:
            await heard(source, 1)
            numbered = ua.NotificationMessage(SequenceNumber=9, NotificationData=[_change(5.0)])
            await source._published(ua.PublishResult(NotificationMessage=numbered))
            assert (await heard(source, 1))["value"].to_list() == [5.0]
            with pytest.raises(NotConnected, match="a publish response was lost between 1 and 9"):
                await source.read()

    asyncio.run(main())


def _change(content: float) -> ua.DataChangeNotification:
    item = ua.MonitoredItemNotification(ClientHandle=0, Value=ua.DataValue(ua.Variant(content)))
    return ua.DataChangeNotification(MonitoredItems=[item])


def test_a_slow_reader_slows_the_server_down_and_loses_nothing(tmp_path: Path, device: Plc) -> None:
    """Values that are not read yet wait in the server's queue."""
    count = 300

    async def main() -> pl.DataFrame:
        connection = connection_of(tmp_path, device.port, [SPEED], queue_size=1000, publishing_interval="10ms")
        async with connected(connection) as source:
            await heard(source, 1)
            for number in range(1, count + 1):
                device.say("speed", float(number), second=number)
                await asyncio.sleep(0.005)
            return await heard(source, count)

    assert asyncio.run(main())["value"].to_list() == [float(number) for number in range(1, count + 1)]


def test_a_server_that_dies_and_comes_back_is_streamed_again(tmp_path: Path, device: Plc) -> None:
    """The runner reconnects by itself; the outage is a Bad sample."""
    store, edge, now = MemoryStore(), Edge(tmp_path / "edge.db"), (datetime.now(UTC) - T0).total_seconds()
    bridge = Bridge([connection_of(tmp_path, device.port, [SPEED])], edge, store, StatusFile(tmp_path))

    async def stored(speed: float) -> None:
        while speed not in store.latest(["c101.speed"])["value"].to_list():
            await asyncio.sleep(0.05)

    async def main() -> None:
        stop = asyncio.Event()
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            group.create_task(bridge.run(stop))
            device.say("speed", 1.0, second=now)
            await stored(1.0)
            await asyncio.to_thread(device.stop)
            await asyncio.to_thread(device.start)
            device.say("speed", 2.0, second=now + 3600)
            await stored(2.0)
            stop.set()

    asyncio.run(main())
    edge.close()
    assert bridge.sources[0].connections == 2
    speeds = pl.concat(store.read(["c101.speed"], T0 + timedelta(seconds=1), T0 + timedelta(days=36_500)))
    found = speeds.filter(pl.col("value").is_null() | (pl.col("value") > 0)).select("value", "quality").rows()
    assert found == [(1.0, 0), (None, BAD_NOT_CONNECTED), (2.0, 0)]
