"""`penstock import-tags` as a function: browse an archive, propose, and write the proposal next to the plant file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from bridge.drivers.catalogue import EVENTS, VARIABLES, completed
from bridge.drivers.discovery import BrowseLimits, BrowseReport, EventReport
from bridge.drivers.protocols import Driver
from bridge.run.discover import browse_source
from bridge.run.tag_import.documents import events_table, metadata, plant_tables, tag_list
from bridge.run.tag_import.naming import NamingRule
from bridge.run.tag_import.proposal import NotCarried, Proposal, proposal_of
from bridge.run.tag_import.visibility import Visibility, visibility_of
from historian.errors import InvalidInput
from historian.plant.connections import ConnectionConfig
from historian.plant.plant import Plant
from historian.stores.protocols import Reader

LIMITS = BrowseLimits(depth=64, variables=1_000_000)


@dataclass(frozen=True)
class Imported:
    """What an archive's catalogue and events become."""

    catalogue: pl.DataFrame
    """Columns of `VARIABLES`."""
    proposal: Proposal
    events: pl.DataFrame
    """As `events_table` returns them."""
    not_carried: tuple[NotCarried, ...]
    """What the proposal lacks, and why."""

    def files(self) -> dict[str, str]:
        """Return name -> contents of the files of the proposal."""
        lost = pl.DataFrame(self.not_carried, dict.fromkeys(NotCarried._fields, pl.String), orient="row")
        return {
            "tags.csv": tag_list(self.proposal).write_csv(),
            "plant-additions.toml": plant_tables(self.proposal),
            "metadata.csv": metadata(self.proposal, self.catalogue).write_csv(),
            "events.csv": self.events.write_csv(),
            "not-carried.csv": lost.write_csv(),
        }

    def write(self, directory: Path) -> None:
        """Write the files of the proposal. Raises `InvalidInput` if that is impossible, or one is there already."""
        files = self.files()
        there = [name for name in files if (directory / name).exists()]
        if there:
            raise InvalidInput(f"{directory} has {', '.join(there)} already; remove them, or give another directory")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (directory / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"the proposal cannot be written to {directory}: {error}") from None


async def import_catalogue(
    connection: ConnectionConfig, rule: NamingRule, *, catalogue: Path | None, start: datetime | None
) -> Imported:
    """Return what the catalogue and the events of an archive become.

    Args:
        connection: the archive; its tags are not needed.
        rule: says which asset and point a tag is.
        catalogue: a CSV file with columns of `VARIABLES` instead of what the archive's driver lists.
        start: events before it are left out; None for all.

    Raises:
        InvalidInput: the driver cannot list tags and no file was given, or the file cannot be read.
        NotConnected: the archive cannot be reached.
    """
    listed = await _listed(connection, catalogue)
    found = proposal_of(listed.variables, rule, listed.missing)
    reported = await _events(connection, start)
    events, lost = events_table(reported.events, found)
    lost += [NotCarried("", "events", each) for each in reported.missing]
    return Imported(completed(listed.variables, VARIABLES), found, events, (*found.not_carried, *lost))


async def _listed(connection: ConnectionConfig, catalogue: Path | None) -> BrowseReport:
    if catalogue:
        return BrowseReport(read_catalogue(catalogue))
    driver = connection.driver
    if not isinstance(driver, Driver) or driver.browse is None:
        raise InvalidInput(f"the driver of {connection.name} cannot list tags; give a list of them as --catalogue FILE")
    return await browse_source(connection, LIMITS)


async def _events(connection: ConnectionConfig, start: datetime | None) -> EventReport:
    driver = connection.driver
    if not isinstance(driver, Driver) or driver.events is None:
        return EventReport(EVENTS.to_frame(), ("the driver cannot read events, alarms and annotations",))
    connection.check_variables()
    return await driver.events(connection, start, None)


def read_catalogue(path: Path) -> pl.DataFrame:
    """Read a catalogue from a CSV file: columns of `VARIABLES`, as `penstock browse --csv` writes them.

    Raises:
        InvalidInput: it cannot be read, has no column `address`, or a cell is no number or time.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False)
        if "address" not in frame.columns:
            raise InvalidInput(f"the catalogue {path} has no column address; it has {', '.join(frame.columns)}")
        if "since" in frame.columns:
            frame = frame.with_columns(pl.col("since").str.to_datetime(time_unit="us", time_zone="UTC"))
        return completed(frame, VARIABLES)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(f"the catalogue {path} cannot be read: {error}") from None


def visible(imported: Imported, plant: Plant, archive: str, store: Reader) -> Mapping[str, Visibility]:
    """Return asset -> how many of its catalogued tags are mapped, and deliver.

    Args:
        imported: the catalogue.
        plant: the plant with its tag lists.
        archive: name of the archive.
        store: says which tags have samples.

    Raises:
        StoreError: the store cannot be read.
    """
    tags = {tag.address: tag for tag in plant.archives[archive].tags}
    delivering = set(store.latest([tag.name for tag in tags.values()])["tag"]) if tags else set[str]()
    return visibility_of(imported.proposal, list(imported.catalogue["address"]), tags, delivering)
