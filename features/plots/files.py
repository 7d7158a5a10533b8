"""A figure as a file: PNG, SVG, or an HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from historian.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figure(figure: Figure, out: Path) -> None:
    """Write a figure in the format that the file's name says.

    Raises:
        InvalidInput: the name ends in none of .png, .svg and .html, or the file cannot be written.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".svg", ".html"):
        raise InvalidInput(f"{out} is neither .png, .svg nor .html")
    try:
        if suffix == ".html":
            out.write_text(_page(figure, out.stem), encoding="utf-8")
        else:
            figure.savefig(out, dpi=110)
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error}") from None


def _page(figure: Figure, title: str) -> str:
    drawn = StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{head}<body>{svg[svg.index('<svg') :]}</body></html>"
