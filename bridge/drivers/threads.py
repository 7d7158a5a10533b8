"""Runs a blocking generator in threads, so that a driver with a blocking library can be asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

Item = TypeVar("Item")


async def in_thread(items: Generator[Item]) -> AsyncGenerator[Item]:
    """Yield the items of a blocking generator, each produced in a thread."""
    try:
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item
    finally:
        await asyncio.to_thread(items.close)
