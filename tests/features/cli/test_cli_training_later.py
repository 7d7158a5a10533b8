"""Training sets are verified whatever has become of plant file and registry since; what is gone is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.tables.feature_table import table_path
from historian.errors import NotEnoughData
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from tests.features.cli.conftest import run_on

YEAR_OLD = Path(__file__).parents[2] / "cases" / "training_sets" / "year_old"


def change(plant: Plant, *pairs: tuple[str, str]) -> None:
    """Changes the plant file, not the registry."""
    file = plant.root / "plant.toml"
    text = file.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text)


def test_a_view_added_since_does_not_matter(finished: Path, plant: Plant, penstock: Callable[..., Any]) -> None:
    """The set was made with the default, all features of the class, and stores what that was."""
    change(plant, ("process = {", 'extra = { window = "20m", points = ["oil_temp"] }\nprocess = {'))
    penstock("apply")
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["request"]["features"] == []
    assert len(manifest["resolved"]["features"]) > 20
    verified = penstock("training-set", "verify", finished, "--json")
    assert (verified["verified"], verified["differences"]) == (True, [])
    assert [text.split(":")[0] for text in verified["moved_on"]] == ["plant files plant.toml"]


def test_what_is_gone_is_said_in_a_sentence(finished: Path, plant: Plant, penstock: Callable[..., Any]) -> None:
    """A view is renamed, another loses its features and its ttl, and an asset is gone: the tables are still there."""
    change(
        plant,
        ('vibration = { window = "1s"', 'shaking = { window = "1s"'),
        ('points = ["oil_temp"], ttl = "5m"', 'points = ["water"], ttl = "1h"'),
        ('oil_temp = { kind = "process", unit = "degC" }', 'water = { kind = "process", unit = "degC" }'),
        ('[assets.c102]\nclass = "compressor"\n', ""),
    )
    (plant.root / "tags.csv").write_text("tag,asset,point,address\nc101.de_h,c101,de_h,c101.de_h\n")
    penstock("apply")
    verified = penstock("training-set", "verify", finished, "--json")
    assert (verified["verified"], verified["differences"]) == (True, [])
    asset, lost, ttl, view = verified["moved_on"][:4]
    assert asset == "the plant file no longer has the asset c102; its rows are still in the feature tables"
    assert lost.startswith("the feature view compressor_process no longer has oil_temp_mean, ")
    assert ttl == "the ttl of compressor_process is 1h now; 5m was used"
    path = table_path(plant, "compressor_vibration")
    assert view == f"the plant file no longer has the feature view compressor_vibration; its table {path} was read"


def test_a_table_that_is_gone_is_named(finished: Path, plant: Plant, penstock: Callable[..., Any]) -> None:
    """Nothing can stand in for it."""
    shutil.rmtree(table_path(plant, "compressor_process"))
    with pytest.raises(NotEnoughData, match=r"^the feature table of compressor_process is gone: .* from a backup$"):
        penstock("training-set", "verify", finished)


def test_a_set_a_year_old_is_verified_from_manifest_and_tables(tmp_path: Path) -> None:
    """Nothing is registered; views were renamed, removed and added, an asset is gone, a ttl has changed.

    One of its events is still in the future, so it is now as it was then.
    """
    shutil.copytree(YEAR_OLD, tmp_path / "plant")
    plant = load_plant(tmp_path / "plant")
    verified = run_on(plant, "training-set", "verify", plant.root / "set", "--json")
    assert (verified["verified"], verified["differences"], verified["rows"]) == (True, [], 40)
    gone = [text for text in verified["moved_on"] if "plant file no longer" in text]
    assert [text.split("; ")[0] for text in gone] == [
        "the plant file no longer has the asset x2",
        "the plant file no longer has the feature view m_slow",
        "the plant file no longer has the feature view m_st",
    ]
