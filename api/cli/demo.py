"""`penstock demo`: the main job in one command, on a simulated compressor."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from api.cli.commands import Commands, Record
from api.cli.run_demo import run_demo
from historian.cli.console import JsonOption, answer
from historian.errors import InvalidInput


def demo(
    *,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep everything in this new directory; a temporary one if absent.")
    ] = None,
    stream_for: Annotated[str, typer.Option("--stream-for", help="How long to stream live.")] = "10s",
    historian: Annotated[
        str | None,
        typer.Option(
            help="Keep samples in this empty InfluxDB, such as influxdb://127.0.0.1:8086/demo; see `historian.url`."
        ),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Leave everything running until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Runs the whole job on a simulated compressor: history, live data, features, training set, online lookup."""
    started = time.monotonic()
    if historian:
        os.environ["PENSTOCK_HISTORIAN"] = historian  # every command of the demo, and the leakage check, go by it
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        elif directory.exists() and any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty; name a directory that does not exist yet")
        directory.mkdir(parents=True, exist_ok=True)
        result = run_demo(
            directory,
            stream_for=stream_for,
            say=_silent if as_json else _say,
            afterwards=_stay if serve else _leave,
        )
    result["seconds"] = round(time.monotonic() - started, 1)
    answer(result, f"\nDone in {result['seconds']} s.", as_json=as_json)


def _say(text: str) -> None:
    print(text, flush=True)


def _silent(text: str) -> None:
    """Under --json the only output is the answer."""


def _leave(commands: Commands, served: Record) -> None:
    """Without --serve everything stops here."""


def _stay(commands: Commands, served: Record) -> None:
    """Keeps streaming, computing and serving until Ctrl-C."""
    print(f"\nServing at {served['url']} (docs at {served['url']}/docs). Ctrl-C stops everything.", file=sys.stderr)
    quiet = Commands(commands.directory, _silent)
    with quiet.beside("stream"):
        try:
            while True:
                quiet.run("compute")
                quiet.run("materialize")
                time.sleep(5)
        except KeyboardInterrupt:
            print("Stopping.", file=sys.stderr)
