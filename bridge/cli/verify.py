"""`penstock verify`: whether the store has what an archive has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.options import chosen
from bridge.edge.database import open_edge
from bridge.run.verify.repair import Policy
from bridge.run.verify.verification import Order, Verification, verify_archives
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import SourceError
from historian.logs import configure_logging
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import format_instant, parse_instant, utc_now


def verify(
    archive: Annotated[str | None, typer.Argument(help="The archive; all archives if absent.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    start: Annotated[
        str | None, typer.Option(help="Start of the range, such as 2026-03-01T00:00:00Z or now-7d.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="End of the range, excluded.")] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="Read again what differs. Where both have different values: source-wins replaces that of the store, "
            "keep-first keeps it, quarantine keeps it and puts that of the source into quarantine."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be read again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare archives with the store by tag and day, and write a report that others can check without Penstock.

    The exit code is 1 if a side has what the other lacks, or if something could not be read.
    """
    configure_logging()
    loaded, now = load_plant(plant), utc_now()
    first, last = (parse_instant(text, now=now) if text else None for text in (start, end))
    connections = chosen(loaded.archives, [archive] if archive else None, "archives")
    with open_edge(loaded) as edge:
        work = verify_archives(
            connections,
            edge,
            open_store(loaded),
            order=Order(first, last, policy, dry_run),
            reports=loaded.state / "verify",
            clock=utc_now,
            progress=lambda name: progress(f"verifying {name}", unit="samples", quiet=as_json),
        )
        found, unread = asyncio.run(work)
    archives = {name: _record(each) for name, each in found.items()}
    record = {"dry_run": dry_run, "archives": archives, "failures": unread}
    lines = [line for each in found.items() for line in _lines(*each, dry_run=dry_run)]
    answer(record, "\n".join(lines), as_json=as_json)
    if unread:
        raise SourceError("\n".join(unread))
    if not all(each.manifest.equal for each in found.values()):
        raise typer.Exit(1)


def _record(found: Verification) -> Mapping[str, Any]:
    made = found.manifest
    differing = [day for day in made.days if day.differs_from]
    return {
        "equal": made.equal,
        "samples": made.samples,
        "tag_days": len(made.days),
        "tag_days_that_differ": len(differing),
        **{name: sum(getattr(day, name) for day in differing) for name in ("missing", "changed", "extra")},
        "quarantined": made.quarantined["samples"],
        "waiting": found.waiting,
        "read_again": [asdict(each) for each in found.rereads],
        "failures": [*found.failures, *made.problems, *(each.reason for each in made.unread)],
        "sha256": made.sha256,
        "report": found.report,
    }


def _lines(name: str, found: Verification, *, dry_run: bool) -> Sequence[str]:
    record = _record(found)
    made = found.manifest
    verdict = "equal" if made.equal else "NOT equal"
    counts = "{missing:,} missing, {changed:,} changed, {extra:,} only in the store, {quarantined:,} in quarantine"
    lines = [
        f"{name}: {verdict}: {made.samples:,} samples on {len(made.days):,} days of tags, of which "
        f"{record['tag_days_that_differ']:,} differ: {counts.format_map(record)}"
    ]
    for each in found.rereads:
        did = "would read again" if dry_run else "read again"
        span = f"{format_instant(each.start)} to {format_instant(each.end)}"
        lines.append(f"  {did}: {span}, {', '.join(each.tags)}")
    if found.waiting:
        lines.append(f"  {found.waiting:,} samples wait in the spool for the store; run `penstock backfill {name}`")
    lines += [f"  not read: {failure}" for failure in record["failures"]]
    return [*lines, f"  report: {found.report / 'report.html'}"]
