"""The page of a verification: completeness by tag and day, as HTML that fetches nothing and runs no script. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from html import escape
from itertools import groupby
from typing import Final

from bridge.run.verify.manifest import DayRecord, Manifest

_MOST_TAGS: Final = 1000
_MOST_ROWS: Final = 500
_COLOURS: Final = {"equal": "#3a8f5c", "quarantined": "#e0a030", "differs": "#b0413e"}
_MEANING: Final = {
    "equal": "the same on both sides",
    "quarantined": "the same, with samples of the source in quarantine",
    "differs": "not the same",
}
_HEAD: Final = ("tag", "day", "first", "last", "missing", "changed", "only in the store", "written by")
_WIDTH: Final = 720
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.1rem .8rem;"
    "text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}svg{vertical-align:middle}"
    ".differs{color:#b0413e}code{background:#f3f3f3;padding:0 .2rem;overflow-wrap:anywhere}"
)


def page_of(manifest: Manifest) -> str:
    """Return the whole page."""
    title = f"Verification of {escape(manifest.archive)}"
    verdict = "Both sides are the same" if manifest.equal else "The sides differ, or not all could be read"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="{"" if manifest.equal else "differs"}"><b>{verdict}.</b></p>',
        _summary(manifest),
        _strips(manifest),
        _differences(manifest),
        _unread(manifest),
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _summary(manifest: Manifest) -> str:
    rows = [
        ("range", f"{manifest.start} to {manifest.end}" if manifest.start else "nothing to compare"),
        ("samples of the source compared", f"{manifest.samples:,}"),
        ("samples of the source in quarantine", f"{manifest.quarantined['samples']:,}"),
        ("policy for contradictions", manifest.policy or "none: nothing was read again"),
        ("written", manifest.created),
    ]
    cells = "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{cells}</table><p>SHA-256 of the manifest: <code>{manifest.sha256}</code></p>"


def _strips(manifest: Manifest) -> str:
    """Return a strip a tag, with a rectangle for each run of days of the same state; those that differ come first."""
    if not manifest.start or not manifest.end:
        return ""
    first, last = (date.fromisoformat(each[:10]).toordinal() for each in (manifest.start, manifest.end))
    by_tag = {tag: list(days) for tag, days in groupby(manifest.days, key=lambda day: day.tag)}
    order = sorted(by_tag, key=lambda tag: (all(_state(day) != "differs" for day in by_tag[tag]), tag))
    left_out = f"<p>{len(order) - _MOST_TAGS:,} more tags are not shown.</p>" if len(order) > _MOST_TAGS else ""
    rows = "".join(
        f"<tr><td>{escape(tag)}</td><td>{_strip(by_tag[tag], first, last)}</td></tr>" for tag in order[:_MOST_TAGS]
    )
    key = " ".join(f'<span style="color:{colour}">&#9632;</span> {_MEANING[name]}' for name, colour in _COLOURS.items())
    return f"<h2>Completeness by tag and day</h2><p>{key}</p><table>{rows}</table>{left_out}"


def _strip(days: Sequence[DayRecord], first: int, last: int) -> str:
    scale = _WIDTH / (last - first + 1)
    marks = "".join(
        f'<rect x="{(begin - first) * scale:.2f}" width="{max((end - begin) * scale, 1):.2f}" height="14" '
        f'fill="{_COLOURS[state]}"><title>{title}</title></rect>'
        for begin, end, state, title in _runs(days)
    )
    return f'<svg width="{_WIDTH}" height="14" role="img"><rect width="100%" height="14" fill="#eee"/>{marks}</svg>'


def _runs(days: Sequence[DayRecord]) -> Iterator[tuple[int, int, str, str]]:
    """Yield first day, day after the last, state and title of runs of days of one state."""
    numbered = [(date.fromisoformat(day.day).toordinal(), day) for day in days]
    places = enumerate(numbered)
    for (state, _), run in groupby(places, key=lambda each: (_state(each[1][1]), each[1][0] - each[0])):
        few = [day for _, (_, day) in run]
        begin = date.fromisoformat(few[0].day).toordinal()
        yield begin, begin + len(few), state, f"{few[0].day} to {few[-1].day}: {_MEANING[state]}"


def _state(day: DayRecord) -> str:
    if day.differs_from:
        return "differs"
    return "quarantined" if day.quarantined else "equal"


def _differences(manifest: Manifest) -> str:
    found = [day for day in manifest.days if day.differs_from]
    if not found:
        return ""
    rows = [_difference(day) for day in found[:_MOST_ROWS]]
    more = f"<p>{len(found) - _MOST_ROWS:,} more are in the manifest.</p>" if len(found) > _MOST_ROWS else ""
    return f"<h2>Differences</h2>{_table(_HEAD, rows)}{more}"


def _difference(day: DayRecord) -> tuple[str, ...]:
    counts = (f"{count:,}" for count in (day.missing, day.changed, day.extra))
    return (day.tag, day.day, str(day.differs_from), str(day.differs_until), *counts, ", ".join(day.extra_from))


def _unread(manifest: Manifest) -> str:
    rows = [(each.start, each.end, f"{len(each.tags)} tags", each.reason) for each in manifest.unread]
    rows += [("", "", "", problem) for problem in manifest.problems]
    return f"<h2>Not read</h2>{_table(('from', 'to', '', 'why'), rows)}" if rows else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{name}</th>" for name in head) + f"</tr>{body}</table>"
