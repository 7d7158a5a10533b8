"""The publish requests of a subscription: sent ahead, answered with messages, which are acknowledged once durable.

asyncua's own loop keeps one request at the server and decodes each response into objects before it sends the next one.
This one keeps several, so that a server is never without one, and leaves the decoding to the reader. If the reader is
slow, no request is sent, and the values wait in the server's queues. A message that was lost on the way is requested
again (Republish) before the next one is delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from bridge.drivers.mailbox import Mailbox
from bridge.drivers.opcua.messages import UNDECODABLE, Message, message_of, republished_of
from historian.times import utc_now

AHEAD: Final = 3
"""Number of publish requests that wait at the server."""

MOST_MISSING: Final = 1_000
"""Most messages in a row that are requested again; servers keep fewer."""
_NUMBERS: Final = 0xFFFFFFFF
"""Sequence numbers go from 1 to this, and begin again (OPC UA Part 4, 7.9)."""
_OVER: Final = (ua.uaerrors.BadNoSubscription, ua.uaerrors.BadSubscriptionIdInvalid)

Send = Callable[..., Awaitable[Buffer]]
"""Sends a request and returns the response; `timeout=0` waits for it without end. Raises `ua.UaError`, `OSError`."""


class Publishing:
    """Requests the messages of one subscription and puts them into a mailbox."""

    def __init__(
        self,
        send: Send,
        mailbox: Mailbox[Message],
        *,
        link: int = 0,
        keep_alives: bool = False,
        taken_over: bool = False,
    ) -> None:
        """Create it without sending anything.

        Args:
            send: sends a request.
            mailbox: where messages go.
            link: number of the link, which its messages have.
            keep_alives: whether keep-alives go into the mailbox too.
            taken_over: whether an earlier run has made the subscription; which message was its last is not known.
        """
        self._send = send
        self._mailbox = mailbox
        self._link = link
        self._keep_alives = keep_alives
        self._pending: deque[asyncio.Task[Buffer]] = deque()
        self._ahead = AHEAD
        self._sequence = 0
        """Number of the last message, 0 before the first one."""
        self._is_known = False
        """Whether messages before the first one can be missing, and which."""
        self._is_taken_over = taken_over
        self._durable: list[ua.SubscriptionAcknowledgement] = []
        self.received = 0
        """Number of responses."""
        self.recovered = 0
        """Number of messages that were lost on the way and sent again."""
        self.is_retired = False
        """Whether another link has taken over, so that the end of this one is no failure."""
        self.ended = False
        """Whether the subscription is over or a message is lost for good, so that resuming cannot help."""

    async def subscribe(self, wanted: ua.CreateSubscriptionParameters) -> ua.CreateSubscriptionResult:
        """Create the subscription. Raises `ua.UaError`, `OSError` or `TimeoutError` if the server does not."""
        response = await self._send(ua.CreateSubscriptionRequest(Parameters=wanted))
        created: Any = struct_from_binary(ua.CreateSubscriptionResponse, response)
        created.ResponseHeader.ServiceResult.check()
        return created.Parameters

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Let the server forget messages, with the next request; until then it can send them again."""
        self._durable += [
            ua.SubscriptionAcknowledgement(each.subscription, each.sequence)
            for each in messages
            if each.link == self._link and each.notifications
        ]

    def rebind(self, send: Send, mailbox: Mailbox[Message]) -> None:
        """Continue the subscription over another connection; call `run` again."""
        self._send, self._mailbox = send, mailbox
        self._pending.clear()
        self._is_known = not self._is_taken_over

    async def run(self) -> None:
        """Request messages until the connection or the subscription ends; the mailbox then has the reason."""
        try:
            while True:
                while len(self._pending) < self._ahead:
                    self._pending.append(asyncio.create_task(self._request()))
                await self._next()
        except Exception as error:  # noqa: BLE001 - whatever ends the requests, the reader must learn of it
            self.ended = self.ended or isinstance(error, _OVER)
            self._fail(_reason(error))
        finally:
            for task in self._pending:
                task.cancel()
            await asyncio.gather(*self._pending, return_exceptions=True)

    async def _request(self) -> Buffer:
        durable, self._durable = self._durable, []
        parameters = ua.PublishParameters(SubscriptionAcknowledgements=durable)
        try:
            return await self._send(ua.PublishRequest(Parameters=parameters), timeout=0)
        except BaseException:
            # Whether the server has seen them is unknown, and acknowledging twice does no harm.
            self._durable = durable + self._durable
            raise

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
            message = message_of(response, utc_now())._replace(link=self._link)
        except UNDECODABLE as error:
            self._give_up(f"a publish response cannot be decoded ({error})")
            return
        await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        self.received += 1
        self._mailbox.heard()
        for sequence in self._missing(message):
            if self.ended:  # one is lost for good, so that the whole subscription is read again
                break
            await self._republish(message.subscription, sequence)
        if message.notifications:
            self._sequence = message.sequence
        if message.notifications or self._keep_alives:
            await self._mailbox.put(message)

    def _missing(self, message: Message) -> Sequence[int]:
        """Return the numbers of the messages before this one that have not arrived, in order.

        A keep-alive has the number of the next message. Before the first message of a subscription that an earlier
        run has made, those are missing that the server can send again.
        """
        if self._sequence or self._is_known:
            distance = (message.sequence - self._sequence - 1) % _NUMBERS
            if distance < _NUMBERS // 2:
                return [(self._sequence + step) % _NUMBERS + 1 for step in range(min(distance, MOST_MISSING))]
        elif self._is_taken_over and self.received == 1:
            return sorted(number for number in message.available if number != message.sequence)
        return []

    async def _republish(self, subscription: int, sequence: int) -> None:
        """Request a message again, and deliver it."""
        wanted = ua.RepublishParameters(SubscriptionId=subscription, RetransmitSequenceNumber=sequence)
        try:
            response = await self._send(ua.RepublishRequest(Parameters=wanted))
            message = republished_of(response, subscription, utc_now())._replace(link=self._link)
        except (*UNDECODABLE, ua.UaError) as error:
            self._give_up(f"publish response {sequence} was lost, and the server cannot send it again ({error})")
            return
        if message.sequence != sequence:  # some servers send an empty message instead of an error
            self._give_up(f"publish response {sequence} was lost, and the server has not sent it again")
            return
        self.recovered += 1
        await self._mailbox.put(message)

    def _give_up(self, reason: str) -> None:
        self.ended = True
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        if not self.is_retired:
            self._mailbox.fail(reason)


def _reason(error: Exception) -> str:
    """Return why no more messages will come."""
    if isinstance(error, _OVER):
        return "the server ended the subscription"
    if isinstance(error, OSError):
        return "the server closed the connection"
    return f"the server refused to publish ({type(error).__name__}: {error})"
