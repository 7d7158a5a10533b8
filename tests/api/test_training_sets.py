"""POST /v1/training-sets."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from httpx import Client
from polars.testing import assert_frame_equal

from api.routes.features import MAX_LABELS
from features.feast.registry.feast_repo import apply
from features.tables.feature_table import table_path
from historian.plant.plant import Plant
from tests.features.delta_commits import set_commit_times

RMS = "compressor_vibration:de_h_rms_ac"
LABELS = [
    {"asset": "c102", "event_timestamp": "2026-03-01T00:00:15Z", "rul": 7},
    {"asset": "c102", "event_timestamp": "2026-03-01T00:00:15Z", "rul": 7},
    {"asset": "c101", "event_timestamp": "2026-03-01T01:00:05+01:00", "rul": 8, "note": "early"},
]


def post(client: Client, **request: Any) -> Any:
    """Posts a request; `labels` are LABELS unless given."""
    return client.post("/v1/training-sets", json={"labels": LABELS, **request})


@pytest.mark.parametrize(
    ("as_format", "media", "read"),
    [
        ("parquet", "application/vnd.apache.parquet", pl.read_parquet),
        ("arrow", "application/vnd.apache.arrow.file", pl.read_ipc),
        ("arrows", "application/vnd.apache.arrow.stream", pl.read_ipc_stream),
        ("csv", "text/csv; charset=utf-8", lambda body: pl.read_csv(body, try_parse_dates=True)),
    ],
)
def test_labels_come_back_with_their_features(
    client: Client, served: Plant, as_format: str, media: str, read: Any
) -> None:
    """One row a label in the order given, repeats included, in each format."""
    answer = post(client, features=[RMS], format=as_format)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media)
    assert answer.headers["content-disposition"] == f'attachment; filename="training-set.{as_format}"'
    found = read(io.BytesIO(answer.content))
    expected = pl.DataFrame(
        {
            "asset": ["c102", "c102", "c101"],
            "rul": [7, 7, 8],
            "note": [None, None, "early"],
            "compressor_vibration__de_h_rms_ac": [1.0, 1.0, None],
        }
    )
    assert_frame_equal(found.drop("event_timestamp"), expected)


def test_without_features_all_features_of_the_class_are_returned(client: Client, served: Plant) -> None:
    """The default format is Parquet, with every feature of a compressor."""
    answer = post(client)
    columns = pl.read_parquet(io.BytesIO(answer.content)).columns
    assert columns[:4] == ["asset", "event_timestamp", "rul", "note"]
    assert {name.partition("__")[0] for name in columns[4:]} == {"compressor_vibration", "compressor_process"}


def test_what_was_computed_later_is_left_out_on_request(client: Client, served: Plant) -> None:
    """The row of second 10 was computed in second 11."""
    labels = [{"asset": "c101", "event_timestamp": f"2026-03-01T00:00:{second}Z"} for second in ("10.5", "11")]
    answer = post(client, labels=labels, features=[RMS], created_by_label_time=True)
    assert pl.read_parquet(io.BytesIO(answer.content))["compressor_vibration__de_h_rms_ac"].to_list() == [None, 1.0]


def test_as_of_answers_from_what_was_in_the_tables(client: Client, served: Plant) -> None:
    """A row withdrawn since is included; if a table was created after `as_of`, a warning says so."""
    labels = [{"asset": "c101", "event_timestamp": "2026-03-01T00:00:15Z"}]
    path = table_path(served, "compressor_vibration")
    DeltaTable(path).delete("asset = 'c101'")
    set_commit_times(path, {number: datetime(2026, 3, 1 + number, tzinfo=UTC) for number in range(3)})
    found = {}
    for as_of in ("2026-03-02T12:00:00Z", "2026-03-03T00:00:00Z", "2026-02-28T00:00:00Z"):
        answer = post(client, labels=labels, features=[RMS], as_of=as_of)
        rms = pl.read_parquet(io.BytesIO(answer.content))["compressor_vibration__de_h_rms_ac"].to_list()
        found[as_of] = (
            rms,
            [warning.split(";")[0] for warning in json.loads(answer.headers.get("penstock-warnings", "[]"))],
        )
    assert found == {
        "2026-03-02T12:00:00Z": ([1.0], []),
        "2026-03-03T00:00:00Z": ([None], []),
        "2026-02-28T00:00:00Z": ([None], ["compressor_vibration: the table's first version was committed after as_of"]),
    }


def test_every_wrong_label_is_reported(client: Client, served: Plant) -> None:
    """The problems are listed row by row, as the command lists them."""
    wrong = [{"asset": "c103", "event_timestamp": "2026-03-01T00:00:00"}, {"asset": "c101"}]
    answer = post(client, labels=wrong)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid"
    assert [(problem["file"], problem["place"]) for problem in answer.json()["error"]["problems"]] == [
        ("labels", "row 1"),
        ("labels", "row 1"),
        ("labels", "row 2"),
    ]
    assert "write 2026-03-01T00:00:00Z for UTC" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("request_body", "place"),
    [
        ({"labels": []}, "body.labels"),
        ({"labels": LABELS, "formt": "csv"}, "body.formt"),
        ({"labels": LABELS, "format": "xlsx"}, "body.format"),
        ({"labels": [{"asset": ["c101"]}]}, "body.labels.0.asset"),
    ],
)
def test_a_request_of_the_wrong_shape_says_where(client: Client, request_body: Any, place: str) -> None:
    """The place is the path to the value in the body."""
    answer = client.post("/v1/training-sets", json=request_body)
    assert answer.status_code == 422
    assert answer.json()["error"]["problems"][0]["place"].startswith(place)


def test_a_column_of_mixed_types_is_refused(client: Client) -> None:
    """Text and numbers in one column are not converted silently."""
    answer = post(client, labels=[{**LABELS[0], "x": 1}, {**LABELS[0], "x": "one"}])
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert "column x holds values of several kinds" in answer.json()["error"]["message"]


def test_whole_numbers_and_fractions_are_one_type(client: Client, served: Plant) -> None:
    """JSON writers leave out the fraction of a whole number."""
    answer = post(client, labels=[{**LABELS[0], "x": 1}, {**LABELS[0], "x": 1.5}], features=[RMS])
    assert pl.read_parquet(io.BytesIO(answer.content))["x"].to_list() == [1.0, 1.5]


def test_too_many_labels_are_sent_to_the_command(client: Client) -> None:
    """The error names the command to use, as making a large set would keep the caller waiting."""
    answer = post(client, labels=[LABELS[0]] * (MAX_LABELS + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert "run penstock training-set" in answer.json()["error"]["message"]


def test_unknown_features_are_not_found(client: Client, served: Plant) -> None:
    """The answer is 404 and suggests similar names."""
    answer = post(client, features=["compressor_vibration:de_h_rms"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert RMS in answer.json()["error"]["message"]


def test_features_never_computed_are_incomplete(client: Client, plant: Plant) -> None:
    """A feature that is registered but has no table yet: the error says to run `penstock compute`."""
    apply(plant)
    answer = post(client, features=[RMS])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "incomplete")
    assert "run penstock compute" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("column", "value"), [("work_order", 2**70), ("note", "\ud800")])
def test_a_value_no_table_can_hold_is_refused(client: Client, column: str, value: Any) -> None:
    """A number beyond 64 bits or half a surrogate pair is answered with 422 and its place, not with 500."""
    body = json.dumps({"labels": [{**LABELS[0], column: value}]})
    answer = client.post("/v1/training-sets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert column in answer.json()["error"]["message"]


def test_the_last_representable_instant_is_accepted(client: Client, served: Plant) -> None:
    """A label may have the last instant that a timestamp can hold."""
    label = {"asset": "c101", "event_timestamp": "9999-12-31T23:59:59.999999Z"}
    answer = client.post("/v1/training-sets", json={"labels": [label], "features": [RMS]})
    assert answer.status_code == 200
