"""`penstock demo --historian URL` names the missing secret before anything is written."""

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
    """InfluxDB 2.x needs a token; 1.x with a user name needs a password."""
    monkeypatch.delenv("PENSTOCK_HISTORIAN_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=message):
        demo(directory=tmp_path / "demo", historian=url)
    assert not (tmp_path / "demo").exists()
