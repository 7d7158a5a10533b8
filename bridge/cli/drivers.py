"""`penstock drivers`: which drivers there are, and how each is configured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.drivers.manuals import Manual, manual_of
from historian.cli.console import JsonOption, answer
from historian.errors import InvalidInput
from historian.plant.described import Key
from historian.plant.drivers import driver_names

app = typer.Typer(no_args_is_help=True, help="Drivers for the plant's systems: list them, show how to configure one.")


@app.command("list")
def list_drivers(*, as_json: JsonOption = False) -> None:
    """List the drivers that are installed, and whether each streams live data or reads an archive."""
    manuals = [manual_of(name) for name in driver_names()]
    width = max(len(each.name) for each in manuals)
    lines = [f"{each.name:{width}}  {' and '.join(each.sections):20}  {each.summary}" for each in manuals]
    found = [{"name": each.name, "sections": each.sections, "summary": each.summary} for each in manuals]
    answer({"drivers": found}, "\n".join(lines), as_json=as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the driver, as penstock drivers list shows it.")],
    *,
    write: Annotated[
        Path | None, typer.Option(help="Write the sample plant.toml and its tag list into this new directory.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a driver's manual, its keys in plant.toml, its columns in the tag list, and a sample of both."""
    try:
        manual = manual_of(name)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    if write is not None:
        _write(manual, write)
    record = {**asdict(manual), "options": _rows(manual.options), "columns": _rows(manual.columns)}
    answer(record, "\n".join(_lines(manual)), as_json=as_json)


def _write(manual: Manual, directory: Path) -> None:
    tags = directory / manual.tags_path
    if not manual.plant or directory.exists():
        why = "there is such a file or directory" if manual.plant else f"the driver {manual.name} has no sample"
        raise InvalidInput(f"the sample cannot be written to {directory}: {why}")
    tags.parent.mkdir(parents=True)
    (directory / "plant.toml").write_text(manual.plant, encoding="utf-8")
    tags.write_text(manual.tags, encoding="utf-8")


def _rows(keys: Sequence[Key]) -> list[dict[str, str]]:
    return [key._asdict() for key in keys]


def _lines(manual: Manual) -> Iterator[str]:
    yield from (manual.text, "", f"Keys of its table in plant.toml, apart from driver and tags ({manual.name}):", "")
    yield from _table(manual.options)
    if manual.columns:
        yield from ("", "Columns that it adds to the tag list:", "")
        yield from _table(manual.columns)
    if manual.plant:
        yield from ("", "A sample of plant.toml:", "", manual.plant.rstrip(), "")
        yield from (f"and of {manual.tags_path}:", "", manual.tags.rstrip())


def _table(keys: Sequence[Key]) -> Iterator[str]:
    width = max(len(key.name) for key in keys)
    for key in keys:
        default = f" (default {key.default})" if key.default else ""
        kind = key.type.replace("`", "")
        yield f"  {key.name:{width}}  {key.meaning or kind}{default}"
