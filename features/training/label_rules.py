"""A rule file: how labels are derived from events. It is TOML, in the directory of the event file.

events = "failures.csv"

[target]
kind = "horizon"
failures = ["bearing"]
horizon = "24h"

[times]
view = "compressor_vibration"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from features.tables.labels import RESERVED
from features.training.known_names import KnownNames
from historian.errors import InvalidInput, near_misses
from historian.plant.document import Document, problems_of, read_toml
from historian.plant.keys import Model, Name
from historian.times import Duration

Kind = Annotated[str, StringConstraints(min_length=1)]
NAMES = {"horizon": "fails_within", "remaining_life": "remaining_life_s"}


class Target(Model):
    """What is to be predicted."""

    kind: Literal["horizon", "remaining_life"] = Field(
        description="horizon: whether the asset fails within `horizon`. remaining_life: the seconds until it fails."
    )
    failures: tuple[Kind, ...] = Field(min_length=1, description="The kinds of events that are failures.")
    horizon: Duration | None = Field(None, description="Only a failure within this time counts; for kind horizon.")
    column: Name = Field("", validate_default=False, description="The target's name; if empty, that of its kind.")
    censored: Literal["drop", "keep"] = Field(
        "drop",
        description="Drop rows whose outcome was not observed, or keep them with `at_least_s`, without target.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Target:
        if (self.kind == "horizon") != (self.horizon is not None):
            raise ValueError("horizon belongs to kind horizon, and is needed there")
        if self.name in RESERVED:
            raise ValueError(f"column {self.column} is reserved; choose another name")
        return self

    @property
    def name(self) -> str:
        """The name of the target's column."""
        return self.column or NAMES[self.kind]


class Times(Model):
    """The times of the labels: those of a feature view's rows, or a regular grid."""

    view: Name | None = Field(None, description="The times of this feature view's rows.")
    every: Duration | None = Field(None, description="A grid with this step, aligned to 1970-01-01T00:00:00Z.")
    start: AwareDatetime | None = Field(None, description="The first time; required with `every`.")
    end: AwareDatetime | None = Field(None, description="The last time; required with `every`.")

    @model_validator(mode="after")
    def _agree(self) -> Times:
        if (self.view is None) == (self.every is None):
            raise ValueError("times are those of a view or lie on a grid: give view or every")
        if self.every and not (self.start and self.end):
            raise ValueError("a grid needs start and end, such as 2026-03-01T00:00:00Z")
        if self.start and self.end and self.start > self.end:
            raise ValueError("start is after end")
        return self


class Exclusion(Model):
    """An interval around events in which nothing is labelled, such as a repair or the running-in after it."""

    kinds: tuple[Kind, ...] = Field(min_length=1, description="The kinds of events.")
    before: Duration | None = Field(None, description="It begins this long before the event; at the event if absent.")
    after: Duration | None = Field(None, description="It ends this long after the event's end; at that end if absent.")


class Episodes(Model):
    """The events after which an asset counts as new, so that a new episode begins."""

    restart: tuple[Kind, ...] = Field(
        (), description="The kinds of events at whose end one episode ends and the next begins."
    )


class Negatives(Model):
    """How the rows that do not fail are sampled; there are often a thousand of them for each that does."""

    per_positive: float = Field(gt=0, le=1e6, description="How many rows that do not fail are kept for each that does.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the random sample.")


class LabelRule(Model):
    """The whole of a rule file."""

    events: str = Field(min_length=1, description="The event file, CSV or Parquet, relative to this file.")
    assets: tuple[Name, ...] = Field((), description="The assets to label; all assets of the view's class if absent.")
    observed_until: AwareDatetime | None = Field(
        None,
        description="The event file has every failure up to this instant; if absent, up to its newest event or label "
        "that is not in the future.",
    )
    target: Target
    times: Times
    exclude: tuple[Exclusion, ...] = Field((), description="Intervals without labels: any number of [[exclude]].")
    episodes: Episodes = Episodes()
    negatives: Negatives | None = Field(None, description="How rows that do not fail are sampled; all if absent.")
    ignore: tuple[Kind, ...] = Field(
        (), description="Kinds of events that are meant to have no effect, although they resemble one named above."
    )

    @model_validator(mode="after")
    def _agree(self) -> LabelRule:
        if Path(self.events).is_absolute() or ".." in Path(self.events).parts:
            raise ValueError("events must lie in the directory of the rule file, or below it")
        if self.times.every and not self.assets:
            raise ValueError("labels on a grid need assets")
        if self.negatives and self.target.kind != "horizon":
            raise ValueError("negatives belong to kind horizon")
        return self


@dataclass(frozen=True)
class RuleFile:
    """A rule file, checked against the names it may use."""

    rule: LabelRule
    path: Path
    events: Path
    """The event file it names."""
    assets: tuple[str, ...]
    """The assets it labels, sorted: those it names, and of them those that its view has rows of."""


def read_rule(path: Path, names: KnownNames) -> RuleFile:
    """Read and check a rule file.

    Args:
        path: A TOML file.
        names: What a rule may name.

    Raises:
        InvalidInput: with every problem found, each with its line.
    """
    if not path.exists():
        raise InvalidInput(f"there is no rule file {path}")
    rule = _checked(read_toml(path), names)
    view = rule.times.view
    of_view = names.views[view] if view else rule.assets
    assets = tuple(sorted(set(rule.assets or of_view) & set(of_view)))
    return RuleFile(rule, path, path.parent / rule.events, assets)


def _checked(document: Document, names: KnownNames) -> LabelRule:
    try:
        rule = LabelRule.model_validate(document.values)
    except ValidationError as error:
        problems = list(problems_of(error, document))
    else:
        problems = [document.problem(text, *keys) for text, *keys in _unknown_names(rule, names)]
    if problems:
        raise InvalidInput(problems)
    return rule


def _unknown_names(rule: LabelRule, names: KnownNames) -> Iterator[tuple[str, ...]]:
    """Yield what is wrong with each unknown name, then the keys that lead to it."""
    for name in rule.assets:
        if name not in names.assets:
            yield f"unknown asset {name!r}{near_misses(name, names.assets)}", "assets"
    view = rule.times.view
    if view and view not in names.views:
        yield f"unknown feature view {view!r}{near_misses(view, names.views)}", "times", "view"
