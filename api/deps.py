"""What the endpoints work on: the plant, its samples, and Feast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request
from feast import FeatureStore

from features.feast.online.served import ServedLog, open_log
from features.feast.registry.feast_repo import open_feature_store
from historian.plant.plant import Plant
from historian.stores.protocols import Reader


@dataclass(frozen=True)
class Service:
    """One a process, shared by all requests."""

    plant: Plant
    samples: Reader
    clock: Callable[[], datetime]

    @cached_property
    def feature_store(self) -> FeatureStore:
        """Feast, opened when first asked for; it looks at the registry's file each time, so an apply is seen at once.

        Raises:
            NotEnoughData: nothing has been registered yet; the next request tries again.
        """
        return open_feature_store(self.plant)

    @cached_property
    def served_log(self) -> ServedLog | None:
        """Where what is served is kept, if the plant file asks for it."""
        return open_log(self.plant)

    def close(self) -> None:
        """Writes what was served and is not on the disk yet."""
        if self.served_log:
            self.served_log.close()


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
"""An endpoint's parameter of this type is the app's service."""
