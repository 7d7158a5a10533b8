"""The tree of errors. A message says what is wrong, where, and what to do.

    HistorianError           code          what follows
      InvalidInput           invalid       every problem is shown, with file and row
        ConfigError          invalid       the same, before any socket opens
      SourceError
        NotConnected         unavailable   the runner reconnects with back-off
        EndOfInput           done          the runner stops reading this source
        TagsNotRead          unavailable   the backfill goes on; the other tags of the slice count as covered
      SpoolFull              full          the runner stops reading until the sinks have made room
      StoreError
        StoreUnavailable     unavailable   the batch stays in the spool
        InvalidBatch         rejected      the invalid samples go to quarantine with the reason
        AccessDenied         refused       the command stops with the message; samples stay in the spool
      FeatureError
        UnknownFeature       not_found     the message names the near misses
        NotEnoughData        incomplete    the message names what is missing, and the command to run
        AbsentColumn         incomplete    the message names the table's columns, and what to change
        NotOffered           invalid       the message names the alternative

The API maps each `code` to one HTTP status. Only the bridge's runners decide on retries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class HistorianError(Exception):
    """Base of all errors that Penstock raises on purpose; the text is written for the user."""

    code = "internal"


@dataclass(frozen=True)
class Problem:
    """One problem in a file that a person wrote: `plant.toml line 12: …`, `tags/line1.csv row 17: …`."""

    file: str
    place: str
    text: str

    def __str__(self) -> str:
        """Return the problem on one line, place first."""
        where = f"{self.file} {self.place}".strip()
        return f"{where}: {self.text}" if where else self.text


class InvalidInput(HistorianError):
    """Input from a user is invalid; lists every problem found, not only the first."""

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
    """The connection was lost or never made; the caller connects again."""


class EndOfInput(SourceError):
    """The source has ended permanently; no more rows will come."""

    code = "done"


class TagsNotRead(SourceError):
    """Some tags of an archive could not be read in a range; everything of the other tags was."""

    def __init__(self, text: str, tags: Iterable[str]) -> None:
        super().__init__(text)
        self.tags = frozenset(tags)
        """Names of the tags that could not be read."""


class SpoolFull(HistorianError):
    """The spool has reached its size bound and accepts nothing until it drains."""

    code = "full"


class StoreError(HistorianError):
    """The historian store failed."""

    code = "unavailable"


class StoreUnavailable(StoreError):
    """The store cannot be reached or is not ready; the same batch may be written again later."""

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        """Seconds that the store requests us to wait; None if it states none."""


class InvalidBatch(StoreError):
    """The store rejects this batch because of its contents; writing it again cannot help."""

    code = "rejected"

    def __init__(self, text: str, *, dropped: int = 0) -> None:
        super().__init__(text)
        self.dropped = dropped
        """Number of samples that the store reports as rejected, 0 if it does not say; the others are stored."""


class AccessDenied(StoreError):
    """The store refuses access until a person changes something: a token, a permission, a bucket."""

    code = "refused"


class FeatureError(HistorianError):
    """A feature could not be computed or served."""


class UnknownFeature(FeatureError):
    """No such feature, view, tag or asset."""

    code = "not_found"


class NotEnoughData(FeatureError):
    """Data needed for the result are missing."""

    code = "incomplete"


class AbsentColumn(FeatureError, KeyError):
    """A table of feature rows lacks a requested column. Feast's callers look for `KeyError`."""

    code = "incomplete"
    __str__ = Exception.__str__  # KeyError's own puts the message in quotation marks


class NotOffered(FeatureError, NotImplementedError):
    """A part of Feast's interface that this store does not support. Feast's callers look for `NotImplementedError`."""

    code = "invalid"


def _reading_order(problem: Problem) -> tuple[str, int, str]:
    number = re.search(r"\d+", problem.place)
    return problem.file, int(number[0]) if number else 0, problem.text


def near_misses(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: `; did you mean a, b?`, the whole list if it is short, or an empty string.

    Args:
        word: the unknown name.
        known: the known names.
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=3)
    if close:
        return f"; did you mean {', '.join(close)}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 12 else ""
