"""Where labels come from: a table that a person wrote, or a rule over events. The files are read and checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from features.tables.labels import ASSET, EVENT_TIMESTAMP, read_labels, with_target
from features.training.event_findings import EventFindings, check_spelling, findings
from features.training.events import read_events
from features.training.known_names import KnownNames
from features.training.label_rules import LabelRule, RuleFile, read_rule
from features.training.pinned import PinnedTable
from features.training.request import Request
from features.training.rule_labels import grid_times, observed_until, rule_labels
from historian.errors import InvalidInput
from historian.times import format_instant

_T: Final = pl.col(EVENT_TIMESTAMP)


@dataclass(frozen=True)
class Labels:
    """The label rows of a training set, and how far each looks ahead."""

    frame: pl.DataFrame
    """The labels: asset, event_timestamp, and any other columns."""
    label_end: pl.Series | None
    """The instant up to which each label looks ahead; None if unknown."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Numbers of times without a label, by reason."""
    events: EventFindings | None = None
    """What a rule makes of the events of its file; None for labels from a table."""
    observed_until: datetime | None = None
    """The end of observation; None for labels from a table."""


class LabelSource(Protocol):
    """A source of labels, which are made once the feature tables are pinned."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files the labels are made from; the one the request names first."""

    @property
    def target(self) -> str | None:
        """The column to be predicted, if one is named."""

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets that may be labelled."""

    @property
    def named_assets(self) -> tuple[str, ...]:
        """All assets that the files name, labelled or not, sorted."""

    @property
    def times_view(self) -> str | None:
        """The feature view whose rows give the labels their times, if one does."""

    def labels(self, times_table: PinnedTable | None, as_of: datetime | None) -> Labels:
        """Return the labels. Raises `InvalidInput` if there are none.

        Args:
            times_table: The table of `times_view`.
            as_of: Events that became known later are not used.
        """


def read_source(
    request: Request, directory: Path, names: KnownNames, *, now: datetime, until: datetime | None = None
) -> LabelSource:
    """Read and check the files that a request names.

    Args:
        request: Names a label table or a rule file (.toml).
        directory: Where the request's files lie.
        names: What labels may name.
        now: The current time; events and labels of a rule that are later have not been observed.
        until: The end of observation that a manifest records; worked out if None.

    Raises:
        InvalidInput: with every problem of the files found; or the request states what a rule states itself.
    """
    path = directory / request.labels
    if path.suffix.lower() != ".toml":
        frame = read_labels(path, names.assets)
        frame = with_target(frame, request.target) if request.target else frame
        return _TableSource((path,), request.target, frame, request.horizon)
    if request.target or request.horizon is not None:
        raise InvalidInput(f"{path.name} states the target and how far it looks ahead; leave these options out")
    file = read_rule(path, names)
    _check_end(file, now)
    events = read_events(file.events, names.assets)
    check_spelling(events, file.rule, file.events)
    return _RuleSource((path, file.events), file.rule, events, file.assets, now, until)


def _check_end(file: RuleFile, now: datetime) -> None:
    end = file.rule.observed_until
    if end and end > now:
        raise InvalidInput(
            f"{file.path.name}: observed_until {format_instant(end)} is in the future; nobody has seen what happens "
            f"until then. Leave it out, or state the day the list of events was made"
        )


@dataclass(frozen=True)
class _TableSource:
    """Labels from a table that a person wrote."""

    files: tuple[Path, ...]
    target: str | None
    frame: pl.DataFrame
    horizon: timedelta | None
    times_view: None = None

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(self.frame[ASSET].unique().sort())

    @property
    def named_assets(self) -> tuple[str, ...]:
        return self.assets

    def labels(self, times_table: PinnedTable | None, as_of: datetime | None) -> Labels:
        return Labels(self.frame, None if self.horizon is None else self.frame[EVENT_TIMESTAMP] + self.horizon)


@dataclass(frozen=True)
class _RuleSource:
    """Labels derived from events by a rule."""

    files: tuple[Path, ...]
    rule: LabelRule
    events: pl.DataFrame
    assets: tuple[str, ...]
    now: datetime
    until: datetime | None
    """The end of observation that a manifest records; None if it is to be worked out."""

    @property
    def target(self) -> str:
        return self.rule.target.name

    @property
    def named_assets(self) -> tuple[str, ...]:
        return tuple(sorted({*self.assets, *self.rule.assets, *self.events[ASSET]}))

    @property
    def times_view(self) -> str | None:
        return self.rule.times.view

    def labels(self, times_table: PinnedTable | None, as_of: datetime | None) -> Labels:
        times = self._row_times(times_table) if times_table else grid_times(self.assets, self.rule.times)
        until = self.until or observed_until(times, self.events, self.rule, now=self.now, as_of=as_of)
        made = rule_labels(times, self.events, self.rule, until=until, as_of=as_of)
        counts = {
            "times": times.height,
            "excluded": made.excluded,
            "censored": made.censored,
            "unsampled": made.unsampled,
        }
        if made.labels.is_empty():
            raise InvalidInput(f"{self.files[0].name} labels nothing: {_why_empty(counts)}")
        found = findings(self.events, self.rule, self.files[1], until)
        return Labels(made.labels, made.label_end, counts, found, until)

    def _row_times(self, table: PinnedTable) -> pl.DataFrame:
        """The (asset, event_timestamp) pairs of the table's rows that the rule is to label."""
        bounds = self.rule.times
        wanted = pl.col(ASSET).is_in(self.assets)
        wanted &= bounds.start <= _T if bounds.start else True
        wanted &= bounds.end >= _T if bounds.end else True
        return table.rows([]).select(ASSET, EVENT_TIMESTAMP).filter(wanted).unique().collect()


def _why_empty(counts: Mapping[str, int]) -> str:
    why = "{times} times, {excluded} excluded, {censored} censored".format_map(counts)
    if counts["unsampled"]:
        why += f", {counts['unsampled']} left out: [negatives] draws some for each time that fails, and none does"
    return why
