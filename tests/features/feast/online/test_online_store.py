"""Both online stores keep exact instants in any time zone and whole rows, and replace them only by newer ones."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore, FeatureView, RepoConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from redis import Redis

from features.feast.online.lookup import readings
from features.feast.registry.feast_repo import apply, open_feature_store, repo_config
from historian.errors import ConfigError, StoreUnavailable
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from tests.servers import free_port, redis_server

NIGHT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # in Europe, 02:30 of that night does not exist on the wall
SECOND = timedelta(seconds=1)


def key(asset: str) -> EntityKey:
    """Feast's key of an asset."""
    return EntityKey(join_keys=["asset"], entity_values=[Value(string_val=asset)])


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Changes the time zone of this process."""

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


def write(store: FeatureStore, value: float, event: datetime, created: datetime | None = None) -> None:
    """Writes two features of c101, as a push does."""
    values = {"de_h_rms_ac": Value(double_val=value), "de_h_n": Value(int64_val=int(value))}
    store.provider.online_write_batch(store.config, view(store), [(key("c101"), values, event, created)], None)


def read(store: FeatureStore, *assets: str) -> list[tuple[datetime | None, dict[str, Value] | None]]:
    """The stored rows of some assets."""
    found: list[tuple[datetime | None, dict[str, Value] | None]] = store.provider.online_read(
        store.config, view(store), [key(asset) for asset in assets], ["de_h_rms_ac", "de_h_n"]
    )
    return found


def row(value: float) -> dict[str, Value]:
    """The row that `write` writes."""
    return {"de_h_rms_ac": Value(double_val=value), "de_h_n": Value(int64_val=int(value))}


def view(store: FeatureStore) -> FeatureView:
    """Any view."""
    return store.get_feature_view("compressor_vibration")


@pytest.mark.parametrize("event", [NIGHT, NIGHT + timedelta(microseconds=123_456), NIGHT.replace(month=10, day=25)])
def test_an_instant_is_the_same_in_every_zone(
    stored: Plant, store: FeatureStore, zone: Callable[[str], None], event: datetime
) -> None:
    """Written in Berlin, also in the hours that the clock change skips and repeats, and read in UTC and Tokyo."""
    zone("Europe/Berlin")
    write(store, 1.0, event)
    for name in ("Europe/Berlin", "UTC", "Asia/Tokyo"):
        zone(name)
        assert read(open_feature_store(stored), "c101") == [(event, row(1.0))]


def test_a_time_without_a_zone_is_utc(store: FeatureStore, zone: Callable[[str], None]) -> None:
    """This is the rule everywhere in Feast."""
    zone("Europe/Berlin")
    write(store, 1.0, NIGHT.replace(tzinfo=None))
    assert read(store, "c101")[0][0] == NIGHT


@pytest.mark.parametrize(
    ("event", "created", "kept"),
    [
        (NIGHT + SECOND, None, 2.0),
        (NIGHT - SECOND, NIGHT + 9 * SECOND, 1.0),
        (NIGHT + timedelta(microseconds=1), None, 2.0),
        (NIGHT - timedelta(microseconds=1), NIGHT + 9 * SECOND, 1.0),
        (NIGHT, NIGHT + 2 * SECOND, 2.0),
        (NIGHT, NIGHT + SECOND, 2.0),
        (NIGHT, NIGHT, 1.0),
    ],
    ids=["newer", "late", "barely newer", "barely late", "correction", "again", "outdated"],
)
def test_only_what_is_as_new_or_newer_replaces(
    store: FeatureStore, event: datetime, created: datetime | None, kept: float
) -> None:
    """Event timestamps are compared first, then created timestamps."""
    write(store, 1.0, NIGHT, NIGHT + SECOND)
    write(store, 2.0, event, created)
    assert read(store, "c101")[0][1] == row(kept)


@pytest.mark.parametrize("steps", list(permutations((1, 2, 3))))
@pytest.mark.parametrize("there", [None, 0, 9], ids=["into nothing", "over what is older", "under what is newer"])
def test_of_several_rows_in_one_batch_the_newest_stays(
    store: FeatureStore, steps: tuple[int, ...], there: int | None
) -> None:
    """Rows may be in any order, together with a row of a new asset."""
    if there is not None:
        write(store, float(there), NIGHT + there * SECOND)
    rows = [(key("c101"), row(float(step)), NIGHT + step * SECOND, None) for step in steps]
    store.provider.online_write_batch(store.config, view(store), [*rows, (key("c102"), row(5.0), NIGHT, None)], None)
    kept = max(3, there or 0)
    assert read(store, "c101", "c102") == [(NIGHT + kept * SECOND, row(float(kept))), (NIGHT, row(5.0))]


def test_writers_at_once_leave_the_newest(stored: Plant, store: FeatureStore) -> None:
    """Three writers, each with its own connection, write in every order."""
    for number, order in enumerate(permutations((1, 2, 3))):
        start = NIGHT + number * 10 * SECOND
        stores = [open_feature_store(stored) for _ in order]
        threads = [
            threading.Thread(target=write, args=(each, float(step), start + step * SECOND))
            for each, step in zip(stores, order, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read(store, "c101") == [(start + 3 * SECOND, row(3.0))]


def test_answers_are_in_the_order_of_the_keys_and_include_absent_ones(store: FeatureStore) -> None:
    """A key given twice is answered twice."""
    write(store, 1.0, NIGHT)
    there = (NIGHT, row(1.0))
    assert read(store, "c102", "c101", "c101") == [(None, None), there, there]


def test_feasts_own_client_reads_what_we_write(plant: Plant, redis_url: str) -> None:
    """Feast's plain Redis store with its default configuration finds values and event timestamps."""
    ours = replace(plant, online_url=redis_url)
    apply(ours)
    write(open_feature_store(ours), 2.5, NIGHT)
    place = redis_url.removeprefix("redis://").replace("/", ",db=")
    settings = {**repo_config(ours), "online_store": {"type": "redis", "connection_string": place}}
    theirs = FeatureStore(config=RepoConfig(**settings))
    assert read(theirs, "c101") == [(NIGHT, row(2.5))]


