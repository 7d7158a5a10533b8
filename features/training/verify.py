"""Make a training set again from its manifest, and compare everything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from features.feast.offline.join_executor import LOCAL, JoinExecutor
from features.training.artefact import INPUTS, data_digests, read_manifest, write_contents
from features.training.label_source import read_source
from features.training.manifest import Manifest
from features.training.pinned import PinnedTable, newest_version
from features.training.prepare import Prepared, prepare
from features.training.recorded import Recorded, gone, recorded
from features.training.training_set import make
from features.training.verdicts import differences
from historian.plant.plant import Plant

_SURROUNDINGS: Final = ("software ", "plant files ", "plant facts ")
"""Parts of a manifest that may differ as long as the rows are the same."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""Stands for the current time where no rule is checked against it."""


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
    path: Path, plant: Plant, plant_file: Path, executor: JoinExecutor = LOCAL, *, advance: Callable[[int], None]
) -> Verified:
    """Make a training set again from its manifest, its inputs and its tables' versions, and compare everything.

    What the plant file or Feast's registry has become since does not matter.

    Args:
        path: The manifest, or the artefact's directory.
        plant: The plant, for its feature tables.
        plant_file: The plant file.
        executor: Runs the lookup of features; has no effect on the result.
        advance: Called with 1 after each view.

    Raises:
        InvalidInput: there is no manifest, what it requests is impossible, or its inputs are gone.
        NotEnoughData: a feature table is gone.
    """
    manifest, directory = read_manifest(path)
    found = recorded(manifest, path, plant)
    made = make(_prepared(found, directory, executor), plant, plant_file, advance=advance)
    with tempfile.TemporaryDirectory() as temporary:
        again = write_contents(made, Path(temporary))
    return _compared(manifest, again, directory, made.prepared, [*gone(found, plant)])


def _prepared(found: Recorded, directory: Path, executor: JoinExecutor) -> Prepared:
    until = found.resolved.observed_until
    source = read_source(found.request, directory / INPUTS, found.names(), now=_NEVER, until=until)
    return prepare(found.request, source, found.plan(executor))


def _compared(
    manifest: Manifest, again: Manifest, directory: Path, prepared: Prepared, gone_since: Sequence[str]
) -> Verified:
    changed = differences({"files on disk": manifest["files"]}, {"files on disk": data_digests(directory)})
    # The result of the request is compared; an older manifest lacks the options and the sections that have come since.
    comparable = {section: again[section] for section in again if section in manifest}
    found = differences({**manifest, "request": again["request"]}, comparable)
    # Another version of a library may write the same rows as other bytes; the content has a hash of its own.
    harmless = _SURROUNDINGS if manifest["software"] == again["software"] else (*_SURROUNDINGS, "files ")
    tables = prepared.plan.tables
    return Verified(
        rows=prepared.labels.height,
        leakage=again["leakage"],
        differences=(*_impossible(tables), *changed, *(text for text in found if not text.startswith(harmless))),
        moved_on=(*gone_since, *_moved_on(tables), *(text for text in found if text.startswith(harmless))),
    )


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
