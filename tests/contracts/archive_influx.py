"""InfluxDB as the contract suite of archives fills it: as other programs would, with several fields a point."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import polars as pl
import pytest

from historian.plant.connections import ConnectionConfig
from historian.quality import BAD, BAD_NOT_CONNECTED, UNCERTAIN
from tests.contracts.archives import NUMBERS, TEXT, connection_of
from tests.contracts.stores import new_database
from tests.gate import gate_to

_DA: Final = {0: 192, UNCERTAIN: 64, BAD: 0, BAD_NOT_CONNECTED: 8}
"""StatusCode -> the quality of OPC DA that is written."""


class InfluxHarness:
    """A measurement of whole numbers, floats and texts, whose fields are tags' values."""

    resolution = timedelta(microseconds=1)
    qualities: Collection[int] = (UNCERTAIN,)
    has_texts, has_repeats = True, False

    def __init__(self, request: pytest.FixtureRequest, directory: Path, kind: str) -> None:
        self._directory = directory
        url, self._token = new_database(request, kind)
        server = request.getfixturevalue("influx2_server" if kind == "influx2" else "influx1_server")
        self._base, self._database = server.base, url.rpartition("/")[2].rpartition("=")[2]
        self._version = kind
        opened = gate_to(server.port)
        self._gate = opened.__enter__()
        request.addfinalizer(lambda: opened.__exit__(None, None, None))
        self._url = url.replace(f":{server.port}/", f":{self._gate.port}/")

    def fill(self, history: pl.DataFrame) -> None:
        """The tags with samples at the same times are fields of one point."""
        lines = [
            f"{self._key(tag)} {self._field(tag)}={self._value(value, text)},status={_DA[quality]}i {time}"
            for tag, time, value, text, quality in history.with_columns(pl.col("timestamp").dt.epoch("us")).iter_rows()
        ]
        two = self._version == "influx2"
        path = f"/api/v2/write?org=north&bucket={self._database}&precision=us"
        path = path if two else f"/write?db={self._database}&precision=u"
        headers = {"Authorization": f"Token {self._token}"} if two else {}
        httpx.post(self._base + path, content="\n".join(lines), headers=headers).raise_for_status()

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """Through the gate."""
        table = f'driver = "influxdb"\nurl = "{self._url}"\ntoken = "{self._token}"\npage_rows = {page_rows}\n'
        quality = 'quality = { column = "status", kind = "opc-da" }'
        cells = {tag: {"address": f"{self._key(tag)} {self._field(tag)}"} for tag in tags}
        return connection_of(self._directory, table + quality, cells)

    def most_rows(self, page_rows: int) -> int:
        """A point may have three fields."""
        return max(page_rows, 3)

    def stop(self) -> None:
        """Shut the gate."""
        self._gate.shut()

    def start(self) -> None:
        """Open the gate."""
        self._gate.open()

    def _key(self, tag: str) -> str:
        return "line\\ 1,of=abc" if tag in NUMBERS else f"line\\ 1,of={tag},site=north"

    def _field(self, tag: str) -> str:
        return tag if tag in NUMBERS else "word" if tag == TEXT else "value"

    def _value(self, value: float | None, text: str | None) -> str:
        if text is not None:
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return str(value)


class ExportHarness:
    """A file of annotated CSV in the form that Flux writes."""

    resolution = timedelta(microseconds=1)
    qualities: Collection[int] = ()
    has_texts, has_repeats = True, True

    def __init__(self, _: pytest.FixtureRequest, directory: Path) -> None:
        self._directory = directory

    def fill(self, history: pl.DataFrame) -> None:
        """Two tables, of numbers and of texts."""
        parts = []
        for kind, rows in (
            ("double", history.filter(pl.col("text").is_null())),
            ("string", history.drop_nulls("text")),
        ):
            cells = rows.select(
                pl.lit("").alias(""),
                pl.lit("").alias("result"),
                pl.lit(0).alias("table"),
                pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias("_time"),
                pl.coalesce("text", pl.col("value").cast(pl.String)).alias("_value"),
                pl.lit("value").alias("_field"),
                pl.lit("line 1").alias("_measurement"),
                pl.col("tag").alias("of"),
            )
            parts.append(
                f"#datatype,string,long,dateTime:RFC3339,{kind},string,string,string\n"
                "#group,false,false,false,false,true,true,true\n#default,_result,,,,,,\n"
                + cells.write_csv(line_terminator="\r\n")
            )
        (self._directory / "export.csv").write_text("\r\n".join(parts), newline="")

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """The path is that of all harnesses of files."""
        table = f'driver = "influxdb"\npath = "*.csv"\npage_rows = {page_rows}\npattern = "line\\\\ 1,of=c.{{1}} value"'
        return connection_of(self._directory, table, {tag: {"address": tag.removeprefix("c.")} for tag in tags})

    def most_rows(self, page_rows: int) -> int:
        """No more than requested."""
        return page_rows
