"""Lets a driver whose library blocks keep the asynchronous protocols: its work is done in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

Item = TypeVar("Item")


async def in_thread(items: Generator[Item]) -> AsyncGenerator[Item]:
    """The items of a blocking generator, each produced in a thread while others may run."""
    try:
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item
    finally:
        await asyncio.to_thread(items.close)
