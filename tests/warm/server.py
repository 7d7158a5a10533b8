"""A process that has imported what commands need, and forks a real process for each command that a client sends.

    python -m tests.warm.server SOCKET

It has imported packages only and used none of them: no query, no connection, no module of ours, some of which run one
when they are imported. A forked process therefore starts as a new one would, with its own arguments, environment,
directory and standard streams, and ends as a new one would; only the import of Feast, seconds of CPU, is behind it.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = (
    "features",  # first: docs/decisions/0006
    "feast",
    "feast.feature_server",
    "deltalake",
    "httpx",
    "matplotlib.backends.backend_agg",
    "polars",
    "pyarrow.parquet",
    "scipy.signal",
    "scipy.stats",
    "typer",
    "uvicorn",
)


def penstock() -> None:
    """The console script."""
    import_module("historian.cli.main").main()


def feast() -> None:
    """Feast's console script."""
    import_module("feast.cli.cli").cli()


def python() -> None:
    """`python -c CODE`."""
    code = sys.argv[2]
    del sys.argv[1:3]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as python does


PROGRAMS: Final = {program.__name__: program for program in (penstock, feast, python)}


def serve(path: Path) -> Callable[[], None]:
    """Serves until standard input ends; returns only in forked processes, with the program that is to run in them."""
    for name in PACKAGES:
        import_module(name)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        print("READY", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            client, _ = listening.accept()
            if os.fork() == 0:
                break
            client.close()
            reap()
        else:
            reap()
            sys.exit()
    return supervise(client)


def reap() -> None:
    """Waits for the supervisors that have ended, so that the CPU time they took counts as this process's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def supervise(client: socket.socket) -> Callable[[], None]:
    """Forks the process and waits for its end, or kills it if the client has ended; returns only in that process."""
    head, streams, _, _ = socket.recv_fds(client, 16, 3)
    request = json.loads(client.makefile("rb").read(int(head)))
    process = os.fork()
    if process == 0:
        client.close()
        return becoming(request, streams)
    client.send(f"{process}\n".encode())
    ended = os.pidfd_open(process)
    if ended not in select.select([client.fileno(), ended], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with suppress(BrokenPipeError):
        client.send(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def becoming(request: dict[str, Any], streams: list[int]) -> Callable[[], None]:
    """Makes this process one that was started by the client; returns its program."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    sys.path[0] = ""
    random.seed()
    return PROGRAMS[Path(sys.argv[0]).name]


if __name__ == "__main__":
    serve(Path(sys.argv[1]))()
