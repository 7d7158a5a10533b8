"""`penstock` commands run from Python as a user would type them: for the demo and the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from historian.errors import HistorianError

Record = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Commands:
    """Runs `penstock` commands in a plant's directory, telling each as it would be typed."""

    directory: Path
    say: Say
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to our own: what the plant file asks for as `${NAME}`."""

    def run(self, *arguments: str) -> Record:
        """Runs a command to its end and returns its JSON answer."""
        self.say(f"$ penstock {' '.join(arguments)}")
        with self._start(arguments, stderr=subprocess.PIPE) as started:
            printed, complaint = started.communicate()
        if started.returncode:
            raise HistorianError(f"`penstock {' '.join(arguments)}` failed:\n{complaint.strip()}")
        answer: Record = json.loads(printed)
        return answer

    @contextmanager
    def beside(self, *arguments: str) -> Iterator[IO[str]]:
        """Starts a command that stays, gives what it prints, and stops it at the end."""
        self.say(f"$ penstock {' '.join(arguments)} &")
        with self._start(arguments) as started:
            try:
                assert started.stdout is not None  # noqa: S101 - asked for below
                yield started.stdout
            finally:
                started.terminate()

    @contextmanager
    def ready(self, *arguments: str) -> Iterator[Record]:
        """Starts a command that stays and waits for the JSON line by which it says that it is ready."""
        with self.beside(*arguments) as printed:
            line = printed.readline()
            if not line:
                raise HistorianError(f"`penstock {' '.join(arguments)}` ended before it was ready")
            yield json.loads(line)

    def _start(self, arguments: tuple[str, ...], *, stderr: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [Path(sys.executable).with_name("penstock"), *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=self.directory,
            env={**os.environ, **self.environment},
        )
