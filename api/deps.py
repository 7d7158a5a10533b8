"""The dependencies of the endpoints: the plant, its samples, and Feast."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pkgutil import resolve_name
from threading import Lock, Thread
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from historian.plant.plant import Plant
from historian.stores.protocols import Reader

if TYPE_CHECKING:
    from api.feast_backend import FeastBackend


class Service:
    """The objects that all requests of one process share.

    Feast takes seconds to import. The rest of the API must not wait for it, so `api.feast_backend` is imported in a
    background thread, or by the first request that needs it (docs/decisions/0006).
    """

    def __init__(self, plant: Plant, samples: Reader, clock: Callable[[], datetime]) -> None:
        self.plant = plant
        self.samples = samples
        self.clock = clock
        self._feast: FeastBackend | None = None
        self._importing = Lock()
        # Not a daemon thread: the interpreter must not shut down during an import.
        self._warm_up = Thread(target=self.feast, name="feast-import")

    def start(self) -> None:
        """Import Feast in the background. Call once."""
        self._warm_up.start()

    def feast(self) -> FeastBackend:
        """Return the endpoints' access to Feast; wait while it is being imported."""
        with self._importing:
            if self._feast is None:
                backend: type[FeastBackend] = resolve_name("api.feast_backend:FeastBackend")
                self._feast = backend(self.plant, self.clock)
            return self._feast

    def close(self) -> None:
        """Write served values that are not on disk yet."""
        self._warm_up.join()
        if self._feast is not None:
            self._feast.close()


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceParameter = Annotated[Service, Depends(_service)]
"""Type of an endpoint's parameter that receives the application's service."""
