"""The cost of a call in steps of SQLite's virtual machine, which no other load on the machine changes."""

from __future__ import annotations

from collections.abc import Callable

from bridge.edge.database import Edge


def sqlite_steps(edge: Edge, call: Callable[[], object]) -> int:
    """The number of steps that a call takes inside a transaction of its own."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with edge.transaction() as database:
        database.set_progress_handler(count, 1)
        call()
        database.set_progress_handler(None, 1)
    return counted
