"""Served values are logged, and recomputed offline as they were known at that time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from typer.testing import CliRunner

from features.feast.online.consistency import consistency
from features.feast.online.lookup import materialize, online_response
from features.feast.online.served import SERVED, ServedLog, open_log, served_path, served_since
from features.feast.registry.feast_repo import apply, open_feature_store
from historian.cli.main import app
from historian.errors import NotEnoughData
from historian.plant.plant import Plant

START = datetime(2026, 3, 1, tzinfo=UTC)
RMS, VALID = "compressor_vibration:de_h_rms_ac", "compressor_vibration:de_h_valid"
OIL = "compressor_process:oil_temp_mean"


def after(seconds: float) -> datetime:
    """An instant after START."""
    return START + timedelta(seconds=seconds)


@pytest.fixture
def store(plant: Plant) -> FeatureStore:
    """Feast over the plant."""
    apply(plant)
    return open_feature_store(plant)


@pytest.fixture
def serve(plant: Plant, store: FeatureStore) -> Callable[..., None]:
    """Looks features up at a time and logs the answer."""

    def look(refs: list[str], assets: list[str], now: float) -> None:
        log = ServedLog(served_path(plant), keep=timedelta(days=30))
        online_response(store, refs, assets, full_feature_names=False, now=after(now), log=log)
        log.close()

    return look


def materialized(store: FeatureStore) -> None:
    """Materialises everything."""
    materialize(store, end=after(86_400), advance=lambda _: None)


def counts(plant: Plant, store: FeatureStore) -> dict[str, dict[str, int]]:
    """The nonzero counts of each feature's verdicts."""
    found = consistency(store, served_since(served_path(plant), START).collect())
    rows = found.drop("values", "wrong").to_dicts()
    return {row.pop("feature"): {verdict: count for verdict, count in row.items() if count} for row in rows}


def test_what_is_served_is_logged(
    plant: Plant, store: FeatureStore, serve: Callable[..., None], add_rows: Callable[..., None]
) -> None:
    """Each value is a row with its status and its time, in a file that is never appended to."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    materialized(store)
    serve([RMS, VALID], ["c101", "c102"], 20)
    serve([RMS], ["c101"], 30)
    rows = served_since(served_path(plant), START).sort("served_at", "feature", "asset").collect()
    none = datetime(1970, 1, 1, tzinfo=UTC)
    assert rows.schema == SERVED
    assert rows.rows() == [
        (after(20), "c101", RMS, after(10), "PRESENT", 2.5, None),
        (after(20), "c102", RMS, none, "NOT_FOUND", None, None),
        (after(20), "c101", VALID, after(10), "PRESENT", 1.0, None),
        (after(20), "c102", VALID, none, "NOT_FOUND", None, None),
        (after(30), "c101", RMS, after(10), "PRESENT", 2.5, None),
    ]
    assert len(list(served_path(plant).rglob("*.parquet"))) == 2
    assert served_since(served_path(plant), after(25)).collect().height == 1


def test_old_days_are_deleted(plant: Plant, store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """Days that ended `keep` ago are deleted when a new file is written; files of others are left alone."""
    served_path(plant).mkdir()
    (served_path(plant) / "1999.txt").touch()
    log = ServedLog(served_path(plant), keep=timedelta(days=2))
    for day in range(5):
        online_response(store, [RMS], ["c101"], full_feature_names=True, now=after(86_400 * day), log=log)
        log.close()
        log = ServedLog(served_path(plant), keep=timedelta(days=2))
    log.close()
    days = [each.name for each in served_path(plant).iterdir() if each.is_dir()]
    assert sorted(days) == ["2026-03-03", "2026-03-04", "2026-03-05"]
    assert not caplog.messages


def test_a_disk_that_fails_stops_no_lookup(plant: Plant, store: FeatureStore, tmp_path: Path) -> None:
    """Logging stops, and the lookup is answered."""
    (tmp_path / "served").write_text("a file where a directory should be")
    log = ServedLog(tmp_path / "served", keep=timedelta(days=2))
    assert online_response(store, [RMS], ["c101"], full_feature_names=True, now=START, log=log).results
    log.close()


def test_logging_is_enabled_by_the_plant_file(plant: Plant) -> None:
    """`[online] log` enables it; it is off by default."""
    assert open_log(plant) is None
    log = open_log(replace(plant, served_for=timedelta(days=1)))
    assert log is not None
    log.close()


def test_what_was_served_matches_what_was_known(
    plant: Plant, store: FeatureStore, serve: Callable[..., None], add_rows: Callable[..., None]
) -> None:
    """This includes nulls, expired values and assets without any; a correction made later changes no verdict."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5), ("c102", 10, 11, None))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    materialized(store)
    serve([RMS, VALID, OIL], ["c101", "c102"], 20)
    serve([OIL], ["c101"], 400)
    add_rows("compressor_vibration", ("c101", 10, 500, 3.5), ("c102", 15, 500, 1.0))
    assert counts(plant, store) == {RMS: {"match": 2}, VALID: {"match": 2}, OIL: {"match": 3}}


