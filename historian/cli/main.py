"""The root command. It composes the commands that the packages register under `penstock.commands`, and no more."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points, version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from historian.errors import HistorianError

_GROUP = "penstock.commands"


class _Commands(TyperGroup):
    """Finds a command by its entry point, so that a command's package is imported only when it is called for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(entry_points(group=_GROUP).names)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = entry_points(group=_GROUP)
        if cmd_name not in found.names:
            return None
        target = found[cmd_name].load()
        if not isinstance(target, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(cmd_name)(target)
            target = app
        command = typer.main.get_command(target)
        command.name = cmd_name
        return command


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(*, wanted: bool) -> None:
    if wanted:
        print(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def penstock(
    *,
    _shown: Annotated[
        bool,
        typer.Option("--version", callback=lambda value: _version(wanted=value), is_eager=True, help="The version."),
    ] = False,
) -> None:
    """Plant data from PLCs and historians to training sets and online features."""


def main() -> None:
    """The console script: a user's mistake ends with a message and exit code 2, never with a stack trace."""
    try:
        app()
    except HistorianError as error:
        _end_with([error])
    except ExceptionGroup as group:  # of tasks side by side
        if group.split(HistorianError)[1] is not None:
            raise
        _end_with(_leaves(group))


def _end_with(errors: Iterable[Exception]) -> NoReturn:
    print("penstock: " + "\n".join(dict.fromkeys(map(str, errors))), file=sys.stderr)
    sys.exit(2)


def _leaves(group: ExceptionGroup) -> Iterator[Exception]:
    for error in group.exceptions:
        yield from _leaves(error) if isinstance(error, ExceptionGroup) else [error]
