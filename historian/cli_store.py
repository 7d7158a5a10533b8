"""`penstock store …`: upkeep of the embedded store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from historian.console import JsonOption, PlantOption, answer
from historian.lake import LakeStore
from historian.open_store import lake_path
from historian.plant_load import load_plant
from historian.times import parse_duration

app = typer.Typer(no_args_is_help=True, help="Upkeep of the embedded store: compact and vacuum.")


@app.command()
def compact(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Merges the small files that live streaming leaves and drops superseded rows. Readers are not disturbed."""
    files = LakeStore(lake_path(load_plant(plant))).compact()
    answer(files, f"{files['files_before']} files became {files['files_after']}", as_json=as_json)


@app.command()
def vacuum(
    plant: PlantOption = Path("plant.toml"),
    *,
    keep: Annotated[str, typer.Option(help="Files needed by snapshots younger than this stay.")] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Deletes files that compaction has replaced. Reads and time travel older than --keep stop working."""
    try:
        span = parse_duration(keep)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--keep") from None
    files = LakeStore(lake_path(load_plant(plant))).vacuum(keep=span, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    answer({"files": files, "dry_run": dry_run}, "\n".join([f"{verb} {len(files)} files", *files]), as_json=as_json)
