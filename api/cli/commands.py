"""Runs `penstock` commands from Python as a user would type them, for the demo and the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from historian.errors import HistorianError

Record = dict[str, Any]
"""The JSON object that a command prints with `--json`."""
Report = Callable[[str], None]
"""A function that is called with a line of text for people."""


class Runner(Protocol):
    """Runs `penstock` commands in the directory of a plant."""

    def run(self, *arguments: str) -> Record:
        """Run a command to its end and return its record. Raises `HistorianError` if it fails."""
        ...

    def background(self, *arguments: str) -> AbstractContextManager[IO[str]]:
        """Run a command until the context ends; yields its standard output."""
        ...

    def ready(self, *arguments: str) -> AbstractContextManager[Record]:
        """Run a command until the context ends; yields the record that it prints once it is ready."""
        ...


@dataclass(frozen=True)
class Commands:
    """A `Runner` that starts a process for each command, and reports each command as it would be typed."""

    directory: Path
    report: Report
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables in addition to our own, to which the plant file refers as `${NAME}`."""
    program: Path = field(default_factory=lambda: Path(sys.executable).with_name("penstock"))
    """The program that is started for each command."""

    def run(self, *arguments: str) -> Record:
        """See `Runner.run`."""
        self.report(f"$ penstock {' '.join(arguments)}")
        with self._start(arguments, stderr=subprocess.PIPE) as started:
            printed, errors = started.communicate()
        if started.returncode:
            raise HistorianError(f"`penstock {' '.join(arguments)}` failed:\n{errors.strip()}")
        record: Record = json.loads(printed)
        return record

    @contextmanager
    def background(self, *arguments: str) -> Iterator[IO[str]]:
        """See `Runner.background`."""
        self.report(f"$ penstock {' '.join(arguments)} &")
        with self._start(arguments) as started:
            try:
                assert started.stdout is not None  # noqa: S101 - _start makes it a pipe
                yield started.stdout
            finally:
                started.terminate()

    @contextmanager
    def ready(self, *arguments: str) -> Iterator[Record]:
        """See `Runner.ready`. Raises `HistorianError` if the command ends before it is ready."""
        with self.background(*arguments) as printed:
            line = printed.readline()
            if not line:
                raise HistorianError(f"`penstock {' '.join(arguments)}` ended before it was ready")
            yield json.loads(line)

    def _start(self, arguments: tuple[str, ...], *, stderr: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=self.directory,
            env={**os.environ, **self.environment},
        )
