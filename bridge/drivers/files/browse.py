"""Lists the names of tags that occur in the tables of an archive of files."""

from __future__ import annotations

import asyncio

import polars as pl

from bridge.drivers.discovery import BrowseLimits, BrowseReport
from bridge.drivers.files.archive import FilesArchive
from historian.plant.connections import ConnectionConfig


async def browse(connection: ConnectionConfig, limits: BrowseLimits) -> BrowseReport:
    """See `discovery.Browse`: names in the column of tags, or columns. The files say no units and no ranges."""
    names, problems = await asyncio.to_thread(FilesArchive(connection).names)
    kept = sorted(names)[: limits.variables]
    more = [f"stopped after {limits.variables:,} names; there are more"] if len(kept) < len(names) else []
    return BrowseReport(pl.DataFrame({"address": kept}, schema={"address": pl.String()}), (*problems, *more))
