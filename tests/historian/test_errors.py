"""The error tree: codes and messages."""

from __future__ import annotations

from historian import errors
from historian.errors import HistorianError, InvalidInput, Problem, near_misses


def test_every_error_is_in_one_tree_with_a_known_code() -> None:
    """The API maps codes once; a code it does not know would be a 500."""
    raised = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = [kind for kind in raised if issubclass(kind, HistorianError)]
    assert kinds == raised
    assert {kind.code for kind in kinds} == {
        "internal", "invalid", "unavailable", "done", "full", "rejected", "refused", "not_found", "incomplete",
    }  # fmt: skip


def test_problems_are_listed_in_order_with_their_place() -> None:
    """File, then place, then what is wrong; one line each."""
    error = InvalidInput([Problem("b.csv", "row 2", "worse"), Problem("a.csv", "row 9", "bad"), Problem("", "", "x")])
    assert str(error) == "x\na.csv row 9: bad\nb.csv row 2: worse"


def test_near_misses_help() -> None:
    """Suggestions are similar names, or the whole list if it is short, or nothing."""
    assert near_misses("de_hh", ["de_h", "de_v", "speed"]) == "; did you mean de_h, de_v?"
    assert near_misses("zzz", ["b", "a"]) == "; known: a, b"
    assert near_misses("zzz", map(str, range(50))) == ""
