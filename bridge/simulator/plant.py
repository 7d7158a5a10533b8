"""Writes the simulator's plant: `plant.toml` and its tag lists, ready for every command."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def write_plant(directory: Path, *, host: str = "127.0.0.1", opcua_port: int, modbus_port: int) -> None:
    """Writes `plant.toml` and `tags/*.csv` into `directory`, over those of an earlier run."""
    tags = directory / "tags"
    tags.mkdir(parents=True, exist_ok=True)
    for template in files("bridge.simulator.template").iterdir():
        if template.name.endswith((".toml", ".csv")):
            text = template.read_text(encoding="utf-8")
            text = text.replace("@HOST@", host)
            text = text.replace("@OPCUA_PORT@", str(opcua_port)).replace("@MODBUS_PORT@", str(modbus_port))
            place = tags if template.name.endswith(".csv") else directory
            (place / template.name).write_text(text, encoding="utf-8")