def test_what_feasts_own_client_wrote_is_guarded(plant: Plant, redis_url: str) -> None:
    """A push by another Feast client is not overwritten by anything older."""
    ours = replace(plant, online_url=redis_url)
    apply(ours)
    place = redis_url.removeprefix("redis://").replace("/", ",db=")
    settings = {**repo_config(ours), "online_store": {"type": "redis", "connection_string": place}}
    write(FeatureStore(config=RepoConfig(**settings)), 1.0, NIGHT)
    store = open_feature_store(ours)
    write(store, 2.0, NIGHT - SECOND)
    assert read(store, "c101") == [(NIGHT, row(1.0))]


def test_the_bytes_are_those_of_feasts_writer(plant: Plant, redis_url: str) -> None:
    """Redis has the same fields and one more of ours, which no Feast client reads."""
    ours = replace(plant, online_url=redis_url)
    apply(ours)
    place = redis_url.removeprefix("redis://").replace("/", ",db=")
    settings = {**repo_config(ours), "online_store": {"type": "redis", "connection_string": place}}
    client = Redis.from_url(redis_url)
    written = []
    for store in (FeatureStore(config=RepoConfig(**settings)), open_feature_store(ours)):
        client.flushdb()
        write(store, 2.5, NIGHT + timedelta(microseconds=5))
        written.append({name: client.hgetall(name) for name in client.scan_iter()})
    (name,) = written[1]
    assert written[1][name].pop(b"_created:compressor_vibration")
    assert written[0] == written[1]


def test_a_row_in_sqlite_is_feasts_message(plant: Plant) -> None:
    """Each asset has one row; its features are a `Map` of Feast's."""
    apply(plant)
    write(open_feature_store(plant), 2.5, NIGHT)
    with closing(sqlite3.connect(plant.state / "online.db")) as connection:
        rows = connection.execute("SELECT features FROM north_works_compressor_vibration_rows").fetchall()
    assert [dict(Map.FromString(features).val) for (features,) in rows] == [row(2.5)]


