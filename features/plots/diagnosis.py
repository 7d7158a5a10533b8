"""The picture of `penstock diagnose`: each point's mean squared-envelope spectrum, its fault lines, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from features.define.spec import Floats
from features.plots.figures import Mark, spectrum_panel, spectrum_panels


@dataclass(frozen=True)
class EnvelopePanel:
    """What is drawn of one point."""

    title: str
    lines: Floats
    """[lines] the mean squared-envelope spectrum from DC; no lines where there is none."""
    resolution: float
    """Distance of lines, in Hz."""
    unit: str
    marks: Sequence[Mark]


def diagnosis_figure(panels: Sequence[EnvelopePanel], *, title: str) -> Figure:
    """Draw one panel a point, up to four times the highest of its marks."""
    figure = spectrum_panels(len(panels), title=title)
    for axes, panel in zip(figure.axes, panels, strict=True):
        frequencies = np.arange(len(panel.lines), dtype=np.float64) * panel.resolution
        top = float(frequencies[-1]) if len(frequencies) > 1 else 1.0
        until = min(max((4 * mark.frequency for mark in panel.marks), default=500.0), top)
        shown: Floats = panel.lines * (frequencies >= 2 * panel.resolution)  # what is at DC is the mean
        spectrum_panel(axes, frequencies, shown, unit=f"{panel.unit}² peak", marks=panel.marks, until=until)
        axes.set_title(panel.title, fontsize=9, loc="left")
    return figure
