"""A command in a separate package, found by entry point like a third party's."""

from __future__ import annotations


def hello() -> None:
    """Greet the reader."""
    print("hello")
