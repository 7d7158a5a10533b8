"""A bounded mailbox between a library's callbacks and a source's `read`; it also detects silence.

When it is full, `put` waits: a driver requests no more data until the runner has read, and the queues of the other side
fill up.
Drivers of publish/subscribe protocols share it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, Generic, TypeVar

from historian.errors import NotConnected
from historian.times import utc_now

Item = TypeVar("Item")
CHECK_S: Final = 0.25


class Mailbox(Generic[Item]):
    """Items that have arrived and were not read yet, and when the other side was last heard."""

    def __init__(self, size: int, *, peer: str, silence_s: float) -> None:
        """Create an empty mailbox; silence is counted from now on.

        Args:
            size: largest number of items that may wait.
            peer: the other side's name, for messages.
            silence_s: after how many seconds without hearing anything the connection counts as lost.
        """
        self.silence_s = silence_s
        self.heard_at: datetime = utc_now()
        self._peer = peer
        self._items: asyncio.Queue[Item] = asyncio.Queue(size)
        self._broken = ""
        self._heard = time.monotonic()
        self._taken = -math.inf

    async def put(self, item: Item) -> None:
        """Add an item; wait for room."""
        self.heard()
        await self._items.put(item)
        self.heard()  # waiting for our own reader does not count as silence of the other side

    def heard(self) -> None:
        """Record that something arrived, if only a keep-alive."""
        self._heard, self.heard_at = time.monotonic(), utc_now()

    def fail(self, reason: str) -> None:
        """Mark the connection as lost; items that have arrived can still be read. The first reason is kept."""
        self._broken = self._broken or reason

    async def take(self, *, check: Callable[[], str] = lambda: "", every_s: float = 0.0) -> list[Item]:
        """Return all items that have arrived; wait for the first one.

        Args:
            check: called now and then while nothing arrives; returns why the connection is lost, or an empty string.
            every_s: shortest time since the last call returned; it is waited for, unless the mailbox is full before.

        Raises:
            NotConnected: the connection is lost.
        """
        items = [await self._next(check)]
        while (wait_s := self._taken + every_s - time.monotonic()) > 0 and not (self._items.full() or self._broken):
            await asyncio.sleep(min(wait_s, CHECK_S))
        while not self._items.empty():
            items.append(self._items.get_nowait())
        self._taken = time.monotonic()
        return items

    async def _next(self, check: Callable[[], str]) -> Item:
        while True:
            if self._items.empty():
                self._raise_if_lost(check())
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    return await self._items.get()

    def _raise_if_lost(self, reason: str) -> None:
        silent_s = time.monotonic() - self._heard
        if reason:
            self.fail(reason)
        elif silent_s > self.silence_s:
            self.fail(f"nothing was heard for {silent_s:.1f} s, not even a keep-alive")
        if self._broken:
            raise NotConnected(f"lost {self._peer}: {self._broken}")
