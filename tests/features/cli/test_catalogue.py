"""`penstock features`, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.cli.catalogue import app
from features.define.catalogue import GROUPS, QUALITY_COLUMNS
from historian.errors import UnknownFeature
from historian.plant.plant import Plant


def run(*arguments: str) -> str:
    """The output of a command."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_lists_every_feature_without_a_plant(tmp_path: Path) -> None:
    """Features are listed by group, with unit and what they indicate."""
    nowhere = ["--plant", str(tmp_path / "plant.toml")]
    found = json.loads(run("list", "--json", *nowhere))["features"]
    assert [each["group"] for each in found if each["name"] == "mean"] == ["time", "process"]
    assert list(dict.fromkeys(each["group"] for each in found)) == [*GROUPS, *QUALITY_COLUMNS]
    shown = run("list", *nowhere)
    assert all(each["name"] in shown for each in found)


def test_explains_a_feature_and_where_the_plant_has_it(plant: Plant) -> None:
    """It prints definition, unit, source, version, when and by which code it is missing, and the columns."""
    output = run("explain", "kurtosis", "--plant", str(plant.root))
    assert output.splitlines()[0] == "kurtosis (time): impacts; 3 for a healthy bearing"
    for words in ("m4/m2²", "scipy.stats.kurtosis", "signal is constant", "all samples of the window are equal"):
        assert words in output
    assert "in compressor_vibration: de_h_kurtosis" in output
    (record,) = json.loads(run("explain", "de_h_kurtosis", "--json", "--plant", str(plant.root)))["features"]
    assert (record["formula"], record["reasons"]) == ("m4/m2²", ["constant"])


def test_the_plants_own_bands_are_explained(plant: Plant) -> None:
    """They are features of the group spectrum like the built-in ones."""
    file = plant.root / "plant.toml"
    text = file.read_text().replace('points = ["de_h"] }', 'points = ["de_h"], bands = [[20, 90]] }')
    file.write_text(text)
    assert run("explain", "band_rms_20_90", "--plant", str(file)).startswith(
        "band_rms_20_90 (spectrum): level in a band"
    )
    with pytest.raises(UnknownFeature, match="band_rms_20_91'; did you mean band_rms_20_90"):
        run("explain", "band_rms_20_91", "--plant", str(file))
