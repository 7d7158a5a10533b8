"""`penstock features`: which features there are, and what each one means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from features.define.reasons import REASONS
from features.define.reference import Entry, entries, explained
from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.plant.plant import Plant

app = typer.Typer(no_args_is_help=True, help="The catalogue of features: list, explain.")


@app.command("list")
def list_features(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """List every feature by group, including those of other packages and of the plant's own bands and states."""
    found = entries(_plant(plant))
    if as_json:
        answer({"features": [entry.record for entry in found]}, "", as_json=True)
        return
    console = Console()
    for group, each in groupby(found, key=lambda entry: entry.group):
        console.print(_table(group, each))


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="The name of a feature, or of a column of one of the plant's views.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Explain a feature: formula, unit, source, when it is missing, and which views of the plant have it."""
    found = explained(name, _plant(plant))
    record = {"features": [entry.record for entry in found]}
    answer(record, "\n\n".join("\n".join(_lines(entry)) for entry in found), as_json=as_json)


def _plant(path: Path) -> Plant | None:
    """Return the plant if there is a plant file; features can be looked up without one."""
    file = path / "plant.toml" if path.is_dir() else path
    return load_plant(file) if file.exists() else None


def _table(title: str, rows: Iterable[Entry]) -> Table:
    table = Table("feature", "unit", "what it shows", title=title, title_justify="left", box=None)
    for entry in rows:
        table.add_row(entry.spec.name, entry.unit, entry.spec.what or entry.spec.formula)
    return table


def _lines(entry: Entry) -> Iterator[str]:
    spec = entry.spec
    yield f"{spec.name} ({entry.group}){f': {spec.what}' if spec.what else ''}"
    yield f"  definition  {spec.formula}"
    yield f"  unit        {entry.unit or 'none: a pure number'}"
    yield f"  source      {spec.source}"
    yield f"  version     {spec.version}"
    yield f"  missing     {'; '.join(['in a window that is not valid', *filter(None, [spec.undefined])])}"
    yield from (f"              {code}: {REASONS[code]}" for code in spec.reasons)
    yield from (f"  in {view}: {', '.join(columns)}" for view, columns in entry.columns.items())
