"""A training set as a directory that can be handed on, and made again.

    manifest.json                 all it depends on and what is in it
    report.html                   the same for people
    data/split=train/part-0.parquet   or .arrow, .arrows, .csv; with asset=c101/ between, if asked for
    inputs/                       labels or rule and events, as they were

The same request gives the same bytes: rows keep the labels' order, the writer's settings are fixed, no clock is asked.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
from feast import FeatureStore
from pydantic import ValidationError

from features.feast.offline.workers import HERE, Workers
from features.training.audit import ViewAudit
from features.training.content_hash import digest
from features.training.export import Prepared, Request, as_table, make, prepare
from features.training.formats import write
from features.training.manifest import FORMAT, Manifest, audits_of, canonical, input_names, manifest_of
from features.training.pinned import Moment, newest_version
from features.training.report import report_html
from features.training.splits import NAMES, SPLIT
from features.training.verdicts import differences
from historian.errors import InvalidInput
from historian.plant.plant import Plant

MANIFEST: Final = "manifest.json"
_INPUTS: Final = "inputs"
_REPORT: Final = "report.html"
_DATA: Final = "data"
_NEEDED: Final = {"request", "tables", "software", "files", "content_hash"}
"""Of the manifest, to make the training set again."""
_CONTENTS: Final = {MANIFEST, _REPORT, _DATA, _INPUTS}
_SURROUNDINGS: Final = ("software ", "plant files ")
"""What may have changed as long as the rows come out the same."""


@dataclass(frozen=True)
class Made:
    """A training set in memory, with all that is told of it."""

    prepared: Prepared
    table: pa.Table
    manifest: Manifest
    """But for `files`."""
    audits: Mapping[str, ViewAudit]
    """By view."""


@dataclass(frozen=True)
class Verified:
    """What making a training set again has shown."""

    rows: int
    leakage: Mapping[str, Any]
    """What the audit has found in the rows made again, as a manifest has it."""
    differences: tuple[str, ...]
    """Where it came out otherwise; empty if it is the same."""
    moved_on: tuple[str, ...]
    """What has changed since without changing the result, as tables that have grown."""


def make_all(prepared: Prepared, plant: Plant, plant_file: Path, *, advance: Callable[[int], None]) -> Made:
    """The training set, its audit and its manifest. Calls `advance(1)` for each view.

    Raises:
        InvalidInput: the labels bring a column `split` that says something else than which split a row is in.
    """
    _check_split(prepared)
    values = make(prepared, advance=advance)
    audits = audits_of(prepared, values)
    manifest = manifest_of(prepared, values, audits, plant, plant_file)
    return Made(prepared, as_table(prepared, values), manifest, audits)


def _check_split(prepared: Prepared) -> None:
    if SPLIT in prepared.labels.columns:
        told = set(prepared.labels[SPLIT].cast(pl.String).unique())
        if wrong := sorted(str(name) for name in told - set(NAMES)):
            raise InvalidInput(
                f"the labels' column {SPLIT!r} holds {', '.join(wrong[:3])}, not just {', '.join(NAMES)}; rename it"
            )


def write_artefact(made: Made, directory: Path) -> Manifest:
    """Writes the directory, whole or not at all; one that holds a training set already is replaced.

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
            manifest = _fill(made, draft)
            (draft / _REPORT).write_text(report_html(manifest, made.prepared, made.audits), encoding="utf-8")
            older = Path(temporary) / "older"
            if directory.exists():
                directory.rename(older)
            try:
                draft.rename(directory)
            except OSError:
                if older.exists():
                    older.rename(directory)
                raise
    except OSError as error:
        raise InvalidInput(f"the training set cannot be written to {directory}: {error.strerror}") from None
    return manifest


def _is_ours(directory: Path) -> bool:
    """Whether nothing is lost that a training set does not hold: others call a file manifest.json too."""
    if directory.is_file():
        return False
    names = {path.name for path in directory.iterdir()}
    try:
        return not names or (names <= _CONTENTS and bool(read_manifest(directory)))
    except InvalidInput:
        return False


