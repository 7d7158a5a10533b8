"""Runs a blocking generator in threads, so that a driver with a blocking library can be asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

Item = TypeVar("Item")


async def in_thread(items: Generator[Item]) -> AsyncGenerator[Item]:
    """Yield the items of a blocking generator, each produced in a thread.

    If cancelled, the item under way is finished first: a generator cannot be closed while it runs.
    """
    producing: asyncio.Future[Item | None] | None = None
    try:
        while True:
            producing = asyncio.ensure_future(asyncio.to_thread(next, items, None))
            item = await asyncio.shield(producing)
            if item is None:
                return
            yield item
    finally:
        if producing is not None and not producing.done():
            await asyncio.wait([producing])
            producing.exception()  # nobody else will look at it
        await asyncio.to_thread(items.close)
