"""A proposal as files that the plant file takes: a tag list, tables for plant.toml, metadata, events. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import polars as pl

from bridge.drivers.catalogue import EVENTS, VARIABLES, completed
from bridge.run.tag_import.proposal import NotCarried, Proposal, ProposedPoint
from historian.times import format_instant

_INSTANT: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"


def tag_list(proposal: Proposal) -> pl.DataFrame:
    """Return the tag list; `since` only if a tag has it."""
    rows = [
        (tag.tag, tag.asset, tag.point, tag.address, format_instant(tag.since) if tag.since else None)
        for tag in proposal.tags
    ]
    frame = pl.DataFrame(rows, dict.fromkeys(("tag", "asset", "point", "address", "since"), pl.String), orient="row")
    return frame if frame["since"].count() else frame.drop("since")


def plant_tables(proposal: Proposal) -> str:
    """Return classes and assets as tables of plant.toml."""
    lines = ["# proposed by penstock import-tags: what the historian knows; complete kinds, ranges and features\n"]
    for asset_class in dict.fromkeys(proposal.assets.values()):
        lines.append(f"[classes.{asset_class}.points]")
        points = {point: each for (owner, point), each in proposal.points.items() if owner == asset_class}
        lines += [f"{point} = {{ {_keys(each)} }}" for point, each in sorted(points.items())]
        lines.append("")
    for asset, asset_class in proposal.assets.items():
        lines += [f"[assets.{asset}]", f'class = "{asset_class}"']
        facts = {point: each for (owner, point), each in proposal.differing.items() if owner == asset}
        lines += [f"points.{point} = {{ {_facts(each)} }}" for point, each in sorted(facts.items()) if _facts(each)]
        lines.append("")
    return "\n".join(lines)


def _keys(point: ProposedPoint) -> str:
    facts = _facts(point)
    return f'kind = "{point.kind}", unit = {json.dumps(point.unit, ensure_ascii=False)}' + (
        f", {facts}" if facts else ""
    )


def _facts(point: ProposedPoint) -> str:
    """Return the keys that may differ from asset to asset."""
    limits = f"range = [{point.range[0]!r}, {point.range[1]!r}]" if point.range else ""
    listed = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in point.states.items())
    return ", ".join(part for part in (limits, f"states = {{ {listed} }}" if listed else "") if part)


def metadata(proposal: Proposal, catalogue: pl.DataFrame) -> pl.DataFrame:
    """Return everything the catalogue says of each proposed tag: `tag`, then columns of `VARIABLES`."""
    rows = [(tag.tag, tag.address) for tag in proposal.tags]
    names = pl.DataFrame(rows, {"tag": pl.String, "address": pl.String}, orient="row")
    found = names.join(completed(catalogue, VARIABLES), on="address", how="left", maintain_order="left")
    return found.with_columns(pl.col("since").dt.strftime(_INSTANT))


def events_table(events: pl.DataFrame, proposal: Proposal) -> tuple[pl.DataFrame, list[NotCarried]]:
    """Return events as the table that labels are derived from, and those that belong to no asset.

    Args:
        events: some or all columns of `EVENTS`.
        proposal: the tags and the elements of the hierarchy.

    Returns:
        `asset`, `kind`, `happened_at`, `known_at`, `end`, `tag` and `text`; and what was left out.
    """
    rows = completed(events, EVENTS).sort("start", maintain_order=True)
    by_address: Mapping[str, tuple[str, str]] = {tag.address: (tag.asset, tag.tag) for tag in proposal.tags}
    by_path = {path: proposal.asset_of(path) for path in rows["path"].drop_nulls().unique()}
    owners = [
        by_address.get(address or "", (by_path.get(path or ""), None))
        for address, path in rows.select("address", "path").iter_rows()
    ]
    placed = rows.with_columns(
        pl.Series("asset", [asset for asset, _ in owners], pl.String),
        pl.Series("tag", [tag for _, tag in owners], pl.String),
    )
    lost = placed.filter(pl.col("asset").is_null()).group_by("address", "path", maintain_order=True).len()
    left_out = [
        NotCarried(address or path or "", "events", f"{count} of them belong to no asset of the proposal")
        for address, path, count in lost.iter_rows()
    ]
    times = (pl.col(name).dt.strftime(_INSTANT) for name in ("happened_at", "known_at", "end"))
    table = placed.filter(pl.col("asset").is_not_null()).rename({"start": "happened_at"})
    return table.select("asset", "kind", *times, "tag", "text"), left_out
