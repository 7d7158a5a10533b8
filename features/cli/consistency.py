"""`penstock consistency` and `penstock drift`: is what is served what models were trained on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from features.feast.online.consistency import VERDICTS, consistency_since
from features.feast.online.drift import Drift
from features.feast.online.drift import drift as drifts
from features.feast.online.drift_source import live_values, training_values
from features.feast.registry.feast_repo import open_feature_store
from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.times import parse_instant, utc_now


def consistency(
    plant: PlantOption = Path("plant.toml"),
    *,
    since: Annotated[str, typer.Option(help="Values served at or after: 2026-03-01T00:00:00Z, now-2h.")] = "now-1d",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="The share of wrong values that is accepted of any feature.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Recompute served values offline and count which match. Exit code 1 if more than the threshold are wrong.

    Stale values were right for their window, but a newer one was known by then: materialise more often. Needs `[online]
    log` in the plant file.
    """
    checked = load_plant(plant)
    start = parse_instant(since, now=utc_now())
    found = consistency_since(open_feature_store(checked), checked, start)
    wrong = found.wrong(threshold)
    record = {
        "since": start,
        "values": found.values,
        "wrong": wrong,
        "features": found.features.to_dicts(),
        "left_out": list(found.left_out),
    }
    left_out = [f"{ref} is no longer registered; what was served of it was left out" for ref in found.left_out]
    answer(record, "\n".join([*_consistency_lines(found.features), *left_out]), as_json=as_json)
    if wrong:
        raise typer.Exit(1)


def drift(
    training: Annotated[Path, typer.Argument(help="A training set: a directory or a file, in any format.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    since: Annotated[str, typer.Option(help="Feature rows at or after: 2026-03-01T00:00:00Z, now-7d.")] = "now-7d",
    psi: Annotated[float, typer.Option(min=0, help="Most population stability index.")] = 0.25,
    ks: Annotated[float, typer.Option(min=0, max=1, help="Most Kolmogorov-Smirnov distance.")] = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Compare a training set's features with the feature rows since then. Exit code 1 if any has drifted.

    Numbers and flags by PSI over the training set's deciles and by KS, words by PSI over the words.
    """
    checked = load_plant(plant)
    start = parse_instant(since, now=utc_now())
    store = open_feature_store(checked)
    before = training_values(store, training)
    found = drifts(before, live_values(store, list(before), start), most_psi=psi, most_ks=ks)
    drifted = [each.feature for each in found if each.drifted]
    record = {"since": start, "drifted": drifted, "features": [*map(asdict, found)]}
    answer(record, "\n".join(_drift_lines(found)), as_json=as_json)
    if drifted:
        raise typer.Exit(1)


def _consistency_lines(found: pl.DataFrame) -> list[str]:
    head = f"{'feature':48} {'values':>8} " + " ".join(f"{verdict:>9}" for verdict in VERDICTS)
    rows = [
        f"{row['feature']:48} {row['values']:>8} " + " ".join(f"{row[verdict]:>9}" for verdict in VERDICTS)
        for row in found.to_dicts()
    ]
    return [head, *rows]


def _drift_lines(found: Sequence[Drift]) -> list[str]:
    rows = [
        f"{each.feature:48} {each.training:>9} {each.live:>9} {_number(each.psi)} {_number(each.ks)}"
        f"{'  drifted' if each.drifted else ''}"
        for each in found
    ]
    return [f"{'feature':48} {'training':>9} {'live':>9} {'PSI':>8} {'KS':>8}", *rows]


def _number(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value:8.3f}"
