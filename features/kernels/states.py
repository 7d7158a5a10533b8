"""Time in state, for text tags and numbers that stand for states, with the hold of `features.kernels.process`.

What is one state is defined in `historian.states`. Its name is that in the plant file if its point lists it; otherwise
it is the text itself, or the number in decimal. Shares refer to the time for which the state is known, so that those of
all states add up to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from features.define.reasons import Texts
from features.define.spec import FeatureSpec, Floats, ratio
from features.kernels import process
from features.kernels.process import HeldWindows
from features.windows.stretches import Integers
from historian.state_values import named_states, state_of_number, state_of_text


@dataclass(frozen=True)
class StateWindows:
    """A batch of windows, and the pieces of time in which a state held in them."""

    held: HeldWindows
    """The windows and their pieces; the values are indices of `names`."""
    names: tuple[str, ...]


def coded(samples: pl.DataFrame, listed: Mapping[str, float | str]) -> tuple[Floats, tuple[str, ...]]:
    """Encode samples as indices of state names.

    Args:
        samples: columns value and text.
        listed: name of a state -> the number or text that stands for it.

    Returns:
        [samples] index of the state's name, NaN for a sample with neither text nor number; and the names.
    """
    called = samples.select(_state(listed).alias("state"))["state"]
    names = tuple(called.drop_nulls().unique().sort())
    codes = called.cast(pl.Enum(names)).to_physical().cast(pl.Float64)
    return codes.fill_null(float("nan")).to_numpy(), names


def share(batch: StateWindows, *, state: str) -> Floats:
    """Return [windows] the share of the known time in which the state held, ∫[state] dt/∫dt.

    Args:
        batch: the windows.
        state: name of the state.
    """
    code = batch.names.index(state) if state in batch.names else -1
    inside = batch.held.weights * (batch.held.values == code)
    return ratio(batch.held.each(np.add, inside), batch.held.hours)


def last(batch: StateWindows) -> Texts:
    """Return [windows] the state that held last; None where the window is not valid."""
    codes = process.last(batch.held)
    names = np.array([*batch.names, None], np.object_)
    return names[np.where(np.isnan(codes), len(batch.names), codes).astype(np.int64)]


def changes(batch: StateWindows) -> Floats:
    """Return [windows] the number of changes of state in each window."""
    return batch.held.each(np.add, batch.held.changed.astype(np.float64))


def since_change(batch: StateWindows) -> Floats:
    """Return [windows] seconds from the last change to the window's end; its length if nothing changed."""
    return process.since_change(batch.held)


def count(batch: StateWindows) -> Integers:
    """Return [windows] the number of Good samples in each window."""
    return batch.held.count


def good_share(batch: StateWindows) -> Floats:
    """Return [windows] the share of the window in which the state is known, ∫dt/length."""
    return batch.held.good_share


_HELD: Final = "time-weighted, stepped"
_UNKNOWN: Final = process.UNKNOWN

_SPECS: Final[tuple[FeatureSpec[StateWindows], ...]] = (
    FeatureSpec(
        "last_state",
        "",
        "the state that held last",
        _HELD,
        last,
        **_UNKNOWN,
        dtype=pl.String(),
        what="the present state",
    ),
    FeatureSpec(
        "changes",
        "",
        "Σ[the state differs from the one before]",
        _HELD,
        changes,
        **_UNKNOWN,
        what="restlessness",
    ),
)
_AS_PROCESS: Final[tuple[FeatureSpec[StateWindows], ...]] = (
    FeatureSpec("count", "", "Good samples inside", _HELD, count, dtype=pl.Int64(), what="how often it was reported"),
    FeatureSpec(
        "good_share",
        "",
        "∫dt/length, state Good and no older than max_staleness",
        _HELD,
        good_share,
        what="share of the window that is known",
    ),
    FeatureSpec(
        "seconds_since_change",
        "s",
        "window end - start of the last state that differs from the one before; the window's length if none does",
        _HELD,
        since_change,
        **_UNKNOWN,
        what="how long it has been in this state",
    ),
)


def state_specs(names: tuple[str, ...], *, alone: bool) -> tuple[FeatureSpec[StateWindows], ...]:
    """Return the features of a point that lists states of these names.

    Args:
        names: names of the states; each gets a feature for its share.
        alone: whether the point has no features as a number; if it has, features common to both are left out.
    """
    return (*map(_share_spec, names), *_SPECS, *(_AS_PROCESS if alone else ()))


def _share_spec(name: str) -> FeatureSpec[StateWindows]:
    formula, kernel = f"∫[{name}] dt/∫dt", partial(share, state=name)
    return FeatureSpec(f"share_{name}", "", formula, _HELD, kernel, **_UNKNOWN, what="share of time in a listed state")


def _state(listed: Mapping[str, float | str]) -> pl.Expr:
    """Return the name of a sample's state: as listed, or the state itself."""
    state = pl.coalesce(state_of_text(pl.col("text")), state_of_number(pl.col("value")))
    return state.replace(named_states(listed)) if listed else state
