"""Writes the plant file and the tag lists of the simulated plant, which every command can use."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

from historian.errors import InvalidInput

_PLACEHOLDERS: Final = {"@HOST@": r"\S+?", "@OPCUA_PORT@": r"\d+", "@MODBUS_PORT@": r"\d+"}


def write_plant(directory: Path, *, host: str = "127.0.0.1", opcua_port: int, modbus_port: int) -> None:
    """Write `plant.toml` and `tags/*.csv` into `directory`; files of an earlier run are overwritten.

    Args:
        directory: where to write.
        host: address of both servers.
        opcua_port: port of the OPC UA server.
        modbus_port: port of the Modbus server.

    Raises:
        InvalidInput: a file there differs from what the simulator writes; nothing was written.
    """
    templates = {
        (directory / "tags" if each.name.endswith(".csv") else directory) / each.name: each.read_text(encoding="utf-8")
        for each in files("bridge.simulator.template").iterdir()
        if each.name.endswith((".toml", ".csv"))
    }
    if edited := sorted(str(path) for path, template in templates.items() if not _is_ours(path, template)):
        raise InvalidInput(
            f"{' and '.join(edited)} {'are' if len(edited) > 1 else 'is'} not as the simulator writes it, and it would "
            "be overwritten; name another --plant-dir, move the file away, or simulate without --plant-dir"
        )
    values = {"@HOST@": host, "@OPCUA_PORT@": str(opcua_port), "@MODBUS_PORT@": str(modbus_port)}
    (directory / "tags").mkdir(parents=True, exist_ok=True)
    for path, template in templates.items():
        path.write_text(re.sub("|".join(values), lambda found: values[found[0]], template), encoding="utf-8")


def _is_ours(path: Path, template: str) -> bool:
    """Return whether the file is absent or is the template with any host and ports, so that no edits are lost."""
    if not path.exists():
        return True
    pattern = re.escape(template)
    for name, values in _PLACEHOLDERS.items():
        pattern = pattern.replace(name, values)
    return re.fullmatch(pattern, path.read_text(encoding="utf-8", errors="replace")) is not None
