"""The log of served values, for `penstock consistency`: Parquet files under `<state>/served/<day>`, append-only.

Serving only queues a response; a thread writes it within a minute. If responses arrive faster than they can be written,
some are dropped and their number is logged as a warning: a lookup never waits for the log.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

import polars as pl
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse

from features.tables.labels import ASSET
from historian.plant.plant import Plant
from historian.times import micros

SERVED: Final = pl.Schema(
    {
        "served_at": pl.Datetime("us", "UTC"),
        "asset": pl.String(),
        "feature": pl.String(),  # view:feature
        "event_timestamp": pl.Datetime("us", "UTC"),
        "status": pl.String(),
        "value": pl.Float64(),  # numbers, and flags as 0 and 1
        "text": pl.String(),
    }
)
Answer = tuple[datetime, Mapping[str, str], GetOnlineFeaturesResponse]
"""Time of serving, reference of each name in the response, and the response."""

_QUEUED: Final = 10_000
_log: Final = logging.getLogger(__name__)


class ServedLog:
    """Writes served values to files in a thread of its own; one object per process."""

    def __init__(self, directory: Path, *, keep: timedelta, every: timedelta = timedelta(minutes=1)) -> None:
        """Start the thread.

        Args:
            directory: Directory of the files.
            keep: Age at which the files of a day are deleted.
            every: Time between files.
        """
        self._directory, self._keep, self._every = directory, keep, every
        self._answers: queue.Queue[Answer | None] = queue.Queue(_QUEUED)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="served-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def add(self, answer: Answer) -> None:
        """Queue a response without waiting."""
        try:
            self._answers.put_nowait(answer)
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Write the queued responses and end the thread."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._answers.put(None)
            self._thread.join(timeout=30)

    def _run(self) -> None:
        going = True
        while going:
            answers, going = self._collected()
            try:
                self._write(answers)
            except (OSError, pl.exceptions.PolarsError) as error:
                _log.warning("%d served answers could not be kept: %s", len(answers), error)

    def _collected(self) -> tuple[list[Answer], bool]:
        """Return the responses collected until it is time to write, and whether more will come."""
        answers: list[Answer] = []
        until = monotonic() + self._every.total_seconds()
        while len(answers) < _QUEUED and (left := until - monotonic()) > 0:
            try:
                answer = self._answers.get(timeout=left)
            except queue.Empty:
                break
            if answer is None:
                return answers, False
            answers.append(answer)
        return answers, True

    def _write(self, answers: Sequence[Answer]) -> None:
        if self._lost:
            _log.warning("%d served answers were not kept: they came faster than they could be written", self._lost)
            self._lost = 0
        if not answers:
            return
        newest = max(at for at, _, _ in answers)
        directory = self._directory / f"{newest:%Y-%m-%d}"
        directory.mkdir(parents=True, exist_ok=True)
        draft = directory / f".{os.getpid()}.tmp"
        served_frame(answers).write_parquet(draft)
        draft.replace(directory / f"{micros(newest)}-{os.getpid()}-{self._thread.native_id}.parquet")
        for old in self._directory.iterdir():
            if old.name < f"{newest - self._keep:%Y-%m-%d}":
                shutil.rmtree(old, ignore_errors=True)  # another process may delete it as well


def served_path(plant: Plant) -> Path:
    """Return the directory of a plant's served values.

    Args:
        plant: The plant.
    """
    return plant.state / "served"


def open_log(plant: Plant) -> ServedLog | None:
    """Open the plant's log of served values; None unless `[online] log` turns it on.

    Args:
        plant: The plant.
    """
    return ServedLog(served_path(plant), keep=plant.served_for) if plant.served_for else None


def served_since(directory: Path, since: datetime) -> pl.LazyFrame:
    """Return the values served at or after `since`: columns of `SERVED`.

    Args:
        directory: See `served_path`.
        since: The instant, with a zone.
    """
    days = sorted(directory.glob("*/*.parquet")) if directory.is_dir() else []
    files = [file for file in days if file.parent.name >= f"{since.astimezone(UTC):%Y-%m-%d}"]
    frame = pl.scan_parquet(files, schema=SERVED) if files else SERVED.to_frame().lazy()
    return frame.filter(pl.col("served_at") >= since)


def served_frame(answers: Iterable[Answer]) -> pl.DataFrame:
    """Return responses as a frame with one row per value: columns of `SERVED`.

    Args:
        answers: The queued responses.
    """
    columns: dict[str, list[Any]] = {name: [] for name in SERVED}
    for at, refs, answer in answers:
        vectors = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
        assets = [value.string_val for value in vectors[ASSET].values]
        for name, ref in refs.items():
            vector = vectors[name]
            values = [_plain(value) for value in vector.values]
            columns["served_at"] += [at] * len(assets)
            columns["asset"] += assets
            columns["feature"] += [ref] * len(assets)
            columns["event_timestamp"] += [instant.ToDatetime(UTC) for instant in vector.event_timestamps]
            columns["status"] += [FieldStatus.Name(status) for status in vector.statuses]
            columns["value"] += [None if isinstance(value, str) else value for value in values]
            columns["text"] += [value if isinstance(value, str) else None for value in values]
    return pl.DataFrame(columns, schema=SERVED, strict=False)


def _plain(value: Any) -> float | str | None:
    kind = value.WhichOneof("val")
    found = getattr(value, kind) if kind else None
    return found if found is None or isinstance(found, str) else float(found)
