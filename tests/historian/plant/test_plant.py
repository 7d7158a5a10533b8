"""Loading a plant: what a right one resolves to, and every problem of a wrong one, with file and row.

A case is a folder under `tests/cases/plant`; one with an `expected.txt` must be refused with exactly these words.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.drivers.protocols import open_archive, open_source
from historian.errors import ConfigError
from historian.plant.document import toml_line
from historian.plant.load import load_plant
from historian.plant.model import Point
from historian.plant.plant import Plant, View, source_points
from historian.plant.schema import plant_schema
from historian.waveforms.timing import MAX_RATE

CASES = Path(__file__).parents[2] / "cases" / "plant"
PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the test drivers the way a third party's would be: on the path, with entry points."""
    monkeypatch.syspath_prepend(PLUGINS)


@pytest.fixture
def plant() -> Plant:
    """The valid plant."""
    return load_plant(CASES / "valid")


@pytest.mark.parametrize("case", sorted(path.parent.name for path in CASES.glob("*/expected.txt")))
def test_a_wrong_plant_is_refused_with_every_problem(case: str) -> None:
    """All problems at once, each with its file and line or row, in reading order."""
    with pytest.raises(ConfigError) as refusal:
        load_plant(CASES / case / "plant.toml")
    assert str(refusal.value) == (CASES / case / "expected.txt").read_text().rstrip("\n")


def test_a_point_has_no_rate_that_a_waveform_cannot_have() -> None:
    """Otherwise every stretch of its tag would be refused while the bridge runs."""
    assert Point(kind="vibration", sample_rate=MAX_RATE).sample_rate == MAX_RATE
    with pytest.raises(ValidationError):
        Point(kind="vibration", sample_rate=MAX_RATE + 1)


def test_a_tag_knows_its_role(plant: Plant) -> None:
    """The tag list's row joined with the class's point and the driver's own columns."""
    tag = plant.tags["c101.oil, temp"]
    assert (tag.asset, tag.point, tag.kind, tag.unit) == ("c101", "oil_temp", "process", "degC")
    assert (tag.range, tag.max_staleness, tag.scale) == ((-20, 150), timedelta(seconds=60), 0.1)
    assert tag.options.model_dump() == {"mode": "fast"}
    assert plant.tag_of("c101", "oil_temp") is tag
    assert plant.tag_of("c101", "speed") is None


def test_an_archive_may_bring_the_history_of_a_live_tag(plant: Plant) -> None:
    """One tag has two connections, each with an address of its own."""
    live, old = plant.sources["line1"].tags[0], plant.archives["old"].tags[0]
    assert (live.name, old.name) == ("c101.de_h", "c101.de_h")
    assert (live.address, old.address) == ("ns=2;s=c101.de_h", "DE_H")
    assert sorted(plant.tags) == ["c101.de_h", "c101.oil, temp", "c101.state"]


def test_feature_sets_become_views(plant: Plant) -> None:
    """Named after class and set; the hop defaults to the window."""
    expected = View(
        name="compressor_vibration",
        asset_class="compressor",
        points=("de_h", "de_v"),
        kind="vibration",
        window=timedelta(milliseconds=100),
        hop=timedelta(milliseconds=100),
        align="burst",
        ttl=timedelta(hours=1),
    )
    assert plant.views["compressor_vibration"] == expected
    assert plant.views["compressor_process"].kind == "process"
    assert plant.assets_of("compressor") == ("c101",)


def test_features_that_need_the_machine_are_resolved() -> None:
    """Each asset has its speed, and each point its bearing."""
    plant = load_plant(CASES / "machine")
    view = plant.views["compressor_bearing"]
    assert (view.features, view.bands) == (("time", "spectrum", "orders", "envelope"), ((10, 1000), (1000, 6000)))
    assert source_points(view) == ("de_h", "nde_h", "speed")
    assert {name: asset.speed_rpm for name, asset in plant.assets.items()} == {"c101": 1500, "c102": 1772}
    process = plant.views["compressor_process"]
    assert (process.features, source_points(process)) == ((), ("oil", "pump", "mode"))
    balls = {name: tag.bearing.balls for name, tag in plant.tags.items() if tag.bearing}
    assert balls == {"c101.de_h": 9, "c101.nde_h": 8, "c102.de_h": 9}
    assert plant.tags["c101.pump"].states == {"off": 0, "on": 1}


def test_a_group_of_another_package_is_checked_like_ours(tmp_path: Path) -> None:
    """It is found by entry point; the plant file must have what it needs."""
    text = (CASES / "machine" / "plant.toml").read_text()
    text = text.replace(
        'features = ["time", "spectrum", "orders", "envelope"], speed = "speed"', 'features = ["acme_turns"]'
    )
    text = text.replace("speed_rpm = 1500", "").replace(", bands = [[10, 1000], [1000, 6000]]", "")
    (tmp_path / "plant.toml").write_text(text)
    (tmp_path / "tags.csv").write_text((CASES / "machine" / "tags.csv").read_text())
    with pytest.raises(ConfigError, match=r"acme_turns cannot be computed without speed: .*, or give c101 a speed_rpm"):
        load_plant(tmp_path)
    (tmp_path / "plant.toml").write_text(text.replace('["acme_turns"]', '["acme"]'))
    assert load_plant(tmp_path).views["compressor_bearing"].features == ("acme",)


