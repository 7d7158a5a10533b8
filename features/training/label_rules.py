"""A rule file: how labels are made from events, as TOML in the directory of the event file.

events = "failures.csv"

[target]
kind = "horizon"
failures = ["bearing"]
horizon = "24h"

[times]
view = "compressor_vibration"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from features.tables.labels import RESERVED
from historian.errors import InvalidInput, near_misses
from historian.plant.document import Document, problems_of, read_toml
from historian.plant.model import Model, Name
from historian.plant.plant import Plant
from historian.times import Duration

Kind = Annotated[str, StringConstraints(min_length=1)]
NAMES = {"horizon": "fails_within", "remaining_life": "remaining_life_s"}


class Target(Model):
    """What is to be predicted."""

    kind: Literal["horizon", "remaining_life"] = Field(
        description="Whether the asset fails within `horizon`, or the seconds it has left."
    )
    failures: tuple[Kind, ...] = Field(min_length=1, description="The kinds of events that are failures.")
    horizon: Duration | None = Field(None, description="How far ahead a failure counts; for kind horizon.")
    column: Name = Field("", validate_default=False, description="The target's name: fails_within, remaining_life_s.")
    censored: Literal["drop", "keep"] = Field(
        "drop", description="Rows whose outcome was not observed: left out, or kept without target, with `at_least_s`."
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
    """At which times labels are made: at every row of a feature view, or on a grid."""

    view: Name | None = Field(None, description="Where this feature view has rows.")
    every: Duration | None = Field(None, description="On a grid of this step, counted from 1970.")
    start: AwareDatetime | None = Field(None, description="Not before this; needed with `every`.")
    end: AwareDatetime | None = Field(None, description="Not after this; needed with `every`.")

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
    """Times around events at which nothing is labelled: the machine is being repaired, or is running in."""

    kinds: tuple[Kind, ...] = Field(min_length=1, description="The kinds of events.")
    before: Duration | None = Field(None, description="From so long before the event; from the event if absent.")
    after: Duration | None = Field(None, description="Until so long after its end; until its end if absent.")


class Episodes(Model):
    """What makes an asset as good as new."""

    restart: tuple[Kind, ...] = Field(
        (), description="The kinds of events at whose end an episode ends and one begins."
    )


class Negatives(Model):
    """Sampling of rows that do not fail, which are often a thousand to one."""

    per_positive: float = Field(gt=0, le=1e6, description="How many rows that do not fail are kept for each that does.")
    seed: int = Field(0, ge=0, lt=2**63, description="Another seed, another sample.")


class LabelRule(Model):
    """The whole of a rule file."""

    events: str = Field(min_length=1, description="The event file, CSV or Parquet, relative to this file.")
    assets: tuple[Name, ...] = Field((), description="Whom to label; all of the view's class if absent.")
    observed_until: AwareDatetime | None = Field(
        None, description="Until when all failures are in the event file; until its newest event or label if absent."
    )
    target: Target
    times: Times
    exclude: tuple[Exclusion, ...] = Field((), description="Any number of [[exclude]] tables.")
    episodes: Episodes = Episodes()
    negatives: Negatives | None = Field(None, description="Keep all rows that do not fail if absent.")

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
    """A rule file, checked."""

    rule: LabelRule
    path: Path
    events: Path


def read_rule(path: Path, plant: Plant) -> RuleFile:
    """Read and check a rule file.

    Args:
        path: A TOML file.
        plant: Its assets and views are what a rule may name.

    Raises:
        InvalidInput: with every problem found, each with its line.
    """
    if not path.exists():
        raise InvalidInput(f"there is no rule file {path}")
    document = read_toml(path)
    try:
        rule = LabelRule.model_validate(document.values)
    except ValidationError as error:
        raise InvalidInput(list(problems_of(error, document))) from None
    _check_plant(rule, plant, document)
    return RuleFile(rule, path, path.parent / rule.events)


def _check_plant(rule: LabelRule, plant: Plant, document: Document) -> None:
    problems = [
        document.problem(f"unknown asset {name!r}{near_misses(name, plant.assets)}", "assets")
        for name in rule.assets
        if name not in plant.assets
    ]
    view = rule.times.view
    if view and view not in plant.views:
        text = f"unknown feature view {view!r}{near_misses(view, plant.views)}"
        problems.append(document.problem(text, "times", "view"))
    if problems:
        raise InvalidInput(problems)


def labelled_assets(rule: LabelRule, plant: Plant) -> tuple[str, ...]:
    """Return the assets a rule labels, sorted: those it names, and of them those that its view has rows of.

    Args:
        rule: A rule that was checked against the plant.
        plant: The plant.
    """
    view = rule.times.view
    of_view = plant.assets_of(plant.views[view].asset_class) if view else rule.assets
    return tuple(sorted(set(rule.assets or of_view) & set(of_view)))
