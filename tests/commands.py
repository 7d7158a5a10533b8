"""`penstock` commands run in the process of the test: a process of their own takes seconds to import what they need."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from historian.cli.main import app


@contextmanager
def as_in_a_process() -> Iterator[None]:
    """Ignores connections left open at the end, as a command leaves them to the end of its process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def record_of(*arguments: str | Path, **environment: str) -> dict[str, Any]:
    """The JSON object that a command prints; the test fails if the command does.

    Args:
        arguments: the command and its options, without `--json`.
        environment: variables in addition to those of the process.
    """
    line = [*map(str, arguments), "--json"]
    with as_in_a_process():
        done = CliRunner(env=environment).invoke(app, line)
        assert done.exit_code == 0, f"penstock {' '.join(line)}: {done.output}{done.exception!r}"
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record
