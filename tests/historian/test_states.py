"""One rule for what is one state."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from historian.plant.model import Point
from historian.state_values import named_states, state_of, state_of_number, state_of_text
from historian.states import value_of


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (1.0, "1"),
        (-2.50, "-2.5"),
        (True, "1"),
        (" 1.0 ", "1"),
        ("1.50", "1.5"),
        ("-0", "0"),
        ("TRUE", "1"),
        ("false", "0"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("9007199254740993", "9007199254740993"),
        ("RUN", "RUN"),
    ],
)
def test_a_state_is_a_text(given: float | str, state: str) -> None:
    """Numbers and Booleans have one form; texts that are no plain decimals stay."""
    assert state_of(given) == state


@given(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**53), 2**53))
def test_a_number_and_its_text_are_one_state(number: float) -> None:
    """However the text is written, and whichever way the number went."""
    column = pl.DataFrame({"number": pl.Series([number], dtype=pl.Float64)})
    by_number = column.select(state_of_number(pl.col("number"))).to_series()
    again = by_number.to_frame("text").select(state_of_text(pl.col("text"))).to_series()
    assert again.to_list() == by_number.to_list()
    assert float(by_number.item()) == number


GIVEN = st.sampled_from(["0", "-0", "1", "1.0", "true", "FALSE", " 1", "01", "1e0", "RUN", "0.10"])


@given(GIVEN | st.sampled_from([0, 1, 0.1, -0.0, True]), GIVEN | st.sampled_from([0, 1, 0.1, -0.0, True]))
def test_columns_and_the_plant_file_have_the_same_rule(one: float | str, other: float | str) -> None:
    """What the check takes for one value is one state, and nothing else is."""
    assert (state_of(one) == state_of(other)) == (value_of(one) == value_of(other))
    assert named_states({"on": one}) == {state_of(one): "on"}


def test_what_is_no_number_is_no_state() -> None:
    """The contract rejects it."""
    column = pl.DataFrame({"number": [None, float("nan"), float("inf")]})
    assert column.select(state_of_number(pl.col("number"))).to_series().to_list() == [None] * 3


@pytest.mark.parametrize(
    ("kind", "states", "problem"),
    [
        ("state", {"a": 1, "b": "1.0"}, "two names to one value"),
        ("state", {"a": "true", "b": 1}, "two names to one value"),
        ("process", {"a": "RUN"}, 'states.a is the text "RUN", but a process point has numbers'),
    ],
)
def test_states_that_cannot_match_are_refused(kind: str, states: dict[str, float | str], problem: str) -> None:
    """When the plant file is checked, not when features are computed."""
    with pytest.raises(ValueError, match=problem):
        Point.model_validate({"kind": kind, "states": states})
    assert Point.model_validate({"kind": kind, "states": {"a": "1", "b": "off" if kind == "state" else 2}})
