"""A plant with one pump, whose temperature an OPC UA source would stream: nothing listens at its address."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PLANT: Final = """
[site]
name = "test"
[classes.pump.points]
temperature = { kind = "process", unit = "degC", range = [0, 100] }
[assets.p1]
class = "pump"
[sources.line1]
driver = "opcua"
endpoint = "opc.tcp://127.0.0.1:1"
tags = "live.csv"
"""


def write_pump(directory: Path, more: str = "") -> None:
    """Write the plant file and the tag list of the source.

    Args:
        directory: Where the plant is.
        more: Further tables of the plant file.
    """
    (directory / "plant.toml").write_text(_PLANT + more)
    (directory / "live.csv").write_text("tag,asset,point,address\np1.t,p1,temperature,ns=2;s=T\n")
