"""`penstock serve`."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from api.app import create_app
from historian.cli.console import JsonOption, PlantOption, answer
from historian.errors import ConfigError
from historian.plant.load import load_plant
from historian.stores.open import open_store


def serve(
    plant: PlantOption = Path("plant.toml"),
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = 8000,
    as_json: JsonOption = False,
) -> None:
    """Serves tags, training sets and online features over HTTP until it is stopped."""
    checked = load_plant(plant)
    app = create_app(checked, open_store(checked))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # From here on a connection is accepted by the system, and served as soon as the application has started.
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from None
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    answer({"ready": True, "url": url}, f"READY {url}", as_json=as_json)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
