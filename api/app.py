"""The HTTP API: the plant's tags and assets, training sets, and online features in Feast's own protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import version

from fastapi import FastAPI

from api.deps import Service
from api.problems import add_error_handlers
from api.routes import features as feature_routes
from api.routes import metrics as metrics_routes
from api.routes import plant as plant_routes
from historian.plant.plant import Plant
from historian.stores.protocols import Reader
from historian.times import utc_now


def create_app(plant: Plant, samples: Reader, *, clock: Callable[[], datetime] = utc_now) -> FastAPI:
    """Build the application. Feast is imported in the background once the application has started.

    Args:
        plant: The resolved plant file.
        samples: The historian store.
        clock: Returns the current time, from which the age of a feature is counted.
    """
    app = FastAPI(title="Penstock", version=version("penstock"), description=__doc__, lifespan=_lifespan)
    app.state.service = Service(plant, samples, clock)
    app.include_router(plant_routes.router)
    app.include_router(feature_routes.router)
    app.include_router(metrics_routes.router)
    add_error_handlers(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    yield
    service.close()  # a process that is ended by a signal runs no exit handlers
