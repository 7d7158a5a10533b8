"""Runs `penstock` commands in the process of the test, so that a story of many commands imports Feast once."""

from __future__ import annotations

from contextlib import AbstractContextManager, chdir
from dataclasses import dataclass
from typing import IO

from api.cli.commands import Commands, Record
from tests.commands import record_of


@dataclass(frozen=True)
class InProcess:
    """A `Runner`: commands that end run here, those that stay run in a process of their own."""

    commands: Commands

    def run(self, *arguments: str) -> Record:
        """See `Runner.run`; fails the test with the command's output."""
        with chdir(self.commands.directory):
            return record_of(*arguments, **self.commands.environment)

    def background(self, *arguments: str) -> AbstractContextManager[IO[str]]:
        """See `Runner.background`."""
        return self.commands.background(*arguments)

    def ready(self, *arguments: str) -> AbstractContextManager[Record]:
        """See `Runner.ready`."""
        return self.commands.ready(*arguments)
