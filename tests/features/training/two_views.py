"""Labels and feature rows of two views, for training sets worked out by hand."""

from __future__ import annotations

import re
from html import unescape

from features.training.report import report_html
from features.training.training_set import Made
from historian.plant.plant import Plant
from tests.features.feature_rows import append_rows

RMS = "compressor_vibration:de_h_rms_ac"
OIL = "compressor_process:oil_temp_mean"

# Purged by the split by time (from 00:20:00 on it is test): c102 at 00:00:30, for its label ends at 00:01:00, after
# the start of the window of 00:00:20 that c102 uses at 00:20:01; c101 at 00:10:00, less than 10 min 30 s before.
BY_TIME = """asset,event_timestamp,fails
c101,2026-03-01T00:00:02Z,true
c102,2026-03-01T00:00:30Z,false
c101,2026-03-01T00:06:40Z,false
c101,2026-03-01T00:10:00Z,true
c101,2026-03-01T00:20:00Z,false
c102,2026-03-01T00:20:01Z,
c101,2026-03-01T00:20:02Z,true
c102,2026-03-01T00:20:03Z,false
"""

# The row of c101 of 00:00:20 serves three labels, one in train and two in test.
OWN_SPLIT = """asset,event_timestamp,life,split
c101,2026-03-01T00:00:02Z,90.5,train
c102,2026-03-01T00:00:30Z,50.5,train
c101,2026-03-01T00:06:40Z,60.5,test
c101,2026-03-01T00:10:00Z,,train
c101,2026-03-01T00:20:00Z,,test
c102,2026-03-01T00:20:01Z,50.5,train
c101,2026-03-01T00:20:02Z,,test
c102,2026-03-01T00:20:03Z,30.5,train
c101,2026-03-01T00:20:04Z,,test
"""


def add_two_views(plant: Plant) -> None:
    """Adds the feature rows that the labels use."""
    append_rows(
        plant,
        "compressor_vibration",
        ("c101", 0, 1, 1.0), ("c101", 0, 60, 9.0),  # corrected upwards after a minute
        ("c101", 20, 21, 2.0),
        ("c101", 1200, 1201, 5.0), ("c101", 1200, 3000, None),  # found later to be no value at all
        ("c102", 20, 21, 7.0),
        ("c102", 1202, 1300, 8.0),  # came late
    )  # fmt: skip
    append_rows(
        plant,
        "compressor_process",
        ("c101", 0, 1, 60.0), ("c101", 1199, 1200, 62.0), ("c102", 0, 1, 61.0), ("c102", 1200, 1205, 63.0),
    )  # fmt: skip


def page(made: Made) -> str:
    """The report's HTML."""
    return report_html(made.manifest, made.prepared, made.audits)


def sections(report: str) -> dict[str, str]:
    """The content below each heading."""
    return dict(part.split("</h2>", 1) for part in report.split("<h2>")[1:])


def cells(section: str) -> list[list[str]]:
    """The section's table, with its head first."""
    rows = re.findall("<tr>(.*?)</tr>", section)
    return [[unescape(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]
