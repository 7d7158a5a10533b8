"""The one tree of errors. A message says what, which and what to do.

    HistorianError           code          what the caller does
      InvalidInput           invalid       shows every problem, with file and row
        ConfigError          invalid       the same, before any socket opens
      SourceError
        NotConnected         unavailable   the runner reconnects with back-off
        EndOfInput           done          the runner stops this pump
      SpoolFull              full          the runner stops reading until the forwarder has made room
      StoreError
        StoreUnavailable     unavailable   the batch stays in the spool
        InvalidBatch        rejected      the guilty samples go to quarantine with the reason
        AccessDenied         refused       stops with the message; what was read stays in the spool
      FeatureError
        UnknownFeature       not_found     names the near misses
        NotEnoughData        incomplete    says how many samples, how many needed
        AbsentColumn         incomplete    names what the table has, and what to change
        NotOffered           invalid       says what there is in its place

The API maps `code` to an HTTP status, once. Only the bridge's runner decides about retry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class HistorianError(Exception):
    """Any error Penstock raises on purpose; its text is written for the person at the keyboard."""

    code = "internal"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in what a person wrote: `plant.toml line 12: …`, `tags/line1.csv row 17: …`."""

    file: str
    place: str
    text: str

    def __str__(self) -> str:
        """The problem on one line, place first."""
        where = f"{self.file} {self.place}".strip()
        return f"{where}: {self.text}" if where else self.text


class InvalidInput(HistorianError):
    """Something a person gave us cannot be used; lists every problem found, not just the first."""

    code = "invalid"

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = (
            [Problem("", "", problems)] if isinstance(problems, str) else sorted(problems, key=_reading_order)
        )
        super().__init__("\n".join(map(str, self.problems)))


class ConfigError(InvalidInput):
    """The plant file or a tag list is wrong. Raised before any socket opens."""


class SourceError(HistorianError):
    """A source or an archive could not be read."""

    code = "unavailable"


class NotConnected(SourceError):
    """The connection is gone or was never made: connect again."""


class EndOfInput(SourceError):
    """The source has ended for good: nothing more will come."""

    code = "done"


class SpoolFull(HistorianError):
    """The spool has reached its size bound: nothing more is accepted until it drains."""

    code = "full"


class StoreError(HistorianError):
    """The historian store failed."""

    code = "unavailable"


class StoreUnavailable(StoreError):
    """The store cannot be reached or is not ready; the same batch may be written again later."""

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        """Seconds the store asks us to wait, if it does."""


class InvalidBatch(StoreError):
    """The store refuses this batch for what is in it; writing it again cannot help."""

    code = "rejected"

    def __init__(self, text: str, *, dropped: int = 0) -> None:
        super().__init__(text)
        self.dropped = dropped
        """How many samples the store says it refused, if it says so; the others are stored."""


class AccessDenied(StoreError):
    """The store will not serve us until a person changes something: a token, a right, a bucket."""

    code = "refused"


class FeatureError(HistorianError):
    """A feature could not be computed or served."""


class UnknownFeature(FeatureError):
    """No such feature, view, tag or asset."""

    code = "not_found"


class NotEnoughData(FeatureError):
    """There is too little in the store to answer."""

    code = "incomplete"


class AbsentColumn(FeatureError, KeyError):
    """A table of feature rows lacks a requested column. Feast's callers look for `KeyError`."""

    code = "incomplete"
    __str__ = Exception.__str__  # KeyError's own puts the message in quotation marks


class NotOffered(FeatureError, NotImplementedError):
    """Feast's interface has it and this store has not. Feast's callers look for `NotImplementedError`."""

    code = "invalid"


def _reading_order(problem: Problem) -> tuple[str, int, str]:
    number = re.search(r"\d+", problem.place)
    return problem.file, int(number[0]) if number else 0, problem.text


def near_misses(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: `; did you mean a, b?`, or the whole list where it is short, or nothing."""
    names = sorted(known)
    close = get_close_matches(word, names, n=3)
    if close:
        return f"; did you mean {', '.join(close)}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 12 else ""
