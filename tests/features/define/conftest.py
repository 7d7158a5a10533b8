"""Feature groups of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from features.define.catalogue import find_group

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def _plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the test groups, right and wrong ones, the way a third party's would be."""
    monkeypatch.syspath_prepend(PLUGINS)
    monkeypatch.syspath_prepend(PLUGINS / "broken")
    yield
    find_group.cache_clear()
