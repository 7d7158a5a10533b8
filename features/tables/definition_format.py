"""The stored form of a table's definition: JSON with a version, and the steps from each older version to the next.

Version 1 had one set of feature versions and no time. Version 2 kept a history, under `made`. Neither said its version.
Version 3 does, and calls the history `provenance`. Version 4 has digests of an asset by date. A step is a pure function
of the form before; never change one that was released.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from historian.errors import FeatureError

Form = Mapping[str, Any]


def _keep_a_history(form: Form) -> Form:
    """1 -> 2: the one set of feature versions holds for all rows, and nothing is known of assets."""
    others = {key: value for key, value in form.items() if key != "features"}
    return {**others, "made": [{"since": 0, "features": form["features"], "machines": {}}]}


def _name_the_provenance(form: Form) -> Form:
    """2 -> 3: `made` becomes `provenance`, and in it `machines` becomes `assets`."""
    others = {key: value for key, value in form.items() if key != "made"}
    provenance = [
        {"since": each["since"], "features": each["features"], "assets": each["machines"]} for each in form["made"]
    ]
    return {**others, "provenance": provenance}


def _date_the_assets(form: Form) -> Form:
    """3 -> 4: the one digest of an asset holds for all times, and rows may be of any time."""
    provenance = [
        {**each, "assets": {asset: [[None, digest]] for asset, digest in each["assets"].items()}, "newest": None}
        for each in form["provenance"]
    ]
    return {**form, "provenance": provenance}


MIGRATIONS: Final[tuple[Callable[[Form], Form], ...]] = (_keep_a_history, _name_the_provenance, _date_the_assets)
"""The step from version 1, then that from version 2, and so on."""
VERSION: Final = len(MIGRATIONS) + 1


def written(form: Form) -> str:
    """Return a form of the present version as JSON that says so."""
    return json.dumps({"version": VERSION, **form})


def read(text: str) -> Form:
    """Return a stored form, brought to the present version.

    Raises:
        FeatureError: it is of a newer version, or no definition.
    """
    form, version = _parsed(text)
    if version > VERSION:
        raise FeatureError(
            f"the feature table's definition has version {version}, but this Penstock knows none after {VERSION}: a "
            f"newer one wrote it; use that one, or move the table away and run penstock compute to recompute it"
        )
    for step in MIGRATIONS[version - 1 :]:
        form = dict(step(form))
    return form


def _unversioned(form: Form) -> int:
    """Return the version of a form from before forms said theirs; an error if it is neither."""
    if form.get("made"):
        return 2
    if "features" not in form:
        raise ValueError("neither version 1 nor version 2")
    return 1


def _parsed(text: str) -> tuple[Form, int]:
    """Return a stored form and its version."""
    try:
        form: dict[str, Any] = json.loads(text)
        return form, int(form.pop("version")) if "version" in form else _unversioned(form)
    except (ValueError, TypeError, AttributeError):
        raise FeatureError(f"a feature table's description is no definition of a view: {text[:80]!r}") from None
