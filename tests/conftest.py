"""Fixtures every test directory may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real bearing, pump and compressor data beside the checkout; never part of it."""
    path = Path(os.environ.get("PENSTOCK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the real data is not at {path}; set PENSTOCK_TEST_DATA")
        pytest.skip(f"the real data is not at {path}; set PENSTOCK_TEST_DATA")
    return path
