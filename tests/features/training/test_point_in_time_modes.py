"""The point-in-time mode and `as_of` hold for values, manifest, audit and purge alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from features.training.splits import SplitSpec
from features.training.training_set import Made
from tests.features.training.two_views import cells, page, sections

# All but the first lie around or after as_of, 00:20:01.
AS_OF = """asset,event_timestamp
c101,2026-03-01T00:00:02Z
c102,2026-03-01T00:20:03Z
c102,2026-03-01T00:30:00Z
c101,2026-03-01T01:00:00Z
"""

# Of test, c102 uses the row of 00:20:02 if that counts, which came at 00:21:40; else the one of 00:00:20, whose window
# starts before the first label ends.
OLD_OR_LATE = """asset,event_timestamp
c102,2026-03-01T00:00:30Z
c101,2026-03-01T00:06:40Z
c101,2026-03-01T00:20:02Z
c102,2026-03-01T00:20:03Z
"""


@pytest.mark.parametrize(
    ("rule", "corrections"),
    [
        (False, {"rule": "true history", "compared_with": "created by label time", "values_that_differ": 1}),
        (True, {"rule": "created by label time", "compared_with": "true history", "values_that_differ": 1}),
    ],
)
def test_as_of_holds_for_both_rules_and_for_the_audit(
    make: Callable[..., Made], *, rule: bool, corrections: dict[str, Any]
) -> None:
    """Later corrections and rows are no difference between the rules, and the audit does not expect them."""
    made = make(AS_OF, created_by_label_time=rule, as_of=datetime(2026, 3, 1, 0, 20, 1, tzinfo=UTC))
    # 9, 7, 7, 5, known then were 1, 7, 7, 5; today 9, 8, 8, -. And 60, then missing as too old; today 63 once.
    assert made.table["compressor_vibration__de_h_rms_ac"].to_pylist() == [1 if rule else 9, 7, 7, 5]
    assert made.table["compressor_process__oil_temp_mean"].to_pylist() == [60, None, None, None]
    columns = made.manifest["columns"].values()
    assert [(about["missing"], about["expired"], about["changed_later"]) for about in columns] == [
        (0.0, 0.0, 1),
        (0.75, 0.75, 0),
    ]
    assert made.manifest["corrections"] == corrections
    assert made.manifest["leakage"]["values_not_known_at_their_label"] == 0
    shown = cells(sections(page(made))["Made from"])
    assert ["as of", "2026-03-01T00:20:01Z"] in shown
    assert ["rule", f"{corrections['rule']}; 1 values differ from {corrections['compared_with']}"] in shown


@pytest.mark.parametrize(
    ("mode", "purged"),
    [({}, 0), ({"created_by_label_time": True}, 1), ({"as_of": datetime(2026, 3, 1, 0, 20, 4, tzinfo=UTC)}, 1)],
)
def test_what_is_purged_for_age_follows_from_what_was_known(
    make: Callable[..., Made], mode: dict[str, Any], purged: int
) -> None:
    """With one rule a late row is used, with the others an old one that the labels of train look into."""
    spec = SplitSpec("time", shares=(0.5, 0, 0.5))
    made = make(OLD_OR_LATE, split=spec, horizon=timedelta(seconds=30), **mode)
    assert made.manifest["rows"]["purged_for_age"] == {"train": purged, "validation": 0, "test": 0}
