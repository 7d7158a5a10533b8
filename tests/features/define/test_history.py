"""Windows, the facts that hold in them, and what an edit of dated facts makes stale, against a brute-force oracle."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from features.define.history import FIRST, LAST, Held, begun, spans
from features.tables.definition import Definition, Provenance, differing

NAMES = ("de.tag", "de.bearing", "speed_rpm")
DATES = st.dictionaries(st.integers(0, 30), st.fixed_dictionaries({name: st.integers(0, 2) for name in NAMES}))
LENGTH = 5


def history(dated: Mapping[int, Mapping[str, Any]]) -> list[Held]:
    """A history in which each date changes something."""
    held = [Held(FIRST, dict.fromkeys(NAMES, 0))]
    for since, facts in sorted(dated.items()):
        if facts != held[-1].facts:
            held.append(Held(since, facts))
    return held


def at(held: list[Held], instant: int) -> Mapping[str, Any]:
    """The facts at an instant."""
    return [each.facts for each in held if each.since <= instant][-1]


@given(DATES)
def test_each_window_has_the_facts_that_held_in_all_of_it(dated: Mapping[int, Mapping[str, Any]]) -> None:
    """Every end is in one span; what changed is what differs between any two instants of [end - length, end)."""
    held = history(dated)
    found = list(spans(held, LENGTH))
    assert [(found[0].after, found[-1].until)] == [(FIRST, LAST)]
    assert all(a.until == b.after for a, b in pairwise(found))
    for end in range(-10, 50):
        (span,) = [each for each in found if each.after < end <= each.until]
        inside = [at(held, instant) for instant in range(end - LENGTH, end)]
        assert span.changed == {name for name in NAMES if len({facts[name] for facts in inside}) > 1}
        assert at(held, span.since) == inside[-1]


@given(DATES, st.integers(-10, 50), st.sampled_from(NAMES))
def test_a_value_began_where_the_value_before_was_another(
    dated: Mapping[int, Mapping[str, Any]], instant: int, name: str
) -> None:
    """None if it has always been the same."""
    held = history(dated)
    others = [each for each in range(-1, instant + 1) if at(held, each)[name] != at(held, instant)[name]]
    assert begun(held, name, instant) == (max(others) + 1 if others else None)


DIGESTS = st.dictionaries(st.integers(0, 30), st.sampled_from("abc")).map(
    lambda dated: [(None, "a"), *sorted(dated.items())]
)


def digest(digests: list[tuple[int | None, str]], instant: int) -> str:
    """The digest at an instant."""
    return [each for since, each in digests if since is None or since <= instant][-1]


@given(DIGESTS, DIGESTS)
def test_an_edit_makes_those_windows_stale_to_which_it_applies(
    was: list[tuple[int | None, str]], now: list[tuple[int | None, str]]
) -> None:
    """A row is stale if any instant of its window has other facts now than it had when the row was computed."""
    times = list(differing(was, now))
    for instant in range(-5, 40):
        assert any(start <= instant < end for start, end in times) == (digest(was, instant) != digest(now, instant))
    made = (Provenance(0, {}, {"p1": was}), Provenance(100, {}, {"p1": now}))
    outdated = Definition(f"{LENGTH}us", f"{LENGTH}us", "epoch", {}, made).outdated
    for end in range(-5, 45):
        stale = outdated.filter((outdated["after"] < end) & (outdated["until"] >= end)).height > 0
        assert stale == any(digest(was, t) != digest(now, t) for t in range(end - LENGTH, end))
