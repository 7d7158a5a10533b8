"""`penstock verify` as a function: compare, read again what differs, compare that once more, and write the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from bridge.edge.database import Edge
from bridge.edge.spool import Spool
from bridge.run.verify.comparing import Comparing, Listeners
from bridge.run.verify.comparison import Key
from bridge.run.verify.manifest import Manifest, manifest_of
from bridge.run.verify.page import page_of
from bridge.run.verify.reject_file import NAME, RejectFile
from bridge.run.verify.repair import Policy, Reread, contradictions, read_again, rereads
from bridge.run.verify.signals import slack_us
from historian.errors import InvalidInput, SourceError
from historian.plant.connections import ConnectionConfig
from historian.stores.protocols import Store

CHECKER: Final = "verify_manifest.py"
"""The program for auditors, which every report contains."""


@dataclass(frozen=True)
class Order:
    """What is to be verified, and what becomes of what differs."""

    start: datetime | None = None
    """The first instant; that of the archive, or of what was written from it, if None."""
    end: datetime | None = None
    """The first instant after the range; likewise."""
    policy: Policy | None = None
    """What becomes of samples that contradict the store; nothing is read again if None."""
    dry_run: bool = False
    """Whether only to say what would be read again."""


@dataclass(frozen=True)
class Verification:
    """The result for one archive."""

    manifest: Manifest
    rereads: tuple[Reread, ...]
    """What was read again, or would be."""
    failures: tuple[str, ...]
    """What could not be read again."""
    waiting: int
    """Number of samples of the archive that wait in the spool for the store; they count as missing."""
    report: Path
    """Directory of the report."""


async def verify_archives(
    connections: Iterable[ConnectionConfig],
    edge: Edge,
    store: Store,
    *,
    order: Order,
    reports: Path,
    clock: Callable[[], datetime],
    progress: Callable[[str], AbstractContextManager[Callable[[int], None]]],
) -> tuple[dict[str, Verification], list[str]]:
    """Verify archives one after the other; one that cannot be read does not stop the others.

    Args:
        connections: the archives.
        edge: the edge database.
        store: the store.
        order: what to do.
        reports: directory of the reports, one an archive.
        clock: returns the current time.
        progress: called with an archive's name; its context is a function to call with numbers of samples.

    Returns:
        The results by name, and why other archives could not be read.

    Raises:
        StoreUnavailable: the store cannot be read.
        AccessDenied: the store does not let us write.
        InvalidInput: a report cannot be written.
    """
    found, unread = dict[str, Verification](), list[str]()
    for each in connections:
        with progress(each.name) as advance:
            try:
                found[each.name] = await verify_archive(
                    each, edge, store, order=order, report=reports / each.name, clock=clock, advance=advance
                )
            except SourceError as error:
                unread.append(str(error))
    return found, unread


async def verify_archive(
    connection: ConnectionConfig,
    edge: Edge,
    store: Store,
    *,
    order: Order,
    report: Path,
    clock: Callable[[], datetime],
    advance: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Compare an archive with the store by tag and day, and write the report.

    Args:
        connection: the archive.
        edge: the edge database.
        store: the store.
        order: what to do.
        report: directory of the report, which is created; an older report in it is replaced.
        clock: returns the current time.
        advance: called with the number of samples compared since the last call.

    Raises:
        SourceError: the archive cannot be read at all.
        StoreUnavailable: the store cannot be read.
        AccessDenied: the store does not let us write.
        InvalidInput: the report cannot be written.
    """
    failures: list[str] = []
    with RejectFile(report) as rejects:
        comparing = Comparing(connection, edge, store, clock, Listeners(advance, rejects.add))
        await comparing.whole(order.start, order.end)
        slacks = {tag.name: slack_us(tag) for tag in connection.tags}
        ranges = rereads(comparing.results.days, slacks, order.policy) if order.policy else []
        if order.policy and ranges and not order.dry_run:
            contrary = contradictions(comparing.results.days, slacks)
            failures = await read_again(connection, edge, store, ranges, policy=order.policy, contrary=contrary)
            days = [Key(tag, each.day) for each in ranges for tag in each.tags]
            rejects.forget(days)
            await comparing.again(days)
        listed = {"file": NAME, "samples": rejects.rows, "sha256": rejects.finish()}
    made = manifest_of(comparing, store, quarantined=listed, policy=order.policy, now=clock())
    _write(report, made)
    waiting = Spool(edge).waiting().get(connection.name, 0)
    return Verification(made, tuple(ranges), tuple(failures), waiting, report)


def _write(report: Path, manifest: Manifest) -> None:
    try:
        (report / "manifest.json").write_text(manifest.as_json(), encoding="utf-8")
        (report / "report.html").write_text(page_of(manifest), encoding="utf-8")
        (report / CHECKER).write_bytes(Path(__file__).with_name(CHECKER).read_bytes())
    except OSError as error:
        raise InvalidInput(f"the report cannot be written to {report}: {error}") from None
