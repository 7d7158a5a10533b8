"""Findings of manifests in words: problems of a training set, and differences between two."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from features.training.manifest import Manifest
from features.training.pinned import as_of_warnings


def verdicts(manifest: Manifest, *, most: int | None = None) -> list[str]:
    """Return the problems of a training set, a sentence each; an empty list if there are none.

    Args:
        manifest: Manifest of the training set.
        most: Number of suspects to name, strongest first; the rest are counted. All are named if None.
    """
    leakage = manifest["leakage"]
    warnings = as_of_warnings({view: table.get("as_of") for view, table in manifest["tables"].items()})
    labels = [*event_warnings(manifest["events"]), *one_class(manifest["target"]), *_newer_than_data(manifest)]
    return [*not_known(leakage), *labels, *_shared_rows(leakage), *_suspects(leakage, most), *warnings]


def event_warnings(events: Mapping[str, Any]) -> list[str]:
    """Return what is probably wrong with an event file or with the kinds a rule names.

    Args:
        events: The part `events` of a manifest; empty for labels from a table.
    """
    kinds, similar, later = (events.get(part, {}) for part in ("kinds", "similar", "later"))
    return [
        *(f"{_events(kinds[kind])} of kind {kind!r} without effect; did you mean {meant}? If not, list the kind under "
          f"ignore in the rule" for kind, meant in similar.items()),
        *(f"no event is of kind {kind!r}, which the rule names ({about['effect']})"
          for kind, about in kinds.items() if not about["events"]),
        *([_later(later, events["observed_until"])] if later.get("events") else []),
    ]  # fmt: skip


def _events(kind: Mapping[str, Any]) -> str:
    return f"{kind['events']} events" if kind["events"] != 1 else "1 event"


def _later(later: Mapping[str, Any], until: str) -> str:
    rows = ", ".join(map(str, later["rows"])) + (", …" if later["events"] > len(later["rows"]) else "")
    return (
        f"{_events(later)} (row {rows} of the event file) are later than {until}, the end of observation: in the "
        f"future, or after observed_until; they have no effect"
    )


def one_class(target: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each split whose labels all have the same value.

    Args:
        target: The part `target` of a manifest.
    """
    if target.get("kind") != "classes":
        return []
    found = []
    for split, counts in target["balance"].items():
        present = [value for value, rows in counts.items() if rows and value != "missing"]
        if sum(counts.values()) and len(present) < 2:
            held = f"only {present[0]}" if present else "nothing"
            found.append(f"{target['column']} is {held} in {'all rows' if split == 'all' else f'the {split} split'}")
    return found


def _newer_than_data(manifest: Manifest) -> Iterator[str]:
    for view, about in manifest["labels_newer_than_data"].items():
        yield (
            f"{about['labels']} labels are newer than the newest row of their asset in {view}, by up to "
            f"{about['seconds']:.0f} s, and have its values; compute features first, or set a ttl"
        )


def _shared_rows(leakage: Mapping[str, Any]) -> Iterator[str]:
    for view, rows in leakage.get("rows_that_share_a_feature_row_with_another_split", {}).items():
        if rows:
            yield (
                f"{rows} rows use a row of {view} that another split uses too; "
                f"a split by time, asset or episode rules that out"
            )


_WHY: Final = {
    "label column": "was it written with hindsight?",
    "not known": "{values} of its values were not known at their label's time",
    "corrected": "{values} of its values were corrected after their label's time; compare with --created-by-label-time",
}


def strong_predictors(leakage: Mapping[str, Any], most: int) -> list[str]:
    """Return a sentence on the features that predict the target by themselves without knowing the outcome, if any.

    Args:
        leakage: The part `leakage` of a manifest.
        most: Number of features to name, strongest first.
    """
    found = [
        f"{each['column']} ({each['measure']} {each['value']:.3f})" for each in leakage.get("strong_predictors", [])
    ]
    if not found:
        return []
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return [f"strong predictors, audited and not corrected since: {', '.join(found[:most])}{more}"]


def _suspects(leakage: Mapping[str, Any], most: int | None) -> Iterator[str]:
    suspects = leakage.get("suspects", [])
    for suspect in suspects[:most]:
        yield (
            f"{suspect['column']} alone predicts the target: {suspect['measure']} {suspect['value']:.3f}; "
            f"{_WHY[suspect['why']].format_map(suspect)}"
        )
    if more := len(suspects) - len(suspects[:most]):
        yield f"and {more} more alone predict the target; see report.html"


def not_known(leakage: Mapping[str, Any]) -> list[str]:
    """Return a sentence if values were not known at their label's time: such a training set is useless.

    Args:
        leakage: The part `leakage` of a manifest.
    """
    count = leakage["values_not_known_at_their_label"]
    return [f"{count} values were not known at their label's time: {', '.join(leakage['columns'])}"] if count else []


def differences(one: Manifest, other: Manifest) -> list[str]:
    """Return where two manifests differ, as `place: one -> other`, in the order of their contents.

    Args:
        one: A manifest, or a part of one.
        other: Another.
    """
    left, right = dict(_leaves(one)), dict(_leaves(other))
    return [
        f"{place}: {left.get(place, 'nothing')} -> {right.get(place, 'nothing')}"
        for place in dict.fromkeys([*left, *right])
        if left.get(place) != right.get(place)
    ]


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place} {key}".strip())
    else:
        yield place, json.dumps(value, ensure_ascii=False)
