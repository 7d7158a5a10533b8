"""`[classes.X.alarms.NAME]`: alarm rules as code. `penstock alarms` says when they would have fired."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from pydantic import Field, model_validator

from historian.errors import near_misses
from historian.plant.keys import Model
from historian.times import Duration, DurationOrZero


class Alarm(Model):
    """A rule over one column of a feature set: it fires once a condition has held long enough, until it clears."""

    feature: str = Field(
        pattern=r"^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*$",
        description="SET:COLUMN, a column of a feature set of the class: vibration:de_h_rms_ac.",
    )
    above: float | None = Field(None, description="The condition holds where the value is above this limit.")
    below: float | None = Field(None, description="The condition holds where the value is below this limit.")
    rise: float | None = Field(
        None, gt=0, description="The condition holds where the value has risen by more than this `over` a time."
    )
    over: Duration | None = Field(None, description="For rise: the time over which the value rises.")
    hysteresis: float = Field(
        0, ge=0, description="How far the value must be back behind the limit before the condition ends."
    )
    after: DurationOrZero = Field(timedelta(0), description="How long the condition must hold before the alarm fires.")
    clear_after: DurationOrZero = Field(timedelta(0), description="How long it must not hold before the alarm clears.")

    @property
    def feature_set(self) -> str:
        """The name of the feature set."""
        return self.feature.partition(":")[0]

    @property
    def column(self) -> str:
        """The name of the column, `<point>_<feature>`."""
        return self.feature.partition(":")[2]

    @model_validator(mode="after")
    def _agree(self) -> Alarm:
        if [self.above, self.below, self.rise].count(None) != 2:
            raise ValueError("an alarm has one of above, below and rise")
        if (self.rise is None) != (self.over is None):
            raise ValueError('rise needs over, the time it takes: rise = 2, over = "1h"')
        return self


def unknown_sets(alarms: dict[str, Alarm], sets: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield name and problem of each alarm whose feature set the class does not have."""
    for name, alarm in alarms.items():
        if alarm.feature_set not in sets:
            yield name, f"unknown feature set {alarm.feature_set!r}{near_misses(alarm.feature_set, sets)}"
