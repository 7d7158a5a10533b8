"""`penstock serve`: the HTTP API of a plant."""

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
    """Serve tags, training sets and online features over HTTP until stopped."""
    loaded = load_plant(plant)
    app = create_app(loaded, open_store(loaded))
    with listen(host, port) as listening:
        url = url_of(host, listening.getsockname()[1])
        answer({"ready": True, "url": url}, f"READY {url}", as_json=as_json)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket; the system accepts connections from then on.

    Args:
        host: the address to listen on, IPv4 or IPv6.
        port: 0 for any free one.

    Raises:
        ConfigError: the address or the port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from None


def url_of(host: str, port: int) -> str:
    """Return the address of a server as a URL, with brackets around an IPv6 address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
