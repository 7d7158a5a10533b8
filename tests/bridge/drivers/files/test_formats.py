"""Binary formats, written by the libraries that also read them: MATLAB, TDMS, Parquet."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from nptdms import ChannelObject, TdmsWriter
from scipy.io import savemat

from tests.bridge.drivers.files.exports import archive_of, batch_of, plant_of, plant_with, read_all

START = datetime(2026, 3, 1, 11, tzinfo=UTC)
WAVEFORM = "layout = 'waveform'\nstart = 2026-03-01T11:00:00Z\n"


def values_of(plant: Path) -> tuple[dict[str, list[float]], list[str]]:
    """The values of each tag, and what could not be read."""
    pages, failures = read_all(archive_of(plant))
    tags = batch_of(pages).group_by("tag", maintain_order=True).agg("value")
    return dict(tags.rows()), failures


PATHS = {
    "v": {"address": "v", "rate": 10},
    "column": {"address": "m[:,2]", "rate": 10},
    "row": {"address": "m(1,:)", "rate": 10},
    "real": {"address": "z.real", "rate": 10},
    "field": {"address": "run.gs", "rate": 10},
    "cell": {"address": "cells{2}.x", "rate": 10},
    "second": {"address": "many[2].x", "rate": 10},
}
HELD = {
    "v": [1.0, 2.0],
    "column": [12.0, 22.0, 32.0],
    "row": [11.0, 12.0],
    "real": [1.0, 3.0],
    "field": [5.0, 6.0],
    "cell": [7.0, 8.0],
    "second": [9.0, 10.0],
}


def old_matlab(path: Path) -> None:
    """A file of version 5, packed."""
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = np.array([0.0]), {"x": [7.0, 8.0]}
    many = np.zeros((1, 2), dtype=[("x", "O")])
    many[0, 0]["x"], many[0, 1]["x"] = np.array([0.0]), np.array([9.0, 10.0])
    matrix = [[11.0, 12.0], [21.0, 22.0], [31.0, 32.0]]
    content = {
        "v": [1.0, 2.0],
        "m": matrix,
        "z": [1 + 2j, 3 + 4j],
        "run": {"gs": [5.0, 6.0]},
        "cells": cells,
        "many": many,
    }
    savemat(path.with_suffix(""), content)
    with gzip.open(path, "wb") as file:
        file.write(path.with_suffix("").read_bytes())
    path.with_suffix("").unlink()


def new_matlab(path: Path) -> None:
    """A file of version 7.3, as MATLAB writes it: HDF5 behind a header, dimensions reversed, cells by reference."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["v"] = [[1.0], [2.0]]
        file["m"] = [[11.0, 21.0, 31.0], [12.0, 22.0, 32.0]]
        file["z"] = np.array([[(1, 2)], [(3, 4)]], dtype=[("real", "f8"), ("imag", "f8")])
        file["run/gs"] = [[5.0, 6.0]]
        file["#refs#/a"], file["#refs#/b/x"], file["#refs#/c"] = [0.0], [[7.0], [8.0]], [[9.0], [10.0]]
        referred = h5py.special_dtype(ref=h5py.Reference)
        file.create_dataset("cells", data=np.array([[file["#refs#/a"].ref], [file["#refs#/b"].ref]], dtype=referred))
        file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_dataset("many/x", data=np.array([[file["#refs#/a"].ref], [file["#refs#/c"].ref]], dtype=referred))
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_paths_lead_into_matlab_files_of_both_kinds(tmp_path: Path, version: str) -> None:
    """Variables, columns, rows, parts of complex numbers, fields, cells and structs of an array."""
    plant = plant_with(tmp_path, PATHS, WAVEFORM + "path = '*.mat*'\nformat = 'matlab'")
    if version == "5":
        old_matlab(tmp_path / "a.mat.gz")
    else:
        new_matlab(tmp_path / "a.mat")
    values, failures = values_of(plant)
    assert (values, failures) == (dict(sorted(HELD.items())), [])


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("m", "m is 3 x 2; an address must choose one column, such as m[:,1]"),
        ("m[:,3]", "m[:,3]: it is 3 x 2, so there is no such element"),
        ("z", "z holds complex numbers; choose a part, z.real or z.imag"),
        ("v.real", "v is no struct, so it has no field real"),
        ("run.x", "run has no field x; there are gs"),
        ("run", "run is a struct; choose a field, run.gs or the like"),
        ("cells{3}", "cells has 2 "),
        ("v{1}", "v is no cell array"),
        ("v!", "the address v! is no path: write vib, bearing.gs, run{2}.de or vib[:,1]"),
    ],
)
def test_what_a_path_does_not_lead_to_is_said(tmp_path: Path, version: str, address: str, message: str) -> None:
    """The message names what is there, or what to write."""
    plant = plant_with(tmp_path, {"t": {"address": address, "rate": 10}}, WAVEFORM + "path = 'a.*'\nformat = 'matlab'")
    if version == "5":
        old_matlab(tmp_path / "a.mat.gz")
    else:
        new_matlab(tmp_path / "a.mat")
    values, [failure] = values_of(plant)
    assert values == {}
    assert failure.split(": ", 1)[1].startswith(message) or failure.startswith("tags.csv row 2: no file has v!")


