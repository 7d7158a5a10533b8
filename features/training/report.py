"""The report of a training set: one HTML file with embedded plots; nothing is fetched, and no script runs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from features.tables.labels import EVENT_TIMESTAMP
from features.training.audit import ViewAudit
from features.training.classes import is_classes
from features.training.manifest import Manifest
from features.training.prepare import Prepared
from features.training.splits import SPLIT
from features.training.verdicts import verdicts

# Text stays text and ids do not change from run to run, so that the same training set gives the same report.
_SVG: Final[dict[Any, Any]] = {
    "svg.hashsalt": "penstock",
    "svg.fonttype": "none",
    "font.size": 9.0,
    "date.converter": "concise",
}
_COLOURS: Final = {"train": "#1f6f8b", "validation": "#e0a030", "test": "#b0413e", "all": "#1f6f8b"}
_MOST_COLUMNS: Final = 40
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.2rem .8rem;"
    "text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}.warn{color:#b0413e}"
    "code{background:#f3f3f3;padding:0 .2rem}"
)


def report_html(manifest: Manifest, prepared: Prepared, audits: Mapping[str, ViewAudit]) -> str:
    """Return the whole page.

    Args:
        manifest: The manifest to report.
        prepared: The labels, for the plots over time.
        audits: Audits by view, for the ages of the features.
    """
    site = escape(manifest["plant"]["site"])
    parts = [
        f"<h1>Training set of {site}</h1>",
        _verdicts(manifest),
        "<h2>Rows</h2>",
        _table(("", "rows"), _row_counts(manifest)),
        _section("Events", _events(manifest)),
        _section("Target", _balance(manifest), _plot(lambda axes: _over_time(axes, prepared), height=2.6)),
        _section("Strong predictors", _strong_predictors(manifest)),
        _section("Age of the features at their labels", "", _plot(lambda axes: _ages(axes, audits))),
        _section("Missing values", _missing_text(manifest), _missing_plot(manifest)),
        _section("Quality", _exclusions(manifest)),
        "<h2>Features</h2>",
        _table(("column", "unit", "formula", "tags", "missing", "changed later", "corrected"), _columns(manifest)),
        "<h2>Made from</h2>",
        _table(("", ""), _origins(manifest)),
    ]
    head = f'<meta charset="utf-8"><title>Training set of {site}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _section(title: str, *parts: str) -> str:
    body = "".join(parts)
    return f"<h2>{escape(title)}</h2>{body}" if body else ""


def _verdicts(manifest: Manifest) -> str:
    found = verdicts(manifest)
    if not found:
        audited = manifest["leakage"]["values_audited"]
        return f"<p>All {audited:,} values were known at their label's time, by an independent check.</p>"
    return f'<ul class="warn">{"".join(f"<li>{escape(text)}</li>" for text in found)}</ul>'


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return f'<td class="n">{value:,.6g}</td>' if isinstance(value, float) else f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def _row_counts(manifest: Manifest) -> Iterable[tuple[str, object]]:
    for name, count in manifest["rows"].items():
        if isinstance(count, dict):
            yield from ((f"{name}: {part}", rows) for part, rows in count.items())
        elif count is not None:
            yield name, count


def _balance(manifest: Manifest) -> str:
    target = manifest["target"]
    if not target:
        return "<p>No target was named (<code>--target</code>).</p>"
    splits = target["balance"]
    values = list(dict.fromkeys(value for counts in splits.values() for value in counts))
    rows = [(value, *(counts.get(value, 0) for counts in splits.values())) for value in values]
    return _table((target["column"], *splits), rows)


def _events(manifest: Manifest) -> str:
    """Events by kind and what a rule makes of them; an empty string for labels from a table."""
    events = manifest["events"]
    if not events:
        return ""
    rows = [(kind, about["events"], about["effect"]) for kind, about in events["kinds"].items()]
    seen = f"<p>Events were observed until {escape(events['observed_until'])}.</p>"
    return _table(("kind", "events", "effect on the labels"), rows) + seen


def _strong_predictors(manifest: Manifest) -> str:
    found = manifest["leakage"].get("strong_predictors", [])
    rows = [(each["column"], each["measure"], each["value"]) for each in found]
    why = (
        "<p>These features predict the target by themselves. Their values passed the audit, and no correction after "
        "their label's time has changed them: they are good features of this problem.</p>"
    )
    return why + _table(("column", "measure", "value"), rows) if rows else ""


def _missing_text(manifest: Manifest) -> str:
    worst = sorted(((about["missing"], name) for name, about in manifest["columns"].items()), reverse=True)
    shown = f"; the {_MOST_COLUMNS} worst of {len(worst)} columns are shown" if len(worst) > _MOST_COLUMNS else ""
    return f"<p>The share of label rows without a value, and of those whose feature row was too old{shown}.</p>"


def _exclusions(manifest: Manifest) -> str:
    rows = [
        (view, point, reason, count)
        for view, points in manifest["quality_exclusions"].items()
        for point, reasons in points.items()
        for reason, count in reasons.items()
    ]
    return _table(("view", "point", "excluded because", "label rows"), rows) if rows else ""


def _columns(manifest: Manifest) -> Iterable[tuple[object, ...]]:
    for name, about in manifest["columns"].items():
        words = (about.get(key, "") for key in ("unit", "formula", "tags"))
        yield (name, *words, about["missing"], about["changed_later"], about["corrected"])


def _origins(manifest: Manifest) -> Iterable[tuple[str, object]]:
    for name, table in manifest["tables"].items():
        yield f"table {name}", f"version {table['version']}, rows created until {table['created_until']}"
    if "as_of" in manifest["request"]:
        yield "as of", manifest["request"]["as_of"]
    for kind in ("inputs", "software"):
        yield from ((f"{name}", text) for name, text in manifest[kind].items())
    yield from manifest["plant"]["files"].items()
    corrections = manifest["corrections"]
    differ = f"{corrections['values_that_differ']:,} values differ from {corrections['compared_with']}"
    yield "rule", f"{corrections['rule']}; {differ}"
    yield "content", manifest["content_hash"]


def _plot(draw: Callable[[Axes], bool], *, height: float = 2.8) -> str:
    """Return a plot as an SVG element; an empty string if `draw` finds nothing to draw."""
    with mpl.rc_context(_SVG):
        figure = Figure(figsize=(8, height), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        if not draw(axes):
            return ""
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    text = sink.getvalue()
    return text[text.index("<svg") :]


def _over_time(axes: Axes, prepared: Prepared) -> bool:
    """Draw rows over time by split, and those of the rarest class if the target has few values."""
    labels, target = prepared.labels, prepared.target
    times = labels[EVENT_TIMESTAMP].dt.replace_time_zone(None)
    splits = labels[SPLIT] if SPLIT in labels.columns else pl.repeat("all", labels.height, eager=True)
    names = [name for name in _COLOURS if name in set(splits)]
    parts = [times.filter(splits == name).to_numpy() for name in names]
    colours = [_COLOURS[name] for name in names]
    _, edges, _ = axes.hist(parts, bins=48, stacked=True, color=colours, label=names)
    rare = _rarest(labels[target]) if target else None
    if target and rare is not None:
        marked = times.filter((labels[target] == rare).fill_null(value=False)).to_numpy()
        axes.hist(marked, bins=edges.tolist(), histtype="step", color="black", label=f"{target} = {rare}")
    axes.set_ylabel("rows")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return True


def _rarest(target: pl.Series) -> object | None:
    """Return the least frequent value; None for a quantity or a constant target."""
    counts = target.drop_nulls().alias("value").value_counts(name="rows").sort("rows", "value")
    return counts["value"][0] if is_classes(target) and counts.height > 1 else None


def _ages(axes: Axes, audits: Mapping[str, ViewAudit]) -> bool:
    """Draw the cumulative distribution of the ages of feature rows at their labels."""
    drawn = False
    for name, audit in audits.items():
        known = np.sort(audit.age_s.drop_nulls().to_numpy())
        if len(known):
            places = np.unique(np.linspace(0, len(known) - 1, 200).astype(np.int64))
            axes.step(known[places], (places + 1) / len(known), where="post", label=name)
            drawn = True
    axes.set_xlabel("age of the feature row in seconds")
    axes.set_ylabel("share of labels")
    if drawn:
        axes.legend(frameon=False)
    return drawn


def _missing_plot(manifest: Manifest) -> str:
    columns: dict[str, Any] = manifest["columns"]
    worst = sorted(columns, key=lambda name: (-columns[name]["missing"], name))[:_MOST_COLUMNS][::-1]

    def draw(axes: Axes) -> bool:
        axes.barh(worst, [columns[name]["missing"] for name in worst], color="#1f6f8b", label="missing")
        axes.barh(worst, [columns[name]["expired"] for name in worst], color="#e0a030", height=0.4, label="too old")
        axes.set_xlim(0, 1)
        axes.legend(frameon=False)
        return bool(worst)

    return _plot(draw, height=1 + 0.18 * len(worst))