def _fill(made: Made, draft: Path) -> Manifest:
    for name, source in input_names(made.prepared).items():
        target = draft / _INPUTS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    request = made.prepared.request
    for directory, rows in _parts(made.table, request):
        part = draft / _DATA / directory / f"part-0.{request.format}"
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            write(rows, sink, request.format)
    manifest = {**made.manifest, "files": _digests(draft / _DATA, draft)}
    (draft / MANIFEST).write_text(canonical(manifest), encoding="utf-8")
    return manifest


def _parts(table: pa.Table, request: Request) -> Iterator[tuple[str, pa.Table]]:
    """Each part's directory, `split=train/asset=c101`, and its rows in order, without the columns that this tells."""
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


def _digests(directory: Path, root: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): digest(path.read_bytes()) for path in files}


def read_manifest(path: Path) -> tuple[Manifest, Path]:
    """A manifest and the directory it is in; `path` may be either.

    Raises:
        InvalidInput: there is none, it cannot be read, or it is of another format.
    """
    file = path / MANIFEST if path.is_dir() else path
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(
            f"there is no manifest {file}; penstock training-set writes one with --out DIRECTORY"
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} is no manifest: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or not manifest.keys() >= _NEEDED:
        raise InvalidInput(f"{file} is no manifest of format {FORMAT}; make the training set anew")
    return manifest, file.parent


def verify(
    path: Path,
    store: FeatureStore,
    plant: Plant,
    plant_file: Path,
    workers: Workers = HERE,
    *,
    advance: Callable[[int], None],
) -> Verified:
    """Makes a training set again from its own inputs and its tables' versions, and compares everything.

    Raises:
        InvalidInput: there is no manifest, what it asks for cannot be, or its inputs are gone.
    """
    manifest, directory = read_manifest(path)
    request, moments = _asked(manifest, path)
    prepared = prepare(store, plant, request, directory / _INPUTS, moments, workers=workers)
    made = make_all(prepared, plant, plant_file, advance=advance)
    with tempfile.TemporaryDirectory() as temporary:
        again = _fill(made, Path(temporary))
    on_disk = _digests(directory / _DATA, directory)
    changed = differences({"files on disk": manifest["files"]}, {"files on disk": on_disk})
    # What came of the request is compared; an older manifest does not name the options that have come since.
    found = differences({**manifest, "request": again["request"]}, again)
    # Another version of a library may lay the same rows out in other bytes; the content has a hash of its own.
    harmless = _SURROUNDINGS if manifest["software"] == again["software"] else (*_SURROUNDINGS, "files ")
    return Verified(
        rows=made.table.num_rows,
        leakage=again["leakage"],
        differences=(*_ahead(prepared), *changed, *(text for text in found if not text.startswith(harmless))),
        moved_on=(*_moved_on(prepared), *(text for text in found if text.startswith(harmless))),
    )


def _asked(manifest: Manifest, path: Path) -> tuple[Request, dict[str, Moment]]:
    try:
        return Request.model_validate(manifest["request"]), _moments(manifest)
    except ValidationError as error:
        why = "; ".join(f"request {each['loc'][0]}: {each['msg']}" for each in error.errors())
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        why = f"tables: {error!r}"
    raise InvalidInput(f"{path} is not as it was written, and the training set cannot be made again from it: {why}")


def _moments(manifest: Mapping[str, Any]) -> dict[str, Moment]:
    return {
        name: Moment(_version(table["version"]), _instant(table["created_until"]), table.get("as_of"))
        for name, table in manifest["tables"].items()
    }


def _version(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"there is no version {number}")
    return number


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _ahead(prepared: Prepared) -> Iterator[str]:
    """Tables whose version of the manifest is newer than their newest: no table ever goes back by itself."""
    for name, table in prepared.tables.items():
        meant, newest = table.moment.version, newest_version(table.view)
        if meant > newest:
            yield (
                f"manifest names version {meant} of {name}; the table is at {newest}: the manifest was changed, or the "
                f"table was made anew or put back from a backup"
            )


def _moved_on(prepared: Prepared) -> Iterator[str]:
    for name, table in prepared.tables.items():
        meant, newest = table.moment.version, newest_version(table.view)
        if meant > newest:  # a difference, which `_ahead` tells
            continue
        if table.stand_in:
            until = table.moment.created_until
            yield f"{name}: version {meant} is gone; of version {newest} the rows created until {until} were read"
        elif newest != meant:
            yield f"{name}: the table has come to version {newest}; version {meant} was read"
