"""A stand-in for MLflow, which cannot be installed next to the pinned libraries: it keeps what is logged.

The calls, with these arguments, were tried with MLflow 3.17.2 by hand.
"""

from __future__ import annotations

from typing import Any, Final

LOGGED: Final[list[tuple[Any, ...]]] = []


def log_input(dataset: Any, context: str | None = None) -> None:
    """Keep a data set as an input."""
    LOGGED.append((dataset, context))


def log_artifact(local_path: str) -> None:
    """Keep the path of an artefact."""
    LOGGED.append((local_path,))
