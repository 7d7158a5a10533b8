"""The report of a training set, against its manifest."""

from __future__ import annotations

from features.training.training_set import Made
from tests.features.training.two_views import cells, page, sections


def test_the_report_shows_every_plot_and_table(by_time: Made) -> None:
    """Its numbers are those of the manifest."""
    report = page(by_time)
    shown = sections(report)
    assert {title: text.count("<svg") for title, text in shown.items()} == {
        "Rows": 0,
        "Target": 1,
        "Age of the features at their labels": 1,
        "Missing values": 1,
        "Features": 0,
        "Made from": 0,
    }
    assert cells(shown["Rows"]) == [
        ["", "rows"],
        ["total", "6"],
        ["assets", "2"],
        *(["split: train", "2"], ["split: validation", "0"], ["split: test", "4"]),
        *(["purged: train", "2"], ["purged: validation", "0"], ["purged: test", "0"]),
        *(["purged_for_age: train", "1"], ["purged_for_age: validation", "0"], ["purged_for_age: test", "0"]),
        ["gap", "630s"],
    ]
    assert cells(shown["Target"]) == [
        ["fails", "train", "test"],
        *(["false", "1", "2"], ["true", "1", "1"], ["missing", "0", "1"]),
    ]
    assert cells(shown["Features"]) == [
        ["column", "unit", "formula", "tags", "missing", "changed later", "corrected"],
        [
            *("compressor_vibration__de_h_rms_ac", "g", "sqrt(Σc²/N)", "c101=c101.de_h, c102=c102.de_h"),
            *("0.333333", "4", "3"),
        ],
        ["compressor_process__oil_temp_mean", "degC", "∫v dt/∫dt", "c101=c101.oil", "0.166667", "2", "0"],
    ]
    assert ["table compressor_process", "version 1, rows created until 2026-03-01T00:20:05Z"] in cells(
        shown["Made from"]
    )
    assert ["rule", "true history; 6 values differ from created by label time"] in cells(shown["Made from"])
    assert "All 12 values were known at their label's time" in report


def test_the_report_warns_of_shared_rows(own_split: Made) -> None:
    """It names the splits that share none."""
    assert "3 rows use a row of compressor_vibration that another split uses too; a split by" in page(own_split)
