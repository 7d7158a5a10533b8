"""What a rule makes of an event file: events by kind, kinds without effect, and kinds that look misspelt. Pure.

A misspelt failure is worse than a missing one: its machine becomes an example of one that does not fail. A kind that
differs from one of the rule's only in case, spaces, hyphens or underscores is therefore an error, and one that merely
resembles it a finding. The rule's `ignore` names kinds that are meant to be different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.training.label_rules import LabelRule
from historian.errors import InvalidInput, Problem
from historian.times import format_instant

_SIMILAR: Final = 0.8
_ROWS_SHOWN: Final = 5
_UNUSED: Final = "none"


@dataclass(frozen=True)
class EventFindings:
    """What a rule makes of the events of a file."""

    kinds: dict[str, dict[str, Any]]
    """Kind -> `events`, their number, and `effect`: failure, restart, exclude, or none. Also kinds without an event."""
    similar: dict[str, str] = field(default_factory=dict)
    """Kind without effect -> the kind of the rule that it resembles."""
    observed_until: str = ""
    """End of observation, as text."""
    later_rows: tuple[int, ...] = ()
    """Rows of events later than the end of observation: in the future, unless the rule sets an earlier end."""

    def to_manifest(self) -> dict[str, Any]:
        """Return the findings as a part of a manifest."""
        later = {"rows": [*self.later_rows[:_ROWS_SHOWN]], "events": len(self.later_rows)}
        return {"kinds": self.kinds, "similar": self.similar, "observed_until": self.observed_until, "later": later}


def check_spelling(events: pl.DataFrame, rule: LabelRule, file: Path) -> None:
    """Check that no kind of event is one of the rule's in another spelling.

    Args:
        events: Columns of `features.training.events.EVENTS`, in the file's order.
        rule: Names kinds.
        file: The event file, for messages.

    Raises:
        InvalidInput: one differs only in case, spaces, hyphens or underscores; the message names every such row.
    """
    meant = _misspelt(set(events["kind"]), rule)
    rows = zip(file_rows(events, file), events["kind"], strict=True)
    if problems := [_problem(file, row, kind, meant[kind]) for row, kind in rows if kind in meant]:
        raise InvalidInput(problems)


def _misspelt(kinds: set[str], rule: LabelRule) -> dict[str, str]:
    """Kind -> the kind of the rule that it is another spelling of."""
    spelt = {_folded(kind): kind for kind in effects(rule)}
    unknown = kinds - set(effects(rule)) - set(rule.ignore)
    return {kind: spelt[_folded(kind)] for kind in unknown if _folded(kind) in spelt}


def _problem(file: Path, row: int, kind: str, meant: str) -> Problem:
    text = f"kind {kind!r} has no effect; did you mean {meant}? Correct it, or list it under ignore in the rule"
    return Problem(file.name, f"row {row}", text)


def findings(events: pl.DataFrame, rule: LabelRule, file: Path, observed_until: datetime) -> EventFindings:
    """Return what a rule makes of the events of a file.

    Args:
        events: Columns of `features.training.events.EVENTS`, in the file's order.
        rule: Names kinds.
        file: The event file, which rows are counted in.
        observed_until: The end of observation.
    """
    named, counts = effects(rule), Counter(events["kind"])
    later = (events["happened_at"] > observed_until).arg_true()
    rows = file_rows(events, file)
    return EventFindings(
        {kind: {"events": counts[kind], "effect": named.get(kind, _UNUSED)} for kind in sorted({*named, *counts})},
        similar=dict(_similar(sorted(set(counts) - set(named) - set(rule.ignore)), [*named])),
        observed_until=format_instant(observed_until),
        later_rows=tuple(rows[place] for place in later),
    )


def effects(rule: LabelRule) -> dict[str, str]:
    """Return the kinds that a rule names, each with its effect: failure, restart or exclude.

    Args:
        rule: Names kinds.
    """
    excluded = {kind: "exclude" for zone in rule.exclude for kind in zone.kinds}
    restart = dict.fromkeys(rule.episodes.restart, "restart")
    return {**excluded, **restart, **dict.fromkeys(rule.target.failures, "failure")}


def file_rows(events: pl.DataFrame, file: Path) -> range:
    """Return the row of each event as a spreadsheet shows it: a CSV has its head in row 1.

    Args:
        events: All events of the file, in its order.
        file: CSV or Parquet.
    """
    first = 2 if file.suffix.lower() == ".csv" else 1
    return range(first, first + events.height)


def _folded(kind: str) -> str:
    return "".join(letter for letter in kind.casefold() if letter not in " -_")


def _similar(unused: list[str], named: list[str]) -> Iterator[tuple[str, str]]:
    folded = {_folded(kind): kind for kind in named}
    for kind in unused:
        close = get_close_matches(_folded(kind), folded, n=1, cutoff=_SIMILAR)
        if close:
            yield kind, folded[close[0]]
