"""`penstock demo`: everything in one command, on a simulated compressor."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from api.cli.commands import Commands, Record
from api.cli.run_demo import run_demo
from historian.cli.console import JsonOption, answer
from historian.errors import ConfigError, InvalidInput
from historian.stores.influx.address import parse_address
from historian.stores.urls import is_influx

_TOKEN = "PENSTOCK_HISTORIAN_TOKEN"  # noqa: S105 - the variable's name


def demo(
    *,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep everything in this new directory; a temporary one if absent.")
    ] = None,
    stream_for: Annotated[str, typer.Option("--stream-for", help="How long to stream live.")] = "10s",
    historian: Annotated[
        str | None,
        typer.Option(
            help="Keep samples in this empty InfluxDB, such as influxdb://127.0.0.1:8086/demo; see `historian.url`. "
            f"{_TOKEN} holds its token (2.x: one that may create the bucket) or its user's password (1.x)."
        ),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Leave everything running until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run everything on a simulated compressor: history, live data, features, training set, online lookup."""
    started = time.monotonic()
    if historian:
        _check_token(historian)
        os.environ["PENSTOCK_HISTORIAN"] = historian  # for every command of the demo, and for its leakage check
    report = _discard if as_json else _print
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        elif directory.exists() and any(directory.iterdir()):
            raise InvalidInput(f"{directory} is not empty; name a directory that does not exist yet")
        directory.mkdir(parents=True, exist_ok=True)
        while_serving = partial(_keep_running, Commands(directory, _discard)) if serve else _stop
        commands = Commands(directory, report)
        result = run_demo(commands, directory, stream_for=stream_for, report=report, while_serving=while_serving)
    result["seconds"] = round(time.monotonic() - started, 1)
    answer(result, f"\nDone in {result['seconds']} s.", as_json=as_json)


def _check_token(url: str) -> None:
    """Raise `ConfigError` if the url names an InfluxDB that cannot be used without a token or password."""
    if not is_influx(url) or os.environ.get(_TOKEN):
        return
    address = parse_address(url)
    if address.org:
        raise ConfigError(
            f"InfluxDB 2.x needs a token: set {_TOKEN} to one that may create the bucket {address.bucket} "
            f"of {address.org}, read it and write to it"
        )
    if address.user:
        raise ConfigError(f"the user {address.user} needs a password: set {_TOKEN} to it")


def _print(text: str) -> None:
    print(text, flush=True)


def _discard(text: str) -> None:
    """Print nothing: with --json only the record is printed."""


def _stop(served: Record) -> None:
    """Do nothing, so that without --serve everything stops."""


def _keep_running(commands: Commands, served: Record) -> None:
    """Keep streaming, computing and serving until Ctrl-C."""
    print(f"\nServing at {served['url']} (docs at {served['url']}/docs). Ctrl-C stops everything.", file=sys.stderr)
    with commands.background("stream"):
        try:
            while True:
                commands.run("compute")
                commands.run("materialize")
                time.sleep(5)
        except KeyboardInterrupt:
            print("Stopping.", file=sys.stderr)
