"""`penstock apply` and `materialize`: the plant's features in Feast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from features.feast.online import lookup as online_store
from features.feast.registry import feast_repo
from features.feast.registry.feast_plan import Change
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.plant.load import load_plant
from historian.times import parse_instant, utc_now


def apply(
    plant: PlantOption = Path("plant.toml"),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the plant's features change in Feast, register views and services, and remove old ones."""
    checked = load_plant(plant)
    repo = feast_repo.repo_path(checked)
    if dry_run:
        planned = feast_repo.plan(checked)
        answer({"repo": repo, "changes": [*map(asdict, planned)]}, _change_lines(planned), as_json=as_json)
        return
    # People see what is meant to change even if it fails then; a machine gets one answer.
    applied = feast_repo.apply(checked, lambda planned: None if as_json else print(_change_lines(planned), flush=True))
    record = {
        "project": applied.project,
        "repo": repo,
        "views": applied.views,
        "services": applied.services,
        "removed": applied.removed,
        "changes": [*map(asdict, applied.changes)],
    }
    registered = f"{applied.project}: registered {', '.join((*applied.views, *applied.services)) or 'nothing'}"
    answer(record, registered, as_json=as_json)


def _change_lines(changes: Sequence[Change]) -> str:
    return "\n".join(map(str, changes)) or "nothing changes"


def materialize(
    plant: PlantOption = Path("plant.toml"),
    *,
    end: Annotated[str, typer.Option(help="Rows after this are left out: 2026-03-01T00:00:00Z, now, now-2h.")] = "now",
    full: Annotated[
        bool, typer.Option("--full", help="Look at all rows, not at what is new only: after Redis has lost some.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the newest features of every asset to the online store, from rows that are new since the last run."""
    until = parse_instant(end, now=utc_now())
    store = feast_repo.open_feature_store(load_plant(plant))
    views = [view.name for view in store.list_feature_views()]
    with progress("materialize", unit="views", total=len(views), quiet=as_json) as advance:
        written = online_store.materialize(store, end=until, advance=advance, full=full)
    record, text = _materialized(written, until)
    answer(record, text, as_json=as_json)


def _materialized(written: Mapping[str, int | None], until: datetime) -> tuple[dict[str, object], str]:
    """Return the answer for the number of rows written of each view; None for a view without rows."""
    done = {view: rows for view, rows in written.items() if rows is not None}
    absent = [view for view in written if view not in done]
    missing = f"; no rows yet for {', '.join(absent)}: run penstock compute" if absent else ""
    counts = ", ".join(f"{view} ({rows} new)" for view, rows in done.items())
    text = f"online up to {until:%Y-%m-%d %H:%M:%S}Z: {counts or 'nothing'}{missing}"
    return {"views": [*done], "rows": sum(done.values()), "without_rows": absent, "end": until}, text
