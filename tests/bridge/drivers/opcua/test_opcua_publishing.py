"""Publish requests: sent ahead, acknowledged once durable, and nothing that is lost or ends stays unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.messages import Message
from bridge.drivers.opcua.publishing import AHEAD, Publishing
from historian.errors import NotConnected
from tests.bridge.drivers.opcua.encoded import changes, response

VALUE = changes([(0, ua.DataValue(ua.Variant(1.5)))])


class Server:
    """Answers publish requests in order with what a test gives it, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[ua.PublishRequest] = []
        self._waiting: list[asyncio.Future[Buffer]] = []

    async def send(self, request: ua.PublishRequest, **_: object) -> Buffer:
        """What a connection does."""
        self.requests.append(request)
        self._waiting.append(asyncio.get_running_loop().create_future())
        return await self._waiting[-1]

    async def answer(self, given: bytes | Exception) -> None:
        """Answers the oldest request, once there is one."""
        while not self._waiting:
            await asyncio.sleep(0)
        oldest = self._waiting.pop(0)
        if isinstance(given, Exception):
            oldest.set_exception(given)
        else:
            oldest.set_result(Buffer(given))
        for _ in range(10):
            await asyncio.sleep(0)

    def acknowledged(self) -> list[list[int]]:
        """The sequence numbers in each request."""
        given = [request.Parameters.SubscriptionAcknowledgements for request in self.requests]
        return [[each.SequenceNumber for each in some] for some in given]


def publishing(work: Any, *, room: int = 8) -> None:
    """Runs `work(server, publishing, mailbox)` while messages are requested."""

    async def main() -> None:
        server, mailbox = Server(), Mailbox[Message](room, peer="opc.tcp://plc", silence_s=60)
        requests = Publishing(server.send, mailbox)
        running = asyncio.create_task(requests.run())
        async with asyncio.timeout(5):
            await work(server, requests, mailbox)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    coroutine: Coroutine[Any, Any, None] = main()
    asyncio.run(coroutine)


def test_several_requests_wait_at_the_server() -> None:
    """A response is replaced by a new request at once."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        assert len(server.requests) == AHEAD + 1
        assert [each.sequence for each in await mailbox.take()] == [1]

    publishing(work)


def test_a_message_is_acknowledged_only_when_it_is_durable() -> None:
    """Until then the server can send it again."""

    async def work(server: Server, requests: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        await server.answer(response(VALUE, sequence=2))
        first, second = await mailbox.take()
        await server.answer(response(VALUE, sequence=3))
        assert not any(server.acknowledged())
        requests.acknowledge([first, second])
        await server.answer(response(VALUE, sequence=4))
        assert server.acknowledged()[-1] == [1, 2]

    publishing(work)


def test_a_full_mailbox_stops_the_requests() -> None:
    """Values then wait in the server's queues: that is the back-pressure."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        for sequence in (1, 2, 3):
            await server.answer(response(VALUE, sequence=sequence))
        assert len(server.requests) == AHEAD + 2
        await mailbox.take()
        await asyncio.sleep(0)
        await server.answer(response(VALUE, sequence=4))
        assert len(server.requests) > AHEAD + 2

    publishing(work, room=2)


def test_a_message_that_is_lost_ends_the_connection() -> None:
    """Those that arrived are read first; the new connection leaves a gap in coverage."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        await server.answer(response(VALUE, sequence=9))
        assert [each.sequence for each in await mailbox.take()] == [1, 9]
        with pytest.raises(NotConnected, match="a publish response was lost between 1 and 9"):
            await mailbox.take()

    publishing(work)


def test_a_keep_alive_has_the_number_of_the_next_message() -> None:
    """It is no message, and none is lost."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        for sequence, parts in ((1, [VALUE]), (2, []), (2, [VALUE])):
            await server.answer(response(*parts, sequence=sequence))
        assert [each.sequence for each in await mailbox.take()] == [1, 2]

    publishing(work)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("reset"), "the server closed the connection"),
        (ua.uaerrors.BadNoSubscription(), "the server ended the subscription"),
        (ua.uaerrors.BadSessionIdInvalid(), "the server refused to publish"),
        (RuntimeError("a fault"), "RuntimeError: a fault"),
    ],
)
def test_whatever_ends_the_requests_ends_the_connection(error: Exception, reason: str) -> None:
    """The reader is not left waiting."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(error)
        with pytest.raises(NotConnected, match=reason):
            await mailbox.take()

    publishing(work)


@pytest.mark.parametrize("error", [ua.uaerrors.BadTooManyPublishRequests(), ua.uaerrors.BadTimeout()])
def test_a_request_that_a_server_turns_down_is_no_loss(error: Exception) -> None:
    """Some servers accept only one at a time."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(error)
        await server.answer(response(VALUE, sequence=1))
        assert [each.sequence for each in await mailbox.take()] == [1]

    publishing(work)


def test_a_response_that_is_none_ends_the_connection() -> None:
    """It may have been a message with values."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE)[:30])
        with pytest.raises(NotConnected, match="cannot be decoded"):
            await mailbox.take()

    publishing(work)
