"""The facts about assets that a view's rows depend on, for the manifest of a training set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from features.define.history import FIRST, history_of
from features.define.view_plan import view_plan
from features.tables.definition import definition_of, from_json
from historian.plant.plant import Plant
from historian.times import from_micros


def facts_used(plant: Plant, view_name: str, definition: str, assets: Iterable[str]) -> dict[str, Any]:
    """Return the facts on which features of some assets depend, as in JSON.

    Args:
        plant: the plant.
        view_name: name of a view.
        definition: the stored definition of its feature table; empty if there is none.
        assets: names of assets.

    Returns:
        `assets`: asset -> its facts, oldest first, each set with the instant `since` from which it holds, null for
        always; and `outdated`: assets of which the table may have rows that were computed by other facts.
    """
    if view_name not in plant.views:
        return {}
    view = plant.views[view_name]
    plan = view_plan(plant, view)
    known = {each.asset for each in plan.assets}
    chosen = sorted(known.intersection(assets))
    now = definition_of(plant, plan)
    stored = from_json(definition).followed_by(now, since=2**63 - 1) if definition else now
    return {
        "assets": {
            asset: [
                {"since": None if each.since == FIRST else f"{from_micros(each.since):%FT%T.%fZ}", **each.facts}
                for each in history_of(plant, view, plan.uses, asset)
            ]
            for asset in chosen
        },
        "outdated": [asset for asset in stored.stale_assets if asset in chosen],
    }
