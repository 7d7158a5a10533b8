"""What survives a restart of the bridge: the session that the server still keeps, and its subscription.

After a crash a server with few sessions would refuse a new one until the old one has expired. Instead the old one is
resumed, with the messages that were not durable yet. Who can read the file can take the session over, so that it is
readable by its owner only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from asyncua import ua

from bridge.drivers.opcua.client import Former
from bridge.drivers.opcua.driver import Options
from historian.logs import get_logger

log = get_logger(__name__)

Granted = tuple[int, float, int]
"""Status, sampling interval in milliseconds and queue size of an item."""


@dataclass(frozen=True)
class Saved:
    """A session with its subscription."""

    url: str
    former: Former
    subscription: int
    publishing_ms: float
    silence_s: float
    """After how many seconds without any message the subscription counts as silent."""
    results: tuple[Granted, ...]
    wanted: str
    """Hash of what was subscribed to; a subscription to something else is of no use."""

    def items(self) -> list[ua.MonitoredItemCreateResult]:
        """Return the results of the items' creation."""
        return [ua.MonitoredItemCreateResult(ua.StatusCode(code), 0, *rest) for code, *rest in self.results]


def granted(results: Sequence[ua.MonitoredItemCreateResult]) -> tuple[Granted, ...]:
    """Return what is kept of the results of the items' creation."""
    return tuple((each.StatusCode.value, each.RevisedSamplingInterval, each.RevisedQueueSize) for each in results)


def wanted_hash(options: Options, channels: Sequence[object]) -> str:
    """Return a hash of all that makes a subscription what it is."""
    chosen = options.model_dump(include={"publishing_interval", "sampling_interval", "queue_size"}, mode="json")
    return sha256(repr((chosen, list(channels))).encode()).hexdigest()


class SavedFile:
    """The file of one source."""

    def __init__(self, state: Path | None, source: str) -> None:
        """Name it; without a directory nothing is kept."""
        self._path = None if state is None else state / "opcua" / f"{source}.json"

    def read(self) -> Saved | None:
        """Return what an earlier run has left; None if there is nothing usable."""
        if self._path is None:
            return None
        try:
            record = json.loads(self._path.read_text())
            record["former"] = Former(**{**record["former"], "nonce": bytes.fromhex(record["former"]["nonce"])})
            return Saved(**record)
        except (OSError, ValueError, TypeError, KeyError):  # of no run, or damaged: a new session then
            return None

    def write(self, saved: Saved) -> None:
        """Replace what is kept; a failure costs only the resumption after a crash."""
        if self._path is None:
            return
        former = {**vars(saved.former), "nonce": saved.former.nonce.hex()}
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({**vars(saved), "former": former}, file)
            new.replace(self._path)
        except OSError as error:
            log.warning("the session cannot be kept for a restart", file=str(self._path), reason=str(error))

    def forget(self) -> None:
        """Remove what is kept."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
