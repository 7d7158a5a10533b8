"""Figures an engineer looks at: signals, trends, spectra, envelopes and waterfalls, and what turns at which frequency.

Pure: frames and arrays in, a figure out. The command is in `features.cli.plot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from matplotlib import dates as _dates_module
from matplotlib.figure import Figure

from features.define.spec import Floats
from historian.plant.model import Zones

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_mpl_dates: Final[Any] = _dates_module  # its functions have no types
_COLOURS: Final = ("#1f5fa8", "#c2541b", "#2f7d4f", "#7a4fa0", "#8a6d1b", "#4b5563")
_ZONES: Final = {"A": "#2f7d4f", "B": "#b9a51f", "C": "#d07a1c", "D": "#b3261e"}
_ON_COLOURS: Final = ("#ffffff", "#ff8c69", "#ff5fa2", "#ffd166", "#c8b6ff")
"""Of lines over a coloured picture."""
_GREY: Final = "#6b7280"


@dataclass(frozen=True)
class Mark:
    """A frequency at which something known turns or rolls."""

    name: str
    frequency: float
    """Hz."""
    harmonics: int = 3
    remark: str = ""
    """What the legend adds."""


def signal_figure(extremes: pl.DataFrame, gaps: pl.DataFrame, units: Mapping[str, str], *, title: str) -> Figure:
    """Draw the lowest and highest value of each tag in each interval of time, one panel a tag; gaps are grey.

    Args:
        extremes: columns of `historian.stores.protocols.EXTREMES`.
        gaps: columns of `historian.stores.protocols.GAPS`.
        units: unit of each tag, in the order of the panels.
        title: above them.
    """
    figure = _figure(rows=len(units), title=title)
    for axes, (tag, unit), colour in zip(figure.axes, units.items(), _endless(len(units)), strict=True):
        rows = extremes.filter(tag=tag)
        times = _dates(rows["timestamp"])
        axes.fill_between(times, rows["low"], rows["high"], color=colour, linewidth=0.8)
        for after, before in gaps.filter(tag=tag).select("after", "before").rows():
            axes.axvspan(_mpl_dates.date2num(after), _mpl_dates.date2num(before), color="#e5e7eb", linewidth=0)
        axes.set_ylabel(f"{tag}\n{unit}", fontsize=8)
    _time_axis(figure)
    return figure


def trend_figure(
    rows: pl.DataFrame, columns: Mapping[str, str], *, title: str, zones: Mapping[str, Zones] | None = None
) -> Figure:
    """Draw feature columns over time, one panel a column, one line an asset.

    Args:
        rows: asset, event_timestamp and the columns; a null breaks the line.
        columns: name -> unit.
        title: above them.
        zones: of the columns that have limits.
    """
    figure = _figure(rows=len(columns), title=title)
    assets = rows["asset"].unique().sort().to_list()
    for axes, (column, unit) in zip(figure.axes, columns.items(), strict=True):
        for asset, colour in zip(assets, _endless(len(assets)), strict=True):
            own = rows.filter(asset=asset).sort("event_timestamp")
            values = own[column].cast(pl.Float64).to_numpy()
            axes.plot(_dates(own["event_timestamp"]), values, color=colour, linewidth=1, label=asset)
        if zones and column in zones:
            _zones(axes, zones[column])
        axes.set_ylabel(f"{column}\n{unit}".rstrip(), fontsize=8)
    figure.axes[0].legend(loc="upper left", fontsize=8, frameon=False)
    _time_axis(figure)
    return figure


def spectrum_figure(
    frequencies: Floats, amplitudes: Floats, *, title: str, unit: str, marks: Sequence[Mark], until: float
) -> Figure:
    """Draw the lines of a spectrum up to a frequency in Hz, and the marks with their harmonics."""
    figure = spectrum_panels(1, title=title)
    spectrum_panel(figure.axes[0], frequencies, amplitudes, unit=unit, marks=marks, until=until)
    return figure


def spectrum_panels(rows: int, *, title: str) -> Figure:
    """Return a figure with empty panels below each other."""
    return _figure(rows=rows, title=title, share=False)


def spectrum_panel(
    axes: Axes, frequencies: Floats, amplitudes: Floats, *, unit: str, marks: Sequence[Mark], until: float
) -> None:
    """Draw a spectrum as `spectrum_figure` does, into one panel."""
    shown = frequencies <= until
    axes.plot(frequencies[shown], amplitudes[shown], color=_COLOURS[0], linewidth=0.8)
    for mark, colour in zip(marks, _endless(len(marks), first=1), strict=True):
        for harmonic in range(1, mark.harmonics + 1):
            if mark.frequency * harmonic <= until:
                name = f"{mark.name} {mark.frequency:.1f} Hz{mark.remark}" if harmonic == 1 else None
                axes.axvline(mark.frequency * harmonic, color=colour, linewidth=1, alpha=0.7, ls="--", label=name)
    if marks:
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    axes.set(xlabel="Hz", ylabel=unit, xlim=(0, until), ylim=(0, None))


def waterfall_figure(
    instants: Sequence[datetime],
    frequencies: Floats,
    spectra: Floats,
    *,
    title: str,
    unit: str,
    marks: Sequence[Sequence[Mark]] = (),
) -> Figure:
    """Draw spectra [instants, frequencies] over time, as colours in decibels below the strongest line.

    Args:
        instants: ascending.
        frequencies: Hz.
        spectra: in the unit.
        title: above them.
        unit: of the spectra.
        marks: [instants] of each, which become lines over time without harmonics.
    """
    figure = _figure(rows=1, title=title)
    axes = figure.axes[0]
    level = 20 * np.log10(np.maximum(spectra, np.finfo(np.float64).tiny))
    top = float(level.max())
    image = axes.pcolormesh(
        frequencies,
        _mpl_dates.date2num(list(instants)),
        level - top,
        rasterized=True,  # in SVG each cell would be a path of its own
        vmin=-60,
        vmax=0,
        cmap="viridis",
        shading="nearest",
    )
    axes.grid(visible=False)
    _courses(axes, instants, marks, until=float(frequencies[-1]))
    figure.colorbar(image, ax=axes, label=f"dB below {10 ** (top / 20):.3g} {unit}")
    axes.yaxis_date()
    axes.yaxis.set_major_formatter(_mpl_dates.ConciseDateFormatter(_mpl_dates.AutoDateLocator()))
    axes.set(xlabel="Hz", ylabel="UTC")
    return figure


def _courses(axes: Axes, instants: Sequence[datetime], marks: Sequence[Sequence[Mark]], *, until: float) -> None:
    """The marks of a waterfall; each has a gap where it is unknown, and a dot where it is known for an instant only."""
    named = [{mark.name: mark.frequency for mark in each} for each in marks]
    names = list(dict.fromkeys(name for each in named for name in each))
    for number, name in enumerate(names):
        course = np.array([each.get(name, np.nan) for each in named])
        if np.nanmin(course) <= until:
            colour = _ON_COLOURS[number % len(_ON_COLOURS)]
            shown = np.where(course <= until, course, np.nan)
            axes.plot(
                shown, _mpl_dates.date2num(list(instants)), color=colour, lw=1, ls="--", marker=".", ms=2, label=name
            )
    if axes.lines:
        axes.legend(loc="upper right", fontsize=8, facecolor="#1f2937", labelcolor="white")


def _figure(*, rows: int, title: str, share: bool = True) -> Figure:
    figure = Figure(figsize=(11, 1.2 + 2.6 * max(rows, 1.4)), layout="constrained")
    figure.subplots(rows, 1, sharex=share)
    figure.suptitle(
        "\n".join(line for part in title.splitlines() for line in wrap(part, 130)), fontsize=11, x=0.01, ha="left"
    )
    for axes in figure.axes:
        axes.grid(color="#e5e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=_GREY)
    return figure


def _time_axis(figure: Figure) -> None:
    locator = _mpl_dates.AutoDateLocator()
    last = figure.axes[-1]
    last.xaxis.set_major_locator(locator)
    last.xaxis.set_major_formatter(_mpl_dates.ConciseDateFormatter(locator))
    last.set_xlabel("UTC", fontsize=8)


def _zones(axes: Axes, zones: Zones) -> None:
    """Coloured grounds, and whose limits they are; what lies far above the data does not stretch the axis."""
    top = max(axes.get_ylim()[1], zones.limits[0] * 1.05)
    edges = [0.0, *(limit for limit in zones.limits if limit < top), top]
    for name, low, high in zip("ABCD", edges, edges[1:], strict=False):
        axes.axhspan(low, high, color=_ZONES[name], alpha=0.12, linewidth=0)
        axes.text(1.005, (low + high) / 2, name, transform=axes.get_yaxis_transform(), fontsize=8)
    axes.set_ylim(0, top)
    axes.set_title(f"{zones.source}, {zones.machine}", fontsize=8, loc="right", color=_GREY)


def _dates(instants: pl.Series) -> Any:
    """Days since 1970, as matplotlib counts."""
    return instants.to_physical().to_numpy() / 86_400e6


def _endless(count: int, *, first: int = 0) -> list[str]:
    return [_COLOURS[(first + number) % len(_COLOURS)] for number in range(count)]
