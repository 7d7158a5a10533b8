"""The publish requests of a subscription: sent ahead, answered with messages, which are acknowledged once durable.

asyncua's own loop keeps one request at the server and decodes each response into objects before it sends the next one.
This one keeps several, so that a server is never without one, and leaves the decoding to the reader. If the reader is
slow, no request is sent, and the values wait in the server's queues.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.messages import UNDECODABLE, Message, message_of
from historian.times import utc_now

AHEAD: Final = 3
"""Number of publish requests that wait at the server."""

Send = Callable[..., Awaitable[Buffer]]
"""Sends a request and returns the response; `timeout=0` waits for it without end. Raises `ua.UaError`, `OSError`."""


class Publishing:
    """Requests the messages of one subscription and puts them into a mailbox."""

    def __init__(self, send: Send, mailbox: Mailbox[Message]) -> None:
        """Create it without sending anything."""
        self._send = send
        self._mailbox = mailbox
        self._pending: deque[asyncio.Task[Buffer]] = deque()
        self._ahead = AHEAD
        self._sequence = 0
        self._durable: list[ua.SubscriptionAcknowledgement] = []

    async def subscribe(self, wanted: ua.CreateSubscriptionParameters) -> ua.CreateSubscriptionResult:
        """Create the subscription. Raises `ua.UaError`, `OSError` or `TimeoutError` if the server does not."""
        response = await self._send(ua.CreateSubscriptionRequest(Parameters=wanted))
        created: Any = struct_from_binary(ua.CreateSubscriptionResponse, response)
        created.ResponseHeader.ServiceResult.check()
        return created.Parameters

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Let the server forget messages, with the next request; until then it can send them again."""
        self._durable += [ua.SubscriptionAcknowledgement(each.subscription, each.sequence) for each in messages]

    async def run(self) -> None:
        """Request messages until the connection or the subscription ends; the mailbox then has the reason."""
        try:
            while True:
                while len(self._pending) < self._ahead:
                    self._pending.append(asyncio.create_task(self._request()))
                await self._next()
        except Exception as error:  # noqa: BLE001 - whatever ends the requests, the reader must learn of it
            self._mailbox.fail(_reason(error))
        finally:
            for task in self._pending:
                task.cancel()
            await asyncio.gather(*self._pending, return_exceptions=True)

    async def _request(self) -> Buffer:
        durable, self._durable = self._durable, []
        parameters = ua.PublishParameters(SubscriptionAcknowledgements=durable)
        return await self._send(ua.PublishRequest(Parameters=parameters), timeout=0)

    async def _next(self) -> None:
        """Wait for the response to the oldest request."""
        try:
            response = await self._pending.popleft()
        except ua.uaerrors.BadTooManyPublishRequests:
            self._ahead = max(1, len(self._pending))
            return
        except ua.uaerrors.BadTimeout:  # a server that has waited long for something to say
            return
        try:
            message = message_of(response, utc_now())
        except UNDECODABLE as error:
            self._mailbox.fail(f"a publish response cannot be decoded ({error})")
            return
        await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        self._mailbox.heard()
        if not message.notifications:
            return
        if self._sequence and message.sequence != self._sequence % 0xFFFFFFFF + 1:
            self._mailbox.fail(f"a publish response was lost between {self._sequence} and {message.sequence}")
        self._sequence = message.sequence
        await self._mailbox.put(message)


def _reason(error: Exception) -> str:
    """Return why no more messages will come."""
    if isinstance(error, ua.uaerrors.BadNoSubscription | ua.uaerrors.BadSubscriptionIdInvalid):
        return "the server ended the subscription"
    if isinstance(error, OSError):
        return "the server closed the connection"
    return f"the server refused to publish ({type(error).__name__}: {error})"