def test_a_value_that_lags_is_stale_not_wrong(
    plant: Plant, store: FeatureStore, serve: Callable[..., None], add_rows: Callable[..., None]
) -> None:
    """A newer window, or a correction, was known offline when the older value was served."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5), ("c102", 10, 11, 2.5))
    materialized(store)
    add_rows("compressor_vibration", ("c101", 15, 16, 3.5), ("c102", 10, 16, 3.5))
    serve([RMS], ["c101", "c102"], 20)
    assert counts(plant, store) == {RMS: {"stale": 2}}


def test_wrong_missing_and_extra_values_are_distinguished(
    plant: Plant, store: FeatureStore, serve: Callable[..., None], add_rows: Callable[..., None]
) -> None:
    """A pushed value that was never computed, one of an asset that has none, and one that was never materialised.

    All three are wrong.
    """
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    apply(plant)
    view = store.get_feature_view("compressor_vibration")
    rows = [
        (
            EntityKey(join_keys=["asset"], entity_values=[Value(string_val=asset)]),
            {"de_h_rms_ac": Value(double_val=9.0)},
            after(10),
            None,
        )
        for asset in ("c101", "c102")
    ]
    store.provider.online_write_batch(store.config, view, rows, None)
    serve([RMS], ["c101", "c102"], 20)
    serve([OIL], ["c101"], 20)
    assert counts(plant, store) == {RMS: {"mismatch": 1, "extra": 1}, OIL: {"missing": 1}}
    serve([RMS], ["c102"], 21)
    serve([OIL], ["c101", "c102"], 21)
    served = served_since(served_path(plant), START).collect()
    assert dict(consistency(store, served).select("feature", "wrong").iter_rows()) == {RMS: 1.0, OIL: 2 / 3}


@pytest.fixture
def penstock(plant: Plant) -> Callable[..., tuple[int, str]]:
    """Runs a command on the plant; exit code and standard output."""

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner(env={"PENSTOCK_PLANT": str(plant.root)}).invoke(app, arguments, catch_exceptions=False)
        return done.exit_code, done.stdout

    return run


def test_the_command_ends_with_1_if_too_much_is_wrong(
    store: FeatureStore,
    serve: Callable[..., None],
    add_rows: Callable[..., None],
    penstock: Callable[..., Any],
) -> None:
    """The exit code is 1 above the threshold; an empty log is an error of its own."""
    since = ("--since", "2026-03-01T00:00:00Z")
    with pytest.raises(NotEnoughData, match=r"set log in \[online\]"):
        penstock("consistency", *since)
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    materialized(store)
    serve([RMS], ["c101"], 20)
    code, output = penstock("consistency", *since, "--json")
    assert (code, json.loads(output)["wrong"]) == (0, [])
    add_rows("compressor_vibration", ("c102", 10, 11, 2.5))
    serve([RMS], ["c102"], 30)
    code, output = penstock("consistency", *since)
    assert (code, output.splitlines()[1].split()) == (1, [RMS, "2", "1", "0", "0", "1", "0"])
    assert penstock("consistency", *since, "--threshold", "0.5")[0] == 0


def test_the_drift_of_a_training_set(
    plant: Plant, store: FeatureStore, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """The exit code is 1 if a feature has drifted; corrected rows count once."""
    add_rows("compressor_vibration", *(("c101", second, second + 1, 5.0) for second in range(100)))
    add_rows("compressor_vibration", *(("c101", second, second + 500, float(second % 10)) for second in range(100)))
    column = RMS.replace(":", "__")
    for shift, code in ((0.0, 0), (100.0, 1)):
        values = [number % 10 + shift for number in range(300)]
        pl.DataFrame({column: values, "target": values}).write_parquet(plant.root / "set.parquet")
        ended, output = penstock("drift", str(plant.root / "set.parquet"), "--since", "2026-03-01T00:00:00Z", "--json")
        (report,) = json.loads(output)["features"]
        assert (ended, report["feature"], report["training"], report["live"]) == (code, RMS, 300, 100)
    assert report["ks"] == 1
    assert penstock("drift", str(plant.root / "set.parquet"), "--since", "2026-03-01T00:00:00Z")[1].endswith(
        "drifted\n"
    )


def test_the_thresholds_of_drift_decide(
    plant: Plant, store: FeatureStore, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """With each threshold below and above the measured value, verdict and exit code change with it."""
    add_rows("compressor_vibration", *(("c101", second, second + 1, float(second % 10)) for second in range(100)))
    values = [number % 10 + 3.0 for number in range(300)]  # KS is 0.3, and 0.188 would be chance
    pl.DataFrame({RMS.replace(":", "__"): values}).write_parquet(plant.root / "set.parquet")

    def drifted(psi: float, ks: float) -> tuple[int, bool, float]:
        limits = ["--psi", str(psi), "--ks", str(ks)]
        code, output = penstock(
            "drift", str(plant.root / "set.parquet"), "--since", "2026-03-01T00:00:00Z", *limits, "--json"
        )
        [report] = json.loads(output)["features"]
        assert json.loads(output)["drifted"] == ([RMS] if report["drifted"] else [])
        return code, report["drifted"], report["psi"]

    index = drifted(99, 1)[2]
    assert [drifted(99, limit)[:2] for limit in (0.25, 0.35)] == [(1, True), (0, False)]
    assert [drifted(limit, 1)[:2] for limit in (index - 0.01, index + 0.01)] == [(1, True), (0, False)]


def test_text_features_may_drift(
    plant: Plant, store: FeatureStore, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """A reason that no training row had is found; numbers of the same rows have not drifted, in any file format."""
    add_rows("compressor_vibration", *(("c101", second, second + 1, float(second % 10)) for second in range(100)))
    made = pl.DataFrame(
        {
            "compressor_vibration__de_h_rms_ac": [float(number % 10) for number in range(300)],
            "compressor_vibration__de_h_reason": pl.Series([None] * 300, dtype=pl.String),
            "compressor_vibration__de_h_valid": [True] * 300,
            "compressor_vibration__de_h_samples": pl.Series([0] * 300, dtype=pl.Int32),
            "note": ["checked"] * 300,
        }
    )
    made.write_parquet(plant.root / "set.parquet")
    made.write_csv(plant.root / "set.csv")
    made.write_ipc(plant.root / "set.arrow")
    made.write_ipc_stream(plant.root / "set.arrows")
    reports = []
    for suffix in ("parquet", "csv", "arrow", "arrows"):
        code, text = penstock("drift", str(plant.root / f"set.{suffix}"), "--since", "2026-03-01T00:00:00Z", "--json")
        reports.append(json.loads(text)["features"])
        assert (code, json.loads(text)["drifted"]) == (1, ["compressor_vibration:de_h_reason"])
    assert reports == [reports[0]] * 4


def test_what_is_no_longer_registered_is_left_out(
    store: FeatureStore, serve: Callable[..., None], add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """A view was removed from the plant file after it had been served: the others are checked."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    materialized(store)
    serve([RMS, OIL], ["c101"], 20)
    store.delete_feature_view("compressor_process")
    code, output = penstock("consistency", "--since", "2026-03-01T00:00:00Z", "--json")
    assert (code, [each["feature"] for each in json.loads(output)["features"]]) == (0, [RMS])
    assert json.loads(output)["left_out"] == [OIL]
    assert f"{OIL} is no longer registered" in penstock("consistency", "--since", "2026-03-01T00:00:00Z")[1]
