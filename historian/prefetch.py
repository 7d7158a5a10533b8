"""Lets producers and consumers wait in threads of their own, so that waiting for one hides the work of another."""

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
    """The producer has no more."""


def prefetch(items: Generator[Item], *, depth: int) -> Generator[Item]:
    """The items in order, produced up to `depth` ahead. An error of the producer is raised where it would have been."""
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
    """Does the work for every item, so many at once while one more waits. The first error ends it."""
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
    except Exception as error:  # noqa: BLE001 - it is the consumer's to deal with
        last = error
    items.close()  # here, where its body ran, not wherever it is collected
    _put(last, waiting, unwanted)


def _put(item: Item | Exception, waiting: Queue[Item | Exception], unwanted: Event) -> None:
    """Waits for room as long as somebody listens."""
    while not unwanted.is_set():
        try:
            waiting.put(item, timeout=_POLL_S)
        except Full:
            continue
        return
