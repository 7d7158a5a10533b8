"""Producers and consumers in threads of their own, so that one works while the other waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event, Thread
from typing import Final, TypeVar

Item = TypeVar("Item")
_POLL_S: Final = 0.1


class _End(Exception):
    """Raised internally when the producer is exhausted."""


def prefetch(items: Generator[Item], *, depth: int) -> Generator[Item]:
    """Yield the items in order while a thread produces up to `depth` of them ahead.

    An error of the producer is raised in place of the item.
    """
    waiting: Queue[Item | Exception] = Queue(depth)
    unwanted = Event()
    thread = Thread(target=_produce, args=(items, waiting, unwanted), daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), Exception):
            yield item
        if not isinstance(item, _End):
            raise item
    finally:
        unwanted.set()
        thread.join()


def run_concurrently(work: Callable[[Item], object], items: Iterable[Item], *, threads: int) -> None:
    """Run the work for every item, `threads` at a time while one more item waits. The first error ends it."""
    with ThreadPoolExecutor(threads) as pool:
        doing: deque[Future[object]] = deque()
        for item in items:
            doing.append(pool.submit(work, item))
            if len(doing) > threads:
                doing.popleft().result()
        for each in doing:
            each.result()


def _produce(items: Generator[Item], waiting: Queue[Item | Exception], unwanted: Event) -> None:
    last: Exception = _End()
    try:
        for item in items:
            _put(item, waiting, unwanted)
            if unwanted.is_set():
                break
    except Exception as error:  # noqa: BLE001 - it is raised in the consumer
        last = error
    items.close()  # in the thread where its body ran, not wherever it is garbage-collected
    _put(last, waiting, unwanted)


def _put(item: Item | Exception, waiting: Queue[Item | Exception], unwanted: Event) -> None:
    """Put an item into the queue; wait for room unless the consumer has stopped."""
    while not unwanted.is_set():
        try:
            waiting.put(item, timeout=_POLL_S)
        except Full:
            continue
        return
