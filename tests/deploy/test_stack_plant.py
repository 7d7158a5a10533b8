"""The plant of the compose stack: it loads, it matches the simulator, and it leads to the stack's own stores."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

import pytest

from features.feast.online.served import served_path
from historian.plant.load import load_plant
from tests.deploy.stack import OURS, PLANT, SERVICES, STATE, dockerfile, mounts, parsed, penstock_commands


def test_the_plant_of_the_stack_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where the image looks for it, with its state in the volume and its samples in the stack's own InfluxDB."""
    monkeypatch.setenv("INFLUX_TOKEN", "secret")
    init = SERVICES["influxdb"]["environment"]

    plant = load_plant(PLANT)
    url = urlsplit(plant.store_url)

    assert all(mounts(name)["/etc/penstock"] == ["./deploy/plant", "ro"] for name in ("bridge", "features", "api"))
    assert any("PENSTOCK_PLANT=/etc/penstock" in line for line in dockerfile("ENV"))
    assert str(plant.state) == STATE
    assert (url.scheme, url.hostname, url.port) == ("influxdb", "influxdb", 8086)
    assert url.path.strip("/") == init["DOCKER_INFLUXDB_INIT_ORG"]
    assert parse_qs(url.query)["bucket"] == [init["DOCKER_INFLUXDB_INIT_BUCKET"]]


def test_the_api_can_log_what_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has a volume of its own, which features read for `penstock consistency`; the image's user owns it."""
    monkeypatch.setenv("INFLUX_TOKEN", "secret")
    plant = load_plant(PLANT)
    place = str(served_path(plant))

    assert plant.served_for
    assert {name: mounts(name)[place] for name in SERVICES if place in mounts(name)} == {
        "features": ["served-log", "ro"],
        "api": ["served-log"],
    }
    assert any(place in line.split() and "--owner penstock" in line for line in dockerfile("RUN"))


def test_what_serves_features_can_open_the_stacks_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The online store is the Redis of the stack; who needs its password has it, and the bridge does not."""
    monkeypatch.setenv("INFLUX_TOKEN", "secret")
    monkeypatch.setenv("PENSTOCK_ONLINE_PASSWORD", "another")

    plant = load_plant(PLANT)
    given = {name: SERVICES[name].get("environment", {}).get("PENSTOCK_ONLINE_PASSWORD") for name in OURS}

    assert (plant.online_url, plant.online_password) == ("redis://redis:6379/0", "another")
    assert {name for name, secret in given.items() if secret} == {"features", "api"}
    assert {given["features"], given["api"]} == {SERVICES["redis"]["environment"]["REDISCLI_AUTH"]}


def test_the_plant_of_the_stack_is_the_simulators() -> None:
    """Its classes, assets and live tags are those of the simulator's own plant file, at the addresses it is given."""
    template = files("bridge.simulator.template")
    options = parsed(next(penstock_commands("simulator")))
    text = template.joinpath("plant.toml").read_text(encoding="utf-8")
    for name in ("host", "opcua_port", "modbus_port"):
        text = text.replace(f"@{name.upper()}@", str(options[name]))
    simulated = tomllib.loads(text)
    ours = tomllib.loads((PLANT / "plant.toml").read_text(encoding="utf-8"))

    assert options["host"] == "simulator"
    assert {key: ours[key] for key in ("classes", "assets", "sources")} == {
        key: simulated[key] for key in ("classes", "assets", "sources")
    }
    for name in ("line1.csv", "plc.csv"):
        assert (PLANT / "tags" / name).read_text() == template.joinpath(name).read_text()
