"""A process that computes partitions for its parent, which sends them through a socket and receives the rows.

It is started as a program of its own, so that it shares neither memory nor threads with its parent, and Polars, which
reads the environment, keeps to one core in it. It ends when the socket is closed, at the latest with its parent.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any, Final

from features.compute.partition import Computed, Partition, compute_partitions
from historian.errors import FeatureError
from historian.stores.open import open_url

_CODE: Final = "from features.compute.engines.worker import serve; serve({})"
_READY: Final = "ready"


class WorkerProcess:
    """The parent's handle of the process."""

    def __init__(self, url: str, token: str) -> None:
        """Start it; the url and the token of the store go through the socket, where nobody else sees them."""
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-c", _CODE.format(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "POLARS_MAX_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to the parent, which stops it
            )
        with suppress(OSError):  # if it could not start, it never gets ready
            self._pipe.send((url, token))
        self._ready, self._sending, self._receiving = False, Lock(), Lock()

    def is_ready(self) -> bool:
        """Return whether it has just become ready: true once, and never if it could not start."""
        if self._ready:
            return False
        try:
            self._ready = self._pipe.poll() and self._pipe.recv() == _READY
        except (EOFError, OSError):
            return False
        return self._ready

    def compute(self, group: Sequence[Partition]) -> Computed:
        """Compute partitions in the process, and return their rows.

        With two threads that call this the process always has something to do; each may receive the rows of the other's
        group.

        Raises:
            FeatureError: the process was killed.
            HistorianError: computing failed there.
        """
        try:
            with self._sending:
                self._pipe.send(list(group))
            with self._receiving:
                found: Computed | Exception = self._pipe.recv()
        except (EOFError, OSError):
            raise FeatureError(
                "a process that computed features was killed, most likely for lack of memory; nothing is lost: "
                "run it again, with less --memory or fewer --jobs"
            ) from None
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        """End the process at once, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()


def serve(socket: int) -> None:
    """Run in the process: compute groups of partitions until the socket is closed."""
    pipe: Connection[Any, Any] = Connection(socket)
    try:
        url, token = pipe.recv()
        pipe.send(_READY)
        store = None
        while True:
            group = pipe.recv()
            try:
                store = store or open_url(url, token)
                answer: object = compute_partitions(store, group)
            except Exception as error:  # noqa: BLE001 - raised again in the parent
                answer = error
            pipe.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
