"""A training set as a directory that can be handed on, and made again.

    manifest.json                 all it depends on and what is in it
    report.html                   the same for people
    data/split=train/part-0.parquet   or .arrow, .arrows, .csv; with asset=c101/ between, if requested
    inputs/                       labels or rule and events, as they were

The same request gives the same bytes: rows keep the labels' order, the writer's settings are fixed, no clock is read.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from features.training.content_hash import digest
from features.training.formats import write
from features.training.manifest import FORMAT, Manifest, canonical, input_names
from features.training.report import report_html
from features.training.request import Request
from features.training.splits import SPLIT
from features.training.training_set import Made
from historian.errors import InvalidInput

MANIFEST: Final = "manifest.json"
INPUTS: Final = "inputs"
_REPORT: Final = "report.html"
_DATA: Final = "data"
_NEEDED: Final = {"request", "resolved", "tables", "columns", "software", "files", "content_hash"}
"""Parts of a manifest that are required to make a training set again."""
_ALWAYS: Final = {"request", "tables", "files", "content_hash"}
"""Parts that a manifest of any format has."""
_CONTENTS: Final = {MANIFEST, _REPORT, _DATA, INPUTS}


def write_artefact(made: Made, directory: Path) -> Manifest:
    """Write the directory, whole or not at all; one that holds a training set already is replaced.

    Args:
        made: The training set.
        directory: The artefact's; the directories above it are made as well.

    Returns:
        The manifest as it was written.

    Raises:
        InvalidInput: there is something else in the directory, it cannot be written to, or the format has no room for
            a label column.
    """
    if directory.exists() and not _is_ours(directory):
        raise InvalidInput(f"{directory} holds something other than a training set; name a new directory with --out")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as temporary:
            draft = Path(temporary) / "draft"
            manifest = write_contents(made, draft)
            (draft / _REPORT).write_text(report_html(manifest, made.prepared, made.audits), encoding="utf-8")
            _replace(directory, draft, older=Path(temporary) / "older")
    except OSError as error:
        raise InvalidInput(f"the training set cannot be written to {directory}: {error.strerror}") from None
    return manifest


def write_contents(made: Made, directory: Path) -> Manifest:
    """Write inputs, data and manifest, but not the report, into a new directory.

    Args:
        made: The training set.
        directory: Does not exist yet.

    Returns:
        The manifest as it was written.

    Raises:
        OSError: it cannot be written.
        InvalidInput: the format has no room for a label column.
    """
    for name, source in input_names(made.prepared).items():
        target = directory / INPUTS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    request = made.prepared.request
    for below, rows in _parts(made.table, request):
        part = directory / _DATA / below / f"part-0.{request.format}"
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            write(rows, sink, request.format)
    manifest = {**made.manifest, "files": data_digests(directory)}
    (directory / MANIFEST).write_text(canonical(manifest), encoding="utf-8")
    return manifest


def data_digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each data file of an artefact, by its path in the directory.

    Args:
        directory: The artefact's.
    """
    files = sorted(path for path in (directory / _DATA).rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): digest(path.read_bytes()) for path in files}


def read_manifest(path: Path) -> tuple[Manifest, Path]:
    """Return a manifest and the directory it is in.

    Args:
        path: The manifest, or the directory.

    Raises:
        InvalidInput: there is none, it cannot be read, or it is of another format.
    """
    file = path / MANIFEST if path.is_dir() else path
    manifest = _read(file)
    if not manifest.keys() >= _NEEDED or manifest.get("format") != FORMAT:
        raise InvalidInput(f"{file} is no manifest of format {FORMAT}; make the training set again from its inputs")
    return manifest, file.parent


def _read(file: Path) -> Manifest:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(
            f"there is no manifest {file}; penstock training-set writes one with --out DIRECTORY"
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} is no manifest: {error}") from None
    return manifest if isinstance(manifest, dict) else {}


def _is_ours(directory: Path) -> bool:
    """Return whether the directory is empty or holds a training set; other tools write a manifest.json too."""
    if directory.is_file():
        return False
    names = {path.name for path in directory.iterdir()}
    try:
        return not names or (names <= _CONTENTS and _read(directory / MANIFEST).keys() >= _ALWAYS)
    except InvalidInput:
        return False


def _replace(directory: Path, draft: Path, older: Path) -> None:
    """Put the draft where the directory is, or leave everything as it was."""
    if directory.exists():
        directory.rename(older)
    try:
        draft.rename(directory)
    except OSError:
        if older.exists():
            older.rename(directory)
        raise


def _parts(table: pa.Table, request: Request) -> Iterator[tuple[str, pa.Table]]:
    """Each part's directory, `split=train/asset=c101`, and its rows in order, without the columns the path states."""
    keys = [SPLIT] if SPLIT in table.column_names else []
    if request.partition_by:
        keys.append(request.partition_by)
    if not keys:
        yield "", table
        return
    rows = pl.DataFrame(table.select(keys)).with_row_index("row")
    parts = rows.group_by(keys, maintain_order=True).agg("row").sort(keys)
    for *values, places in zip(*parts, strict=True):
        # Splits and the plant's assets are words: nothing in them needs escaping in a path.
        path = "/".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        yield path, table.take(places.to_arrow()).drop_columns(keys)
