"""What every command shares: its common options, its answer in words or JSON, and progress on long work."""

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
    typer.Option("--plant", "-p", envvar="PENSTOCK_PLANT", help="The plant file, or the directory it is in."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object, for machines.")]


def answer(record: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Prints a command's result on standard output: `record` as one JSON object, or `text` for people."""
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
    """While this is open, what is printed goes to standard error; Ray, for one, prints what befalls its nodes."""
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
    """A bar with rate and time left on `console`, standard error, while the block runs; yields `advance(n)`.

    Draws nothing when `quiet` (under `--json`) or when that is not a terminal. What the block prints goes there too.
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