@pytest.mark.parametrize("group", ["acme_spelling", "acme_list", "acme_gone"])
def test_a_group_that_cannot_be_used_is_a_problem_of_the_plant_file(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the line that names it."""
    monkeypatch.syspath_prepend(PLUGINS / "broken")
    text = (CASES / "machine" / "plant.toml").read_text().replace('"orders", "envelope"', f'"{group}"')
    (tmp_path / "plant.toml").write_text(text)
    (tmp_path / "tags.csv").write_text((CASES / "machine" / "tags.csv").read_text())
    with pytest.raises(ConfigError, match=r"plant.toml line 13: classes.compressor.features.bearing: .*(acme|Sixth)"):
        load_plant(tmp_path)


def test_paths_are_relative_to_the_plant_file(plant: Plant) -> None:
    """The working directory of the command does not matter."""
    assert plant.root == CASES / "valid"
    assert plant.state == CASES / "valid" / ".penstock"


def test_secrets_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` is replaced; the value may have quotes and backslashes."""
    monkeypatch.setenv("SITE_STATE", 'a "quoted" \\ path')
    text = (CASES / "valid" / "plant.toml").read_text().replace("[classes", 'state = "${SITE_STATE}"\n[classes', 1)
    (tmp_path / "plant.toml").write_text(text)
    for name in ("line1.csv", "old.csv"):
        (tmp_path / name).write_text((CASES / "valid" / name).read_text())
    assert load_plant(tmp_path).state == tmp_path / 'a "quoted" \\ path'


def plant_with_secrets(directory: Path) -> Path:
    """The valid plant, whose source and archive refer to variables that are not set."""
    text = (CASES / "valid" / "plant.toml").read_text()
    text = text.replace("port = 4840", 'port = "${LINE1_PORT}"') + 'port = "${OLD_PORT}"\n'
    (directory / "plant.toml").write_text(text)
    for name in ("line1.csv", "old.csv"):
        (directory / name).write_text((CASES / "valid" / name).read_text())
    return directory


def test_a_secret_of_a_connection_is_needed_by_those_who_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plant loads with all its tags; the connection says what to set, and works once it is set."""
    monkeypatch.setenv("LINE1_PORT", "4841")
    plant = load_plant(plant_with_secrets(tmp_path))
    assert sorted(plant.tags) == ["c101.de_h", "c101.oil, temp", "c101.state"]
    open_source(plant.sources["line1"])
    with pytest.raises(ConfigError) as refusal:
        open_archive(plant.archives["old"])
    assert str(refusal.value) == (
        "plant.toml line 28: the environment has no OLD_PORT, which the file uses as ${OLD_PORT}; set it"
    )
    monkeypatch.setenv("OLD_PORT", "1")
    open_archive(load_plant(tmp_path).archives["old"])


def test_a_source_is_not_opened_without_its_secret(tmp_path: Path) -> None:
    """The same holds for an archive."""
    with pytest.raises(ConfigError, match=r"line 23: the environment has no LINE1_PORT"):
        open_source(load_plant(plant_with_secrets(tmp_path)).sources["line1"])


def test_a_check_reports_the_secrets_of_all_connections(tmp_path: Path) -> None:
    """Each has its line, together with the other problems."""
    plant_with_secrets(tmp_path)
    (tmp_path / "old.csv").unlink()
    with pytest.raises(ConfigError) as refusal:
        load_plant(tmp_path, every_variable=True)
    assert [(problem.place, problem.text.split(",")[0]) for problem in refusal.value.problems] == [
        ("line 23", "the environment has no LINE1_PORT"),
        ("line 27", "the tag list old.csv does not exist"),
        ("line 28", "the environment has no OLD_PORT"),
    ]


def test_a_missing_number_is_a_missing_variable(tmp_path: Path) -> None:
    """Outside quotation marks the reference would not be valid TOML."""
    plant_with_secrets(tmp_path)
    file = tmp_path / "plant.toml"
    file.write_text(file.read_text().replace('"${OLD_PORT}"', "${OLD_PORT}"))
    with pytest.raises(ConfigError, match=r"the environment has no LINE1_PORT.*\n.*no OLD_PORT"):
        load_plant(tmp_path)


def test_a_value_from_the_environment_is_no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password may look like a reference."""
    monkeypatch.setenv("SITE_STATE", "${NOTHING}")
    text = (CASES / "valid" / "plant.toml").read_text().replace("[classes", 'state = "${SITE_STATE}"\n[classes', 1)
    (plant_with_secrets(tmp_path) / "plant.toml").write_text(text)
    assert load_plant(tmp_path).state == tmp_path / "${NOTHING}"


def test_an_absent_plant_file_says_what_to_do(tmp_path: Path) -> None:
    """The error says to name one, and points to the demo."""
    with pytest.raises(ConfigError, match=r"no plant file .*; name one with --plant"):
        load_plant(tmp_path)


def test_the_schema_knows_every_drivers_keys() -> None:
    """Editors can complete `port` under a source of the test driver, and mark `prot` as wrong."""
    schema = plant_schema()
    driver = schema["$defs"]["test-live_driver"]
    assert driver["properties"]["port"]["maximum"] == 65535
    assert driver["additionalProperties"] is False
    assert {"$ref": "#/$defs/test-live_driver"} in schema["properties"]["sources"]["additionalProperties"]["oneOf"]
    assert {"$ref": "#/$defs/test-live_driver"} not in schema["properties"]["archives"]["additionalProperties"]["oneOf"]
    json.dumps(schema)


def test_the_line_of_the_deepest_known_key_is_found() -> None:
    """A missing key is shown at its table."""
    text = '[a]\nx = 1\n[a.b]\n"q.r" = 2\nd.e = 3\n'
    assert toml_line(text, ("a", "x")) == 2
    assert toml_line(text, ("a", "b", "missing")) == 3
    assert toml_line(text, ("a", "b", "d", "e")) == 5
    assert toml_line(text, ("z",)) is None
