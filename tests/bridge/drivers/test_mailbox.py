"""The mailbox: bounded, in order, and aware of silence."""

from __future__ import annotations

import asyncio

import pytest

from bridge.drivers.mailbox import Mailbox
from historian.errors import NotConnected


def mailbox(*, size: int = 3, silence_s: float = 60.0) -> Mailbox[int]:
    """An empty one."""
    return Mailbox(size, peer="plc:1", silence_s=silence_s)


def test_everything_that_came_is_taken_at_once_and_in_order() -> None:
    """A burst is therefore a single reading."""

    async def main() -> list[int]:
        box = mailbox()
        for number in range(3):
            await box.put(number)
        return await box.take()

    assert asyncio.run(main()) == [0, 1, 2]


def test_when_it_is_full_the_sender_waits() -> None:
    """This is the back-pressure; nothing is dropped."""

    async def main() -> tuple[bool, list[int]]:
        box, found = mailbox(size=2), list[int]()
        sending = asyncio.create_task(_put_all(box, 6))
        await asyncio.sleep(0.05)
        waited = not sending.done()
        while len(found) < 6:
            found += await box.take()
        await sending
        return waited, found

    assert asyncio.run(main()) == (True, [0, 1, 2, 3, 4, 5])


async def _put_all(box: Mailbox[int], count: int) -> None:
    for number in range(count):
        await box.put(number)


def test_silence_is_a_lost_connection() -> None:
    """The error says how long nothing was received."""
    with pytest.raises(NotConnected, match=r"lost plc:1: nothing was heard for 0\.\d s, not even a keep-alive"):
        asyncio.run(mailbox(silence_s=0.01).take())


def test_what_came_before_the_end_is_still_read() -> None:
    """If the mailbox is ended twice, the first reason is reported."""

    async def main() -> list[int]:
        box = mailbox()
        await box.put(7)
        box.fail("the server said goodbye")
        box.fail("a consequence")
        found = await box.take()
        with pytest.raises(NotConnected, match="lost plc:1: the server said goodbye"):
            await box.take()
        return found

    assert asyncio.run(main()) == [7]


def test_the_driver_may_detect_a_lost_connection_itself() -> None:
    """Its check is called while nothing arrives, and gives the reason."""
    with pytest.raises(NotConnected, match="the socket is closed"):
        asyncio.run(mailbox().take(check=lambda: "the socket is closed"))
