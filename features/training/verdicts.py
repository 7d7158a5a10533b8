"""Manifests in words: what speaks against a training set, and where two of them differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from features.training.manifest import Manifest
from features.training.pinned import doubts


def verdicts(manifest: Manifest, *, most: int | None = None) -> list[str]:
    """What speaks against the training set, a sentence each; nothing if nothing does.

    Args:
        most: So many suspects at most, the strongest, and how many more there are; all of them without.
    """
    leakage = manifest["leakage"]
    told = not_known(leakage)
    for view, rows in leakage.get("rows_that_share_a_feature_row_with_another_split", {}).items():
        if rows:
            told.append(
                f"{rows} rows use a row of {view} that another split uses too; "
                f"a split by time, asset or episode rules that out"
            )
    suspects = leakage.get("suspects", [])
    for suspect in suspects[:most]:
        told.append(
            f"{suspect['column']} alone tells the target: {suspect['measure']} {suspect['value']:.3f}; "
            f"was it written with hindsight?"
        )
    if more := len(suspects) - len(suspects[:most]):
        told.append(f"and {more} more alone tell the target; see report.html")
    return told + doubts({view: table.get("as_of") for view, table in manifest["tables"].items()})


def not_known(leakage: Mapping[str, Any]) -> list[str]:
    """A sentence if values were not known at their label's time: such a training set is no good.

    Args:
        leakage: What a manifest says of it.
    """
    count = leakage["values_not_known_at_their_label"]
    return [f"{count} values were not known at their label's time: {', '.join(leakage['columns'])}"] if count else []


def differences(one: Manifest, other: Manifest) -> list[str]:
    """Where two manifests differ, `place: one -> other` each, in the order of their contents."""
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
