"""docs/benchmarks.md: the text of `page.md`, with a table of results in place of each line `{{group}}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure
from benchmarks.figures import FIGURES
from benchmarks.results import Result

PAGE: Final = Path(__file__).with_name("page.md")

_HEAD: Final = "| figure | measured | compared with | value | target | commit, date |\n|---|---|---|---|---|---|"


def benchmarks_page(results: Mapping[str, Result]) -> str:
    """The page as Markdown.

    Args:
        results: by name of the figure; a figure without a result has a row without a value.
    """
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(r"^\{\{(\w+)\}\}$", lambda group: "\n".join(_table(group[1], results)), text, flags=re.MULTILINE)


def _table(group: str, results: Mapping[str, Result]) -> Iterator[str]:
    yield _HEAD
    for figure in FIGURES:
        if figure.group == group:
            yield _row(figure, results.get(figure.name))


def _row(figure: Figure, result: Result | None) -> str:
    value = measured = "–"
    if result:
        low, high = (f"{number:,g}" for number in result.value)
        value = f"{low if low == high else f'{low} to {high}'} {_unit(figure)}".strip()
        measured = f"{result.commit}, {result.date}"
    cells = f"`{figure.name}`", figure.what, figure.against or "–", value, _target(figure), measured
    return f"| {' | '.join(cells)} |"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "–"
    bound = "at least" if figure.better == "higher" else "at most"
    return f"{bound} {figure.target:,g} {_unit(figure)}".strip()


def _unit(figure: Figure) -> str:
    return "" if figure.unit == "ratio" else figure.unit
