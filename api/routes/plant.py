"""Is the server up, is it ready, and what is in the plant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.deps import Served, Service
from api.models import AssetState, Health, Latest, TagState
from api.problems import STATUS, error_answer
from features.feast.feature_refs import service_refs
from features.feast.online.lookup import online_response
from historian.errors import HistorianError, Problem
from historian.plant.connections import ConnectionConfig
from historian.quality import quality_name

router = APIRouter(tags=["plant"])


@router.get("/healthz")
async def healthz() -> Health:
    """The process is up."""
    return Health()


@router.get("/readyz", response_model=Health)
def readyz(service: Served) -> Health | JSONResponse:
    """Samples can be read, features are registered, and the online store answers; else 503 with the reasons."""
    problems = list(_unready(service))
    if problems:
        return error_answer(STATUS["unavailable"], "unavailable", "\n".join(map(str, problems)), problems)
    return Health()


@router.get("/v1/tags")
def tags(service: Served) -> list[TagState]:
    """Every tag of the plant with its newest sample."""
    plant = service.plant
    newest = {row["tag"]: row for row in service.samples.latest(list(plant.tags)).to_dicts()}
    return [
        TagState(
            tag=tag.name,
            asset=tag.asset,
            point=tag.point,
            kind=tag.kind,
            unit=tag.unit,
            sources=_feeds_of(tag.name, plant.sources),
            archives=_feeds_of(tag.name, plant.archives),
            latest=_latest(newest[tag.name]) if tag.name in newest else None,
        )
        for tag in plant.tags.values()
    ]


@router.get("/v1/assets")
def assets(service: Served) -> list[AssetState]:
    """Every asset of the plant with its points and feature views."""
    plant = service.plant
    filled = {(tag.asset, tag.point): tag.name for tag in plant.tags.values()}
    return [
        AssetState(
            asset=name,
            asset_class=asset.asset_class,
            owner=asset.owner,
            points={point: filled.get((name, point)) for point in plant.classes[asset.asset_class].points},
            views=[view.name for view in plant.views.values() if view.asset_class == asset.asset_class],
        )
        for name, asset in plant.assets.items()
    ]


def _feeds_of(tag: str, feeds: Mapping[str, ConnectionConfig]) -> list[str]:
    return [name for name, feed in feeds.items() if any(fed.name == tag for fed in feed.tags)]


def _latest(row: Mapping[str, object]) -> Latest:
    return Latest.model_validate({**row, "quality": quality_name(int(str(row["quality"])))})


def _unready(service: Service) -> Iterator[Problem]:
    checks = {"samples": _read_samples, "features": _read_features}
    for place, check in checks.items():
        try:
            check(service)
        except HistorianError as error:
            yield Problem("", place, str(error))


def _read_samples(service: Service) -> None:
    service.samples.latest(list(service.plant.tags)[:1])


def _read_features(service: Service) -> None:
    """Looks one feature of one asset up, if the plant has any."""
    asset = next(iter(service.plant.assets))
    for view in service.plant.views.values():
        refs = service_refs(service.feature_store, view.asset_class)
        online_response(service.feature_store, refs[:1], [asset], full_feature_names=False, now=service.clock())
