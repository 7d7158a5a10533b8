"""Publish requests: sent ahead, acknowledged once durable, and nothing that is lost or ends stays unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.columns import columns_of
from bridge.drivers.opcua.messages import Message
from bridge.drivers.opcua.publishing import AHEAD, Publishing
from historian.errors import NotConnected
from tests.bridge.drivers.opcua.encoded import changes, response

VALUE = changes([(0, ua.DataValue(ua.Variant(1.5)))])


def republished(sequence: int | None) -> bytes:
    """The response to a Republish request; without a number, an empty one."""
    whole = ua.RepublishResponse()
    if sequence is not None:
        whole.NotificationMessage = ua.NotificationMessage(SequenceNumber=sequence, NotificationData=[VALUE])
    return bytes(struct_to_binary(whole))


class Server:
    """Answers publish requests in order with what a test gives it, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[ua.PublishRequest] = []
        self.requested_again: list[int] = []
        self._waiting: list[asyncio.Future[Buffer]] = []
        self._again: list[asyncio.Future[Buffer]] = []

    async def send(self, request: ua.PublishRequest | ua.RepublishRequest, **_: object) -> Buffer:
        """What a connection does."""
        waiting = self._waiting
        if isinstance(request, ua.RepublishRequest):
            waiting = self._again
            self.requested_again.append(request.Parameters.RetransmitSequenceNumber)
        else:
            self.requests.append(request)
        waiting.append(asyncio.get_running_loop().create_future())
        return await waiting[-1]

    async def answer(self, given: bytes | Exception) -> None:
        """Answers the oldest publish request, once there is one."""
        await self._answer(self._waiting, given)

    async def answer_again(self, given: bytes | Exception) -> None:
        """Answers the oldest Republish request, once there is one."""
        await self._answer(self._again, given)

    async def _answer(self, waiting: list[asyncio.Future[Buffer]], given: bytes | Exception) -> None:
        while not waiting:
            await asyncio.sleep(0)
        oldest = waiting.pop(0)
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


def publishing(work: Any, *, room: int = 8, taken_over: bool = False) -> None:
    """Runs `work(server, publishing, mailbox)` while messages are requested."""

    async def main() -> None:
        server, mailbox = Server(), Mailbox[Message](room, peer="opc.tcp://plc", silence_s=60)
        requests = Publishing(server.send, mailbox, taken_over=taken_over)
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


@pytest.mark.parametrize("answer", [ua.uaerrors.BadMessageNotAvailable(), republished(None)], ids=["refused", "empty"])
def test_a_message_that_is_lost_for_good_ends_the_subscription(answer: bytes | Exception) -> None:
    """Those that arrived are read first; the new connection leaves a gap in coverage. Some servers send nothing."""

    async def work(server: Server, requests: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        await server.answer(response(VALUE, sequence=9))
        await server.answer_again(answer)
        assert [each.sequence for each in await mailbox.take()] == [1, 9]
        with pytest.raises(NotConnected, match="publish response 2 was lost"):
            await mailbox.take()
        assert requests.ended

    publishing(work)


def test_a_message_that_was_lost_on_the_way_is_requested_again() -> None:
    """It is delivered before the one that showed the loss, with everything in it, and acknowledged as usual."""

    async def work(server: Server, requests: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        await server.answer(response(VALUE, sequence=4))
        await server.answer_again(republished(2))
        await server.answer_again(republished(3))
        taken = await mailbox.take()
        assert [each.sequence for each in taken] == [1, 2, 3, 4]
        assert [len(columns_of(each)[0].handle) for each in taken] == [1, 1, 1, 1]
        assert (requests.recovered, server.requested_again) == (2, [2, 3])
        requests.acknowledge(taken)
        await server.answer(response(VALUE, sequence=5))
        assert server.acknowledged()[-1] == [1, 2, 3, 4]

    publishing(work)


def test_a_keep_alive_shows_that_the_message_before_it_was_lost() -> None:
    """Nothing else may come for hours."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        await server.answer(response(sequence=3))
        await server.answer_again(republished(2))
        assert [each.sequence for each in await mailbox.take()] == [1, 2]

    publishing(work)


def test_what_an_earlier_run_left_unacknowledged_is_requested_again() -> None:
    """Its last message is not known, but the server says what it still has."""

    async def work(server: Server, _: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=9, available=[6, 8, 9]))
        await server.answer_again(republished(6))
        await server.answer_again(republished(8))
        assert [each.sequence for each in await mailbox.take()] == [6, 8, 9]

    publishing(work, taken_over=True)


def test_acknowledgements_of_a_request_that_failed_are_sent_again() -> None:
    """The server may not have seen them, and would keep the messages."""

    async def work(server: Server, requests: Publishing, mailbox: Mailbox[Message]) -> None:
        await server.answer(response(VALUE, sequence=1))
        requests.acknowledge(await mailbox.take())
        await server.answer(ua.uaerrors.BadTimeout())
        await server.answer(response(VALUE, sequence=2))
        before = len(server.requests)
        assert [1] in server.acknowledged()
        for _ in range(AHEAD):  # up to the request that carried it
            await server.answer(ua.uaerrors.BadTimeout())
        assert [1] in server.acknowledged()[before:]

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
