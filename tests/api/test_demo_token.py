"""`penstock demo --historian URL` says at once which secret it lacks, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.demo import demo
from historian.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("influxdb://127.0.0.1:8086/north?bucket=raw", "TOKEN to one that may create the bucket raw of north"),
        ("influxdb://bridge@127.0.0.1:8086/demo", "the user bridge needs a password: set PENSTOCK_HISTORIAN_TOKEN"),
    ],
)
def test_the_demo_names_the_variable_of_the_token(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 2.x a token, for a user of 1.x a password."""
    monkeypatch.delenv("PENSTOCK_HISTORIAN_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=message):
        demo(directory=tmp_path / "demo", historian=url)
    assert not (tmp_path / "demo").exists()
