"""A command in a package of its own, found by entry point as any third party's would be."""

from __future__ import annotations


def hello() -> None:
    """Greets whoever reads it."""
    print("hello")
