"""The reference page documents every feature, from the specs."""

from __future__ import annotations

import pytest

from features.define.catalogue import GROUPS, QUALITY_COLUMNS
from features.define.reasons import REASONS
from features.define.reference import entries, explained, reference_markdown
from historian.errors import UnknownFeature
from historian.plant.plant import Plant


def test_the_page_lists_every_feature_once_per_group() -> None:
    """Each feature has a table row, and a pipe in a formula does not split a cell."""
    page = reference_markdown()
    tables = page.partition("## Features by group")[2].partition("## Why")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| `")]
    groups = [*(group.specs for group in GROUPS.values()), *QUALITY_COLUMNS.values()]
    assert [row.split("`")[1] for row in rows] == [spec.name for specs in groups for spec in specs]
    assert {row.replace(r"\|", "").count("|") for row in rows} == {8}


def test_the_page_says_by_which_conventions_and_why_features_are_missing() -> None:
    """It has conventions, windows and the table of reasons, and no internal names of the code."""
    page = reference_markdown()
    assert "The mean is removed" in page
    assert "labelled by its end" in page
    assert all(f"| `{code}` | {meaning} |" in page for code, meaning in REASONS.items())


def test_a_feature_is_explained_with_where_the_plant_has_it(plant: Plant) -> None:
    """It is found by its name or by a column's; a name of several groups is explained for each."""
    (kurtosis,) = explained("kurtosis", plant)
    assert kurtosis.columns == {"compressor_vibration": ["de_h_kurtosis"]}
    assert [entry.group for entry in explained("mean", None)] == ["time", "process"]
    (slope,) = explained("oil_temp_slope", plant)
    assert (slope.spec.name, slope.unit) == ("slope", "unit of the point/h")
    assert slope.record["views"] == {"compressor_process": ["oil_temp_slope"], "pump_process": ["flow_slope"]}


def test_an_unknown_feature_has_near_misses(plant: Plant) -> None:
    """The error suggests similar names and how to list all of them."""
    with pytest.raises(UnknownFeature, match="no feature 'kurtosi'; did you mean kurtosis"):
        explained("kurtosi", plant)


def test_every_feature_is_documented() -> None:
    """It has a unit, what it indicates, a definition and a reference."""
    assert [each.spec.name for each in entries(None) if not (each.spec.what and each.spec.formula)] == []
    assert [each.spec.name for each in entries(None) if not each.spec.source] == []