def test_tdms_says_start_and_rate(tmp_path: Path) -> None:
    """Channels by group and name; one that was sampled otherwise is named, and one that is nowhere with the nearest."""
    tags = {"de": {"address": "Vib/de", "rate": 1000}, "nde": {"address": "Vib/nde", "rate": 500}}
    plant = plant_with(
        tmp_path, {**tags, "x": {"address": "Vib/da", "rate": 1000}}, "path = '*.tdms'\nlayout = 'waveform'"
    )
    properties = {"wf_increment": 0.001, "wf_start_time": np.datetime64("2026-03-01T11:00:00")}
    with TdmsWriter(tmp_path / "a.tdms") as file:
        channels = [ChannelObject("Vib", name, np.array([1, -2, 3], np.int16), properties) for name in ("de", "nde")]
        file.write_segment(channels)

    pages, failures = read_all(archive_of(plant))

    batch = batch_of(pages)
    assert batch["value"].to_list() == [1.0, -2.0, 3.0]
    assert batch["timestamp"].to_list() == [START + n * timedelta(milliseconds=1) for n in range(3)]
    assert pages[0].rows.waveforms["encoding"].to_list() == ["int16"]
    assert failures == [
        "tags.csv row 4: no file has Vib/da, the address of x; the nearest are Vib/de, Vib/nde",
        "a.tdms: nde: the file states a sample rate of 1000 Hz, plant.toml 500 Hz; correct sample_rate, "
        "or the address if these are samples of another sensor",
    ]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_of_any_type_of_column_is_read(tmp_path: Path, unit: str) -> None:
    """Times of any unit, decimals, categories, booleans, small integers, fields of structs within structs."""
    addresses = ["decimal", "category", "flag", "small", "s.inner.x"]
    plant = plant_of(tmp_path, dict.fromkeys(addresses, 0), "path = 'a.parquet'\nlayout = 'wide'", kind="process")
    frame = pl.DataFrame(
        {
            "timestamp": pl.Series([START]).cast(pl.Datetime(unit, "UTC")),  # type: ignore[arg-type]  # parametrised
            "decimal": pl.Series([Decimal("1.25")], dtype=pl.Decimal(10, 2)),
            "category": pl.Series(["2.5"], dtype=pl.Categorical),
            "flag": [True],
            "small": pl.Series([-3], dtype=pl.Int8),
            "s": [{"inner": {"x": 4.5}}],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")

    values, failures = values_of(plant)

    assert failures == []
    assert values == {"category": [2.5], "decimal": [1.25], "flag": [1.0], "s.inner.x": [4.5], "small": [-3.0]}
