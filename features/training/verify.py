"""Make a training set again from its manifest, and compare everything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from feast import FeatureStore
from pydantic import ValidationError

from features.feast.offline.join_executor import LOCAL, JoinExecutor
from features.training.artefact import INPUTS, data_digests, read_manifest, write_contents
from features.training.label_source import read_source
from features.training.manifest import Manifest
from features.training.pinned import PinnedTable, TableVersion, newest_version
from features.training.prepare import prepare
from features.training.request import Request
from features.training.training_set import make
from features.training.verdicts import differences
from historian.errors import InvalidInput
from historian.plant.plant import Plant

_SURROUNDINGS: Final = ("software ", "plant files ", "plant facts ")
"""Parts of a manifest that may differ as long as the rows are the same."""


@dataclass(frozen=True)
class Verified:
    """The result of making a training set again."""

    rows: int
    leakage: Mapping[str, Any]
    """Result of the audit of the new rows, in the form of a manifest."""
    differences: tuple[str, ...]
    """Differences from the recorded training set; empty if it is the same."""
    moved_on: tuple[str, ...]
    """Changes since then that do not affect the result, such as tables that have grown."""


def verify(
    path: Path,
    store: FeatureStore,
    plant: Plant,
    plant_file: Path,
    executor: JoinExecutor = LOCAL,
    *,
    advance: Callable[[int], None],
) -> Verified:
    """Make a training set again from its own inputs and its tables' versions, and compare everything.

    Args:
        path: The manifest, or the artefact's directory.
        store: Feast over the plant's repository.
        plant: The plant.
        plant_file: The plant file.
        executor: Runs the lookup of features; has no effect on the result.
        advance: Called with 1 after each view.

    Raises:
        InvalidInput: there is no manifest, what it requests is impossible, or its inputs are gone.
    """
    manifest, directory = read_manifest(path)
    request, versions = _recorded(manifest, path)
    source = read_source(request, directory / INPUTS, plant)
    prepared = prepare(store, plant, request, source, versions, executor=executor)
    made = make(prepared, plant, plant_file, advance=advance)
    with tempfile.TemporaryDirectory() as temporary:
        again = write_contents(made, Path(temporary))
    changed = differences({"files on disk": manifest["files"]}, {"files on disk": data_digests(directory)})
    # The result of the request is compared; an older manifest does not name the options that have come since.
    found = differences({**manifest, "request": again["request"]}, again)
    # Another version of a library may write the same rows as other bytes; the content has a hash of its own.
    harmless = _SURROUNDINGS if manifest["software"] == again["software"] else (*_SURROUNDINGS, "files ")
    tables = prepared.plan.tables
    return Verified(
        rows=made.table.num_rows,
        leakage=again["leakage"],
        differences=(*_impossible(tables), *changed, *(text for text in found if not text.startswith(harmless))),
        moved_on=(*_moved_on(tables), *(text for text in found if text.startswith(harmless))),
    )


def _recorded(manifest: Manifest, path: Path) -> tuple[Request, dict[str, TableVersion]]:
    try:
        return Request.model_validate(manifest["request"]), _versions(manifest)
    except ValidationError as error:
        why = "; ".join(f"request {each['loc'][0]}: {each['msg']}" for each in error.errors())
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        why = f"tables: {error!r}"
    raise InvalidInput(f"{path} is not as it was written, and the training set cannot be made again from it: {why}")


def _versions(manifest: Mapping[str, Any]) -> dict[str, TableVersion]:
    return {
        view: TableVersion(_number(table["version"]), _instant(table["created_until"]), table.get("as_of"))
        for view, table in manifest["tables"].items()
    }


def _number(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"there is no version {number}")
    return number


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _impossible(tables: Mapping[str, PinnedTable]) -> Iterator[str]:
    """Yield tables whose recorded version is newer than their newest one, which never happens by itself."""
    for view, table in tables.items():
        recorded, newest = table.version.number, newest_version(table)
        if recorded > newest:
            yield (
                f"manifest names version {recorded} of {view}; the table is at {newest}: the manifest was changed, or "
                f"the table was replaced by a new one or restored from a backup"
            )


def _moved_on(tables: Mapping[str, PinnedTable]) -> Iterator[str]:
    for view, table in tables.items():
        recorded, newest = table.version.number, newest_version(table)
        if recorded > newest:  # a difference, which `_impossible` reports
            continue
        if table.stand_in:
            until = table.version.created_until
            yield f"{view}: version {recorded} is gone; of version {newest} the rows created until {until} were read"
        elif newest != recorded:
            yield f"{view}: the table is now at version {newest}; version {recorded} was read"