def test_removing_a_view_deletes_its_rows(stored: Plant, store: FeatureStore) -> None:
    """When the view comes back, none of the earlier rows is online."""
    write(store, 1.0, NIGHT)
    apply(replace(stored, views={name: each for name, each in stored.views.items() if name != view(store).name}))
    apply(stored)
    assert read(open_feature_store(stored), "c101") == [(None, None)]


def test_a_redis_that_is_down_is_unavailable_and_shows_no_secret(plant: Plant, tmp_path: Path) -> None:
    """The password is not written to the disk either."""
    port = free_port()
    with redis_server(tmp_path, "--requirepass", "hush", port=port):
        ours = replace(plant, online_url=f"redis://127.0.0.1:{port}/0", online_password="hush")  # noqa: S106
        apply(ours)
        write(open_feature_store(ours), 1.0, NIGHT)
    with pytest.raises(StoreUnavailable, match=r"\[online\] in the plant file") as raised:
        readings(open_feature_store(ours), ["compressor_vibration:de_h_n"], "c101", now=NIGHT)
    assert "hush" not in str(raised.value)
    assert "hush" not in (plant.state / "feast" / "feature_store.yaml").read_text()


def test_a_wrong_password_is_refused(plant: Plant, tmp_path: Path) -> None:
    """The error says that the password is wrong."""
    with redis_server(tmp_path, "--requirepass", "hush") as port:
        wrong = replace(plant, online_url=f"redis://127.0.0.1:{port}/0", online_password="guess")  # noqa: S106
        with pytest.raises(StoreUnavailable, match="invalid username-password pair"):
            apply(wrong)


def expired(store: FeatureStore) -> Any:
    """Value and status of a feature written years ago, as Feast's own SDK returns them now."""
    answer = store.get_online_features(["compressor_process:oil_temp_mean"], [{"asset": "c101"}]).proto
    return answer.results[1].values[0].WhichOneof("val"), answer.results[1].statuses[0]


def test_the_sdk_honours_the_ttl(stored: Plant, store: FeatureStore) -> None:
    """With Feast's configuration file and without our API there is no value, and OUTSIDE_MAX_AGE (4)."""
    values = {"oil_temp_mean": Value(double_val=60.0)}
    process = store.get_feature_view("compressor_process")
    store.provider.online_write_batch(store.config, process, [(key("c101"), values, NIGHT, None)], None)
    assert expired(FeatureStore(str(stored.state / "feast"))) == (None, 4)


def test_a_redis_with_tls_needs_a_trusted_certificate(plant: Plant, tmp_path: Path) -> None:
    """The authority is named in the url; without it the certificate is refused."""
    cert, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(private), "-out", str(cert)]
    subprocess.run([*made, *names], check=True, capture_output=True, timeout=30)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(private)]
    with redis_server(tmp_path, *options, "--tls-auth-clients", "no", "--requirepass", "hush"):
        url = f"rediss://127.0.0.1:{port}/0"
        trusting = replace(plant, online_url=f"{url}?ssl_ca_certs={cert}", online_password="hush")  # noqa: S106
        apply(trusting)
        write(open_feature_store(trusting), 1.0, NIGHT)
        assert read(open_feature_store(trusting), "c101") == [(NIGHT, row(1.0))]
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            apply(replace(trusting, online_url=url))


@pytest.mark.parametrize("url", ["http://redis:6379", "redis://:hush@redis:6379/0", "redis://redis/zero"])
def test_a_url_that_is_no_redis_or_contains_a_password_is_refused(plant: Plant, url: str) -> None:
    """The error names the line, before anything connects."""
    file = plant.root / "plant.toml"
    file.write_text(file.read_text() + f'\n[online]\nurl = "{url}"\n')
    with pytest.raises(ConfigError, match="the password goes into password"):
        load_plant(file)


def test_the_online_store_is_configured_in_the_plant_file(plant: Plant) -> None:
    """It has the url, the password and how long served values are kept."""
    file = plant.root / "plant.toml"
    text = '\n[online]\nurl = "rediss://reader@redis:6379/0"\npassword = "hush"\nlog = "30d"\n'
    file.write_text(file.read_text() + text)
    loaded = load_plant(file)
    assert (loaded.online_url, loaded.online_password) == ("rediss://reader@redis:6379/0", "hush")
    assert loaded.served_for == timedelta(days=30)
