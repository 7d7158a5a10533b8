"""`penstock drivers`: every driver is described, and its sample is a plant that `penstock check` accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.drivers.manuals import manual_of
from historian.cli.main import app
from historian.errors import InvalidInput
from historian.plant.drivers import driver_names
from tests.commands import record_of

SHIPPED = sorted(set(driver_names()) - {"broken"})


@pytest.mark.parametrize("name", SHIPPED)
def test_the_sample_of_every_driver_is_a_plant(name: str, tmp_path: Path) -> None:
    """Written to a directory, it is what `penstock check` accepts, once its secrets are set."""
    shown = record_of("drivers", "show", name, "--write", tmp_path / "sample")
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", shown["plant"]), "x")
    checked = record_of("check", "--plant", tmp_path / "sample", **secrets)
    assert any(checked[section] for section in shown["sections"]), checked


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_and_column_is_described(name: str) -> None:
    """With a meaning, or a type that lists what is allowed."""
    manual = manual_of(name)
    assert manual.summary
    assert manual.plant
    assert [key.name for key in (*manual.options, *manual.columns) if not (key.meaning or key.type)] == []


def test_drivers_are_listed_with_what_they_are_for() -> None:
    """A line each, with the first sentence of the manual."""
    listed = {each["name"]: each["sections"] for each in record_of("drivers", "list")["drivers"]}
    assert listed["sql"] == listed["influxdb"] == listed["files"] == ["archives"]
    assert "sources" in listed["opcua"]


def test_a_manual_is_readable() -> None:
    """Manual, keys with their defaults, and sample follow one another."""
    text = CliRunner().invoke(app, ["drivers", "show", "sql"]).stdout
    parts = ("`ignition`: a path", "(default 1m)", "  page_rows  ", "[archives.ignition]\n", "tag,asset")
    places = [text.rindex(part) for part in parts]
    assert places == sorted(places)


def test_an_unknown_driver_and_a_taken_directory_are_named(tmp_path: Path) -> None:
    """With what there is."""
    taken = ["show", "sql", "--write", str(tmp_path)]
    for line, said in (["show", "sqll"], "did you mean sql"), (taken, "there is such"):
        error = CliRunner().invoke(app, ["drivers", *line]).exception
        assert isinstance(error, InvalidInput)
        assert said in str(error)
