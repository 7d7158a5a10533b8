"""Endpoints for liveness and readiness, tags and assets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.deps import Service, ServiceParameter
from api.models import AssetState, Health, Latest, TagState
from api.problems import STATUS, error_response
from historian.errors import HistorianError, Problem
from historian.plant.connections import ConnectionConfig
from historian.plant.plant import Plant
from historian.quality import quality_name

router = APIRouter(tags=["plant"])


@router.get("/healthz")
async def healthz() -> Health:
    """Report that the process is up."""
    return Health()


@router.get("/readyz", response_model=Health)
def readyz(service: ServiceParameter) -> Health | JSONResponse:
    """Check that samples can be read, features are registered, and the online store responds; else 503 with reasons."""
    problems = list(_unready(service))
    if problems:
        return error_response(STATUS["unavailable"], "unavailable", "\n".join(map(str, problems)), problems)
    return Health()


@router.get("/v1/tags")
def tags(service: ServiceParameter) -> list[TagState]:
    """Return every tag of the plant with its newest sample."""
    plant = service.plant
    newest = {row["tag"]: row for row in service.samples.latest(list(plant.tags)).to_dicts()}
    sources, archives = connections_by_tag(plant.sources), connections_by_tag(plant.archives)
    return [
        TagState(
            tag=tag.name,
            asset=tag.asset,
            point=tag.point,
            kind=tag.kind,
            unit=tag.unit,
            sources=sources.get(tag.name, []),
            archives=archives.get(tag.name, []),
            latest=_latest(newest[tag.name]) if tag.name in newest else None,
        )
        for tag in plant.tags.values()
    ]


@router.get("/v1/assets")
def assets(service: ServiceParameter) -> list[AssetState]:
    """Return every asset of the plant with its points and feature views."""
    plant = service.plant
    views = _views_by_class(plant)
    return [
        AssetState(
            asset=name,
            asset_class=asset.asset_class,
            owner=asset.owner,
            points={point: _tag_name(plant, name, point) for point in plant.classes[asset.asset_class].points},
            views=views.get(asset.asset_class, []),
        )
        for name, asset in plant.assets.items()
    ]


def connections_by_tag(connections: Mapping[str, ConnectionConfig]) -> dict[str, list[str]]:
    """Return the name of each tag -> names of the connections that have it."""
    found = defaultdict(list)
    for name, connection in connections.items():
        for tag in connection.tags:
            found[tag.name].append(name)
    return dict(found)


def _views_by_class(plant: Plant) -> dict[str, list[str]]:
    found = defaultdict(list)
    for view in plant.views.values():
        found[view.asset_class].append(view.name)
    return dict(found)


def _tag_name(plant: Plant, asset: str, point: str) -> str | None:
    tag = plant.tag_of(asset, point)
    return tag.name if tag else None


def _latest(row: Mapping[str, object]) -> Latest:
    return Latest.model_validate({**row, "quality": quality_name(int(str(row["quality"])))})


def _unready(service: Service) -> Iterator[Problem]:
    checks: dict[str, Callable[[], object]] = {
        "samples": lambda: service.samples.latest(list(service.plant.tags)[:1]),
        "features": lambda: service.feast().check(),
    }
    for place, check in checks.items():
        try:
            check()
        except HistorianError as error:
            yield Problem("", place, str(error))
