"""The options that select rejected samples, given to each command of `penstock quarantine` that needs a selection."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from bridge.edge.quarantine import Selection
from historian.times import parse_instant, utc_now


def with_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options of `_selection` in place of its parameter `selection`.

    Args:
        command: A command with a keyword-only parameter `selection`.
    """
    options = inspect.signature(_selection, eval_str=True).parameters
    signature = inspect.signature(command, eval_str=True)

    @wraps(command)
    def run(*args: Any, **given: Any) -> None:
        command(*args, selection=_selection(**{name: given.pop(name) for name in options if name in given}), **given)

    parameters = [
        parameter
        for name, each in signature.parameters.items()
        for parameter in (options.values() if name == "selection" else [each])
    ]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer reads
    return run


def _selection(
    *,
    source: Annotated[str | None, typer.Option("--source", help="Only of this source or archive.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only with this reason, as shown in the list.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only of this tag.")] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", help="Only rejected before this time, such as 2026-03-01T00:00:00Z or now-7d."),
    ] = None,
) -> Selection:
    return Selection(source, reason, tag, parse_instant(before, now=utc_now()) if before else None)
