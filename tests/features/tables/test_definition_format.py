"""The stored form of a definition: every older version is read; a newer one or an invalid one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deltalake import DeltaTable

from features.define.view_plan import view_plan
from features.tables.definition import definition_of, from_json
from features.tables.definition_format import MIGRATIONS, VERSION, read, written
from features.tables.feature_table import FeatureTable
from historian.errors import FeatureError
from historian.plant.plant import Plant

COMMON: dict[str, Any] = {"window": "1s", "hop": "1s", "align": "epoch", "points": {"de_h": ["g", 1000.0]}}
FIRST = {**COMMON, "features": {"de_h_n": 1}}
SECOND = {**COMMON, "made": [{"since": 0, "features": {"de_h_n": 1}, "machines": {"c101": "ab12"}}]}
THIRD = {**COMMON, "provenance": [{"since": 0, "features": {"de_h_n": 1}, "assets": {"c101": "ab12"}}]}
FOURTH = {
    **COMMON,
    "provenance": [{"since": 0, "features": {"de_h_n": 1}, "assets": {"c101": [[None, "ab12"]]}, "newest": None}],
}


def test_version_1_becomes_a_history_of_one() -> None:
    """Its only set of versions holds from the beginning, and nothing is known of assets."""
    before = json.dumps(FIRST)
    assert MIGRATIONS[0](FIRST) == {**COMMON, "made": [{"since": 0, "features": {"de_h_n": 1}, "machines": {}}]}
    assert json.dumps(FIRST) == before  # a step changes nothing in place


def test_version_2_gets_its_present_names() -> None:
    """The history keeps its content and order."""
    later = {"since": 7, "features": {"de_h_n": 2}, "machines": {}}
    assert MIGRATIONS[1](SECOND) == THIRD
    assert MIGRATIONS[1]({**SECOND, "made": [*SECOND["made"], later]})["provenance"] == [
        *THIRD["provenance"],
        {"since": 7, "features": {"de_h_n": 2}, "assets": {}},
    ]


def test_version_3_gets_dates() -> None:
    """The one digest of an asset holds for all times."""
    assert MIGRATIONS[2](THIRD) == FOURTH


@pytest.mark.parametrize("form", [FIRST, SECOND], ids=["version 1", "version 2"])
def test_forms_without_a_version_are_read(form: dict[str, Any]) -> None:
    """All steps from the version they must have are applied."""
    found = read(json.dumps(form))
    assert found["provenance"][0]["features"] == {"de_h_n": 1}
    assert found.keys() == THIRD.keys()


def test_the_present_form_says_its_version_and_is_read_back(plant: Plant) -> None:
    """Writing and reading give the same definition."""
    definition = definition_of(plant, view_plan(plant, plant.views["compressor_vibration"]))
    assert json.loads(definition.to_json())["version"] == VERSION == 4
    assert from_json(definition.to_json()) == definition
    assert read(written(FOURTH)) == FOURTH


def test_a_newer_version_is_refused(plant: Plant) -> None:
    """This also holds when its table is opened; the error says what to do."""
    newer = json.dumps({"version": VERSION + 1, "shape": "unheard of"})
    with pytest.raises(FeatureError, match=r"has version 5, but this Penstock knows none after 4: .* move the table"):
        read(newer)
    view = plant.views["compressor_vibration"]
    DeltaTable(FeatureTable(plant, view).path).alter.set_table_description(newer)
    with pytest.raises(FeatureError, match="has version 5"):
        FeatureTable(plant, view)


@pytest.mark.parametrize("text", ["", "rows of c101", "[1]", '{"version": "three"}', "{}"])
def test_a_description_that_is_no_definition_is_refused(text: str) -> None:
    """The table belongs to another program, or was described by hand."""
    with pytest.raises(FeatureError, match="no definition of a view"):
        read(text)


def test_a_table_of_version_1_can_be_used(plant: Plant) -> None:
    """It opens; columns that it does not know are stale in its old rows."""
    view = plant.views["compressor_vibration"]
    definition = definition_of(plant, view_plan(plant, view))
    before = {**COMMON, "features": {"de_h_n": 1}}
    found = from_json(json.dumps(before))
    assert found.conflict(definition) == ""
    assert found.followed_by(definition, since=1).stale_columns == sorted(definition.features.keys() - {"de_h_n"})
