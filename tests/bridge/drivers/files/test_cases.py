"""Exports as they are: each folder of tests/cases/files holds files, how to read them, and what must come of it."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from historian.errors import ConfigError
from historian.quality import NAMES
from historian.samples import SCHEMA
from tests.bridge.drivers.files.exports import CASES, archive_of, batch_of, plant_with, read_all, rejected_of

CODES: Final = {name: code for code, name in NAMES.items()}


def reads() -> list[Any]:
    """Every way in which the files of a case are read."""
    found = []
    for path in sorted(CASES.glob("*/case.toml")):
        case = tomllib.loads(path.read_text(encoding="utf-8"))
        for number, read in enumerate(case["reads"]):
            name = path.parent.name + (f"-{number + 1}" if number else "")
            found.append(pytest.param(path.parent / "data", case["tags"], read, id=name))
    return found


@pytest.mark.parametrize(("data", "tags", "read"), reads())
def test_an_export_is_read_as_it_is_meant_or_refused_in_words(
    tmp_path: Path, data: Path, tags: dict[str, Any], read: dict[str, Any]
) -> None:
    """Samples, rows in quarantine and messages are those of the case, read in one request or in two."""
    (tmp_path / "data").symlink_to(data)
    plant = plant_with(tmp_path, tags, read["archive"])
    if "refused" in read:
        with pytest.raises(ConfigError, match=r"plant\.toml line") as caught:
            archive_of(plant)
        assert read["refused"] in str(caught.value)
        return

    archive = archive_of(plant)

    pages, failures = read_all(archive)

    expected = samples(read.get("samples", ""))
    assert_frame_equal(batch_of(pages), expected)
    rejected = rejected_of(pages)
    found = [f"{detail}: {reason}" for detail, reason in rejected.select("detail", "reason").rows()]
    assert sorted(found) == sorted(read.get("rejected", []))
    messages = read.get("errors", [])
    assert [line[: len(message)] for line, message in zip(failures, messages, strict=True)] == messages
    if expected.height > 3:  # smaller ones have nothing more to show in two parts
        middle = expected["timestamp"].sort()[expected.height // 2]
        halves = read_all(archive, end=middle)[0] + read_all(archive, start=middle)[0]
        assert_frame_equal(batch_of(halves), expected)


def samples(lines: str) -> pl.DataFrame:
    """The samples of lines such as `t 2023-07-01T10:00:00Z 1.5 Good`: tag, time, value or -, quality, text."""
    rows = []
    for line in filter(None, lines.splitlines()):
        tag, time, value, quality, *text = line.split(" ", 4)
        number = None if value == "-" else float(value)
        rows.append((tag, datetime.fromisoformat(time), number, text[0] if text else None, CODES[quality]))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("tag", "timestamp")
