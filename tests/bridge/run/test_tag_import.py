"""What a historian knows becomes a tag list, assets, events and metadata that a plant file takes; the rest is named."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from bridge.cli.import_tags import import_tags
from bridge.drivers.catalogue import EVENTS, VARIABLES, completed, states_of, states_text
from bridge.drivers.discovery import BrowseLimits, BrowseReport, EventReport
from bridge.drivers.files.options import Columns, Options
from bridge.drivers.protocols import Driver
from bridge.run.tag_import.documents import events_table, plant_tables
from bridge.run.tag_import.importing import import_catalogue, read_catalogue
from bridge.run.tag_import.naming import Place, parse_rule
from bridge.run.tag_import.proposal import proposal_of
from historian.errors import InvalidInput, SourceError
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.samples import SCHEMA, sample_batch
from historian.stores.open import open_store

SINCE = datetime(2024, 5, 1, tzinfo=UTC)
RULE = r"(?P<asset>[^/]+)/(?P<point>[^/]+)$"
CATALOGUE = pl.DataFrame(
    [
        {
            "address": "N1:C101.T",
            "path": "North/C-101/Temperature",
            "type": "Float32",
            "unit": "degC",
            "low": 0.0,
            "high": 120.0,
        },
        {
            "address": "N1:C102.T",
            "path": "North/C-102/Temperature",
            "type": "Float32",
            "unit": "degC",
            "low": 0.0,
            "high": 90.0,
        },
        {
            "address": "N1:C101.RUN",
            "path": "North/C-101/Run",
            "type": "Digital",
            "states": states_text({"OFF": 0, "ON": 1}),
            "description": "main motor",
        },
        {
            "address": "c101.new",
            "path": "North/C-101/Flow",
            "type": "Double",
            "unit": "m3/h",
            "replaces": "c101.old",
            "since": SINCE,
        },
        {"address": "c101.old", "path": "North/C-101/Flow (old)", "type": "Double", "unit": "m3/h"},
        {"address": "N1:C102.F", "path": "North/C-102/Flow", "unit": "l/s", "replaces": "gone"},
        {"address": "N1:C102.F2", "path": "North/C-102/Flow", "low": 5.0, "high": 5.0},
        {"address": "SINUSOID", "path": "SINUSOID"},
    ],
    schema=VARIABLES,
)


def test_a_rule_places_tags_by_path_or_address() -> None:
    """Names become those that a plant file takes; a rule without its groups is refused with an example."""
    rule = parse_rule(r"^(?P<class>[A-Z]+)(?P<asset>\d+)[.:](?P<point>.+)$")
    assert rule.place_of("nothing", "P101:Drive end, H") == Place("n101", "drive_end_h", "p", "P101")
    assert rule.place_of(None, "x") is None
    for wrong, named in (("(?P<asset>x", "no regular expression"), ("(?P<asset>x)", "no group point; for example")):
        with pytest.raises(InvalidInput, match=named):
            parse_rule(wrong)


def test_states_are_text_in_a_catalogue() -> None:
    """Both ways; anything else is refused."""
    assert states_of(states_text({"OFF": 0, "IDLE": "x"})) == {"OFF": 0, "IDLE": "x"}
    assert states_of("") == {}
    for wrong in ("[1]", "off", '{"a": null}', '{"a": true}'):
        with pytest.raises(SourceError, match="write"):
            states_of(wrong)


def test_what_cannot_be_carried_is_named() -> None:
    """A rename without a date, another unit, an empty range, a point filled twice, a tag that the rule leaves out."""
    found = proposal_of(CATALOGUE, parse_rule(RULE), ["stopped after 8 tags"])
    assert [(each.address, each.what) for each in found.not_carried] == [
        ("", "catalogue"),
        ("N1:C102.F", "process in l/s"),
        ("N1:C102.F", "rename"),
        ("N1:C102.F2", "tag"),
        ("SINUSOID", "tag"),
    ]
    odd = pl.DataFrame(
        {"address": ["a/b", "a/b", None, "a/w", "a/r"], "type": ["Float[]", None, None, None, None], "low": 1.0}
    )
    lost = proposal_of(odd.with_columns(states=pl.lit("?")), parse_rule(RULE)).not_carried
    assert {each.what for each in lost} == {"states", "kind", "range", "tag"}


def test_the_proposal_is_a_plant(tmp_path: Path) -> None:
    """Units, ranges by asset, states and a dated rename arrive in the plant that is loaded from it."""
    archive = '[archives.pi]\ndriver = "files"\npath = "*.csv"\nlayout = "long"\ntags = "p/tags.csv"\n'
    other = '[classes.pump.points]\nt = { kind = "process" }\n[assets.p1]\nclass = "pump"\n'
    plant = f'site = {{ name = "test" }}\n{other}{archive}'
    (tmp_path / "plant.toml").write_text(plant)
    CATALOGUE.write_csv(tmp_path / "catalogue.csv")
    import_tags("pi", RULE, tmp_path, catalogue=tmp_path / "catalogue.csv", write=tmp_path / "p")
    (tmp_path / "plant.toml").write_text(plant + (tmp_path / "p" / "plant-additions.toml").read_text())
    loaded = load_plant(tmp_path)
    temperatures = [loaded.tags[f"{asset}.temperature"] for asset in ("c_101", "c_102")]
    assert [(tag.unit, tag.range) for tag in temperatures] == [("degC", (0, 120)), ("degC", (0, 90))]
    assert (loaded.tags["c_101.run"].kind, loaded.tags["c_101.run"].states) == ("state", {"off": 0, "on": 1})
    assert [(tag.name, tag.since) for tag in loaded.tags_of("c_101", "flow")] == [
        ("c101.old", None),
        ("c_101.flow", SINCE),
    ]
    described = {row["tag"]: row for row in csv.DictReader(io.StringIO((tmp_path / "p" / "metadata.csv").read_text()))}
    assert described["c_101.run"]["description"] == "main motor"
    with pytest.raises(InvalidInput, match=r"tags.csv, .* already"):
        import_tags("pi", RULE, tmp_path, catalogue=tmp_path / "catalogue.csv", write=tmp_path / "p")


def test_events_become_a_table_of_labels() -> None:
    """By the tag's asset or the element's; those of no asset are counted, and instants have no end."""
    events = pl.DataFrame(
        [
            {"address": "N1:C101.T", "kind": "annotation", "start": SINCE, "text": "sensor changed"},
            {
                "path": "North/C-102/Motor",
                "kind": "Downtime",
                "start": SINCE,
                "end": SINCE.replace(day=2),
                "known_at": SINCE,
            },
            {"path": "South/X", "kind": "Downtime", "start": SINCE},
        ],
        schema=EVENTS,
    )
    table, lost = events_table(events, proposal_of(CATALOGUE, parse_rule(RULE)))
    assert table.rows() == [
        ("c_101", "annotation", "2024-05-01T00:00:00.000000Z", None, None, "c_101.temperature", "sensor changed"),
        (
            "c_102",
            "Downtime",
            "2024-05-01T00:00:00.000000Z",
            "2024-05-01T00:00:00.000000Z",
            "2024-05-02T00:00:00.000000Z",
            None,
            None,
        ),
    ]
    assert [(each.address, each.why) for each in lost] == [("South/X", "1 of them belong to no asset of the proposal")]


def test_a_driver_s_catalogue_and_events_are_read(tmp_path: Path) -> None:
    """From what is registered with it, and what it leaves out is named."""

    async def browse(_: ConnectionConfig, limits: BrowseLimits) -> BrowseReport:
        assert limits.variables > 100_000
        return BrowseReport(CATALOGUE.head(3), ("the rest",))

    async def events(_: ConnectionConfig, start: datetime | None, end: datetime | None) -> EventReport:
        assert (start, end) == (SINCE, None)
        return EventReport(pl.DataFrame({"path": ["North/C-101"], "kind": ["trip"], "start": [SINCE]}))

    driver = Driver(options=Options, address=Columns, browse=browse, events=events)
    connection = ConnectionConfig("pi", driver, None, (), tmp_path)
    found = asyncio.run(import_catalogue(connection, parse_rule(RULE), catalogue=None, start=SINCE))
    assert (found.events["asset"].to_list(), len(found.proposal.tags)) == (["c_101"], 3)
    assert [each.why for each in found.not_carried] == ["the rest"]
    assert plant_tables(found.proposal).count("[assets.") == 2
    dumb = replace(connection, driver=Driver(options=Options, address=Columns))
    with pytest.raises(InvalidInput, match="--catalogue FILE"):
        asyncio.run(import_catalogue(dumb, parse_rule(RULE), catalogue=None, start=None))


def test_visibility_is_counted_by_asset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catalogued, mapped by the tag list, and with samples in the store; the files' own names are a catalogue."""
    (tmp_path / "a.csv").write_text(
        "tag,timestamp,value\nC101/T,2026-03-01T00:00:00Z,1\nC101/F,2026-03-01T00:00:00Z,2\n"
    )
    (tmp_path / "b.csv").write_text("tag,timestamp,value\nC101/P,2026-03-02T00:00:00Z,1\nSIM,2026-03-02T00:00:00Z,2\n")
    (tmp_path / "tags.list").write_text("tag,asset,point,address\nc101.t,c101,t,C101/T\nc101.f,c101,f,C101/F\n")
    points = 't = { kind = "process" }\nf = { kind = "process" }\n'
    (tmp_path / "plant.toml").write_text(
        f'site = {{ name = "test" }}\n[classes.pump.points]\n{points}[assets.c101]\nclass = "pump"\n'
        '[archives.old]\ndriver = "files"\npath = "*.csv"\nlayout = "long"\ntags = "tags.list"\n'
    )
    row = pl.DataFrame([("c101.t", SINCE, 1.0, None, 0)], schema=SCHEMA, orient="row")
    open_store(load_plant(tmp_path)).write(sample_batch(row), source="old", now=SINCE)
    import_tags("old", r"(?P<asset>C\d+)/(?P<point>.+)", tmp_path, as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["visibility"] == {
        "": {"catalogued": 1, "mapped": 0, "delivering": 0},
        "c101": {"catalogued": 3, "mapped": 2, "delivering": 1},
    }
    import_tags("old", r"(?P<asset>C\d+)/(?P<point>.+)", tmp_path)
    shown = capsys.readouterr().out.splitlines()
    assert "  c101: 3 catalogued, 2 mapped, 1 delivering, 33 % visible" in shown
    assert shown[-1] == "nothing was written; --write DIRECTORY does"


def test_a_catalogue_file_is_checked(tmp_path: Path) -> None:
    """It needs addresses, numbers and times; other columns are ignored."""
    path = tmp_path / "c.csv"
    path.write_text("address,since,note\na,2024-05-01T00:00:00Z,x\n")
    assert read_catalogue(path).equals(completed(pl.DataFrame({"address": ["a"], "since": [SINCE]}), VARIABLES))
    for text, named in (("tag\na\n", "no column address; it has tag"), ("address,low\na,x\n", "cannot be read")):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=named):
            read_catalogue(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_catalogue(tmp_path / "none.csv")
