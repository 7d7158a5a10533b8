"""Reads one page ahead, so that an archive is read while the page before is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """Stands for the end of the items."""


async def read_ahead(items: AsyncGenerator[Item]) -> AsyncGenerator[Item]:
    """Yield the items in order while the next one is produced; an error is raised in place of the item."""
    waiting: asyncio.Queue[Item | _End | Exception] = asyncio.Queue(1)
    producer = asyncio.create_task(_produce(items, waiting))
    try:
        while not isinstance(item := await waiting.get(), _End):
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        producer.cancel()
        await asyncio.wait([producer])


async def _produce(items: AsyncGenerator[Item], waiting: asyncio.Queue[Item | _End | Exception]) -> None:
    async with aclosing(items):
        try:
            async for item in items:
                await waiting.put(item)
            await waiting.put(_End())
        except Exception as error:  # noqa: BLE001 (it is raised in the consumer)
            await waiting.put(error)
