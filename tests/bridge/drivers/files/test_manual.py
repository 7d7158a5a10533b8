"""The examples of docs/files.md are configurations that `penstock check` accepts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bridge.drivers.files.options import Options

MANUAL = Path(__file__).parents[4] / "docs" / "files.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
ARCHIVES = {name: keys for block in BLOCKS for name, keys in tomllib.loads(block)["archives"].items()}


@pytest.mark.parametrize("keys", ARCHIVES.values(), ids=ARCHIVES.keys())
def test_an_example_of_the_manual_can_be_configured(keys: dict[str, Any]) -> None:
    """Every key is one of the driver's, or of all drivers."""
    own = {key: value for key, value in keys.items() if key not in ("driver", "tags")}
    assert Options.model_validate(own).path == keys["path"]


def test_every_key_is_in_the_manual_or_in_its_docstring() -> None:
    """A key that nobody mentions is a key that nobody finds."""
    text = MANUAL.read_text(encoding="utf-8")
    missing = [key for key in Options.model_fields if f"`{key}`" not in text and not re.search(rf"\b{key} =", text)]
    assert missing == ["stamp", "row"]  # of waveforms in Parquet, which the reference describes
