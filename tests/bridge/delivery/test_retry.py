"""The delay before a retry, by kind of error."""

from __future__ import annotations

import pytest

from bridge.delivery.retry import FIRST_S, LONGEST_S, PERMANENT_S, backoff, kind_of, wait_after
from historian.errors import AccessDenied, NotConnected, SpoolFull, StoreUnavailable


def test_waits_double_and_stay_bounded() -> None:
    """Jitter makes every delay different, so that many bridges do not retry at once."""
    for failures in range(1, 8):
        longest = min(LONGEST_S, FIRST_S * 2 ** (failures - 1))
        waits = {backoff(failures) for _ in range(20)}
        assert all(longest / 2 <= wait <= longest for wait in waits)
        assert len(waits) > 1
    assert LONGEST_S / 2 <= backoff(10_000) <= LONGEST_S


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AccessDenied("no"), "permanent"),
        (StoreUnavailable("down"), "retryable"),
        (StoreUnavailable("busy", retry_after=3.0), "throttled"),
        (SpoolFull("full"), "retryable"),
        (NotConnected("cut"), "retryable"),
        (ZeroDivisionError(), "unexpected"),
    ],
)
def test_every_error_is_of_one_kind(error: Exception, kind: str) -> None:
    """An unexpected error counts as a defect in the program."""
    assert kind_of(error) == kind


def test_a_requested_pause_is_respected() -> None:
    """It applies if it is longer than our own back-off."""
    assert wait_after(StoreUnavailable("busy", retry_after=45.0), 1) == 45.0
    assert wait_after(StoreUnavailable("busy", retry_after=0.0), 9) >= LONGEST_S / 2
    assert wait_after(AccessDenied("no"), 1) == PERMANENT_S
