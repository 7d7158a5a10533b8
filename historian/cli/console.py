"""Common options of commands, printing a result as text or JSON, and the progress of long work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from historian.times import format_duration

PlantOption = Annotated[
    Path,
    typer.Option("--plant", "-p", envvar="PENSTOCK_PLANT", help="The plant file, or its directory."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def answer(record: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Print the result of a command on standard output.

    Args:
        record: the result as one JSON object; datetimes, durations and paths are allowed as values.
        text: the result as text.
        as_json: whether to print the record instead of the text.
    """
    print(json.dumps(record, default=_plain) if as_json else text, flush=True)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def stdout_to_stderr() -> AbstractContextManager[object]:
    """Redirect printed text to standard error, away from the result; Ray, for example, prints events of its nodes."""
    return redirect_stdout(sys.stderr)


class _Rate(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{rate:,.0f} {self.unit}/s" if rate else f"– {self.unit}/s")


@contextmanager
def progress(
    what: str, *, unit: str, total: int | None = None, quiet: bool, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar with rate and remaining time while the block runs; what it prints goes to standard error.

    Args:
        what: description of the work, such as "copying".
        unit: unit of the counts, such as "samples".
        total: the total count, if it is known.
        quiet: whether to draw nothing, as under `--json`; nothing is drawn either if the console is not a terminal.
        console: standard error if absent.

    Yields:
        A function `advance(n)` to call when `n` more are done.
    """
    console = console or Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.file.isatty(),
        transient=True,
    )
    with stdout_to_stderr(), bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
