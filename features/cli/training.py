"""`penstock training-set`: makes a training set, makes it again to verify it, and explains two of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from feast import FeatureStore
from pydantic import ValidationError
from typer.core import TyperGroup

from features.cli.options import MEMORY, AddressOption, EngineName, EngineOption, FeatureOption, amount
from features.feast.offline.workers import Workers, workers
from features.feast.registry.feast_repo import open_feature_store
from features.training import artefact
from features.training.export import Prepared, Request, as_table, make, prepare
from features.training.formats import Format, format_of, save
from features.training.manifest import Manifest
from features.training.pinned import doubts
from features.training.splits import SplitSpec
from features.training.training_set import null_rates
from features.training.verdicts import differences, not_known, verdicts
from historian.cli.console import JsonOption, PlantOption, answer, progress, stdout_to_stderr
from historian.errors import InvalidInput
from historian.plant.document import readable_message
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.times import parse_duration, parse_instant, utc_now

_MAKE: Final = "make"
_SUSPECTS_TOLD: Final = 5
Answer = tuple[dict[str, Any], str]
"""For programs, and for people."""

MemoryOption = Annotated[
    str,
    typer.Option(
        help="What looking features up may take, beside labels and features; on Ray, each task: 512MiB, 2GiB."
    ),
]


class _Commands(TyperGroup):
    """`training-set LABELS …` is `training-set make LABELS …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [_MAKE, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Training sets: LABELS --out OUT makes one; verify makes one again and compares, diff explains two.",
)


@app.command(_MAKE)
def training_set(  # noqa: PLR0913 (a parameter an option)
    labels: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet with asset, event_timestamp and any other columns; or a rule (.toml) that makes "
            "labels from events."
        ),
    ],
    plant: PlantOption = Path("plant.toml"),
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="A directory, for data with manifest and report; or a .parquet, .arrow, .arrows or .csv file, "
            "for the rows alone.",
        ),
    ],
    as_format: Annotated[
        Format | None,
        typer.Option(
            "--format", help="parquet, arrow, arrows (a stream) or csv, for a directory's data; parquet if left out."
        ),
    ] = None,
    partition_by: Annotated[
        Literal["asset"] | None, typer.Option(help="asset: each asset's rows are a part of their own, below the split.")
    ] = None,
    verified: Annotated[
        bool,
        typer.Option("--verify", help="Then make it again and compare, as verify does; exit code 1 if it differs."),
    ] = False,
    feature: FeatureOption = None,
    known_then: Annotated[
        bool, typer.Option("--known-then", help="Only what had been computed by each label's time: no corrections.")
    ] = False,
    as_of: Annotated[
        str | None, typer.Option(help="Only what was known at this time: 2026-03-01T00:00:00Z. Events too.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to be predicted; a rule names its own.")] = None,
    split: Annotated[
        Literal["time", "asset", "episode", "random"] | None, typer.Option(help="Adds a column split; see the docs.")
    ] = None,
    shares: Annotated[str, typer.Option(help="Of train, validation and test.")] = "70,15,15",
    hold_out: Annotated[
        list[str] | None, typer.Option(help="An asset or episode that is the test set; any number of times.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which assets or episodes go where.", min=0, max=2**63 - 1)] = 0,
    horizon: Annotated[
        str | None, typer.Option(help="How far the labels of a table look ahead, such as 24h; 0 for not at all.")
    ] = None,
    force_random: Annotated[bool, typer.Option("--force-random", help="Split by row in spite of all.")] = False,
    threshold: Annotated[float, typer.Option(help="The AUC from which on a column is suspected to leak.")] = 0.95,
    memory: MemoryOption = MEMORY,
    engine: EngineOption = EngineName.local,
    address: AddressOption = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count labels and splits; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Joins labels with the features as they were at each label's time: one row a label, in the labels' order."""
    if out.suffix:
        _check_file(out, {"--format": as_format, "--partition-by": partition_by, "--verify": verified})
    if hold_out and not split:
        raise InvalidInput("--hold-out says what the test set is; add --split asset or --split episode")
    spec = SplitSpec(split, _shares(shares), tuple(hold_out or ()), seed, force_random) if split else None
    request = _request(
        labels=labels.name,
        features=tuple(feature or ()),
        target=target,
        known_then=known_then,
        as_of=parse_instant(as_of, now=utc_now()) if as_of else None,
        split=spec,
        horizon=_horizon(horizon),
        threshold=threshold,
        format=as_format or "parquet",
        partition_by=partition_by,
    )
    checked = load_plant(plant)
    store = open_feature_store(checked)
    with _workers(memory, engine, address) as who:
        prepared = prepare(store, checked, request, labels.parent, workers=who)
        if dry_run:
            result = _plan(prepared)
        elif out.suffix:
            result = _file_made(prepared, out, quiet=as_json)
        else:
            with progress("training set", unit="views", total=len(prepared.tables), quiet=as_json) as advance:
                # Not kept: making it again takes as much memory.
                made = artefact.make_all(prepared, checked, _file(plant), advance=advance)
                manifest = artefact.write_artefact(made, out)
                del made
            found = _verified(out, store, checked, _file(plant), who, quiet=as_json) if verified else None
            result = artefact_made(manifest, out, found)
    tell(result, as_json=as_json)


@app.command()
def verify(
    manifest: Annotated[Path, typer.Argument(help="manifest.json of a training set, or its directory.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    memory: MemoryOption = MEMORY,
    engine: EngineOption = EngineName.local,
    address: AddressOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Makes a training set again, from its inputs and the versions its tables had, and compares it byte for byte."""
    checked = load_plant(plant)
    store = open_feature_store(checked)
    with _workers(memory, engine, address) as who:
        found = _verified(manifest, store, checked, _file(plant), who, quiet=as_json)
    record = {"rows": found.rows, "leakage": found.leakage, **_verdict(found)}
    result = record, "\n".join([f"{manifest}: {_verdict_text(found)}", *not_known(found.leakage)])
    tell(result, as_json=as_json)


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(help="A manifest or its directory.")],
    other: Annotated[Path, typer.Argument(help="Another.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Tells in what two training sets differ: request, inputs, tables, rows, columns."""
    left, right = (artefact.read_manifest(path)[0] for path in (one, other))
    found = differences(left, right)
    same = left["content_hash"] == right["content_hash"]
    head = "the same rows and values" if same else "other rows or values"
    answer({"same_content": same, "differences": found}, "\n".join([head, *found]), as_json=as_json)


@contextmanager
def _workers(memory: str, engine: EngineName, address: str) -> Iterator[Workers]:
    with stdout_to_stderr(), workers(amount(memory), address if engine is EngineName.ray else None) as who:
        yield who


def tell(result: Answer, *, as_json: bool) -> None:
    """Prints an answer; exit code 1 if the set came out otherwise, or has values not known at their label's time."""
    record, text = result
    answer(record, text, as_json=as_json)
    if not record.get("verified", True) or ("leakage" in record and not_known(record["leakage"])):
        raise typer.Exit(1)


def _verified(
    path: Path, store: FeatureStore, plant: Plant, plant_file: Path, who: Workers, *, quiet: bool
) -> artefact.Verified:
    with progress("verify", unit="views", quiet=quiet) as advance:
        return artefact.verify(path, store, plant, plant_file, who, advance=advance)


def _verdict(found: artefact.Verified) -> dict[str, object]:
    return {"verified": not found.differences, "differences": found.differences, "moved_on": found.moved_on}


def _verdict_text(found: artefact.Verified) -> str:
    verdict = "not what is written" if found.differences else "the same"
    return "\n".join([f"{found.rows} rows made again, {verdict}", *found.differences, *found.moved_on])


def _check_file(out: Path, options: dict[str, object]) -> None:
    format_of(out)
    if given := [name for name, value in options.items() if value]:
        raise InvalidInput(
            f"{out.name} is a file, the rows alone in the format of its suffix; for {' and '.join(given)} give a "
            f"directory: --out {out.stem}"
        )


def _file(plant: Path) -> Path:
    return plant / "plant.toml" if plant.is_dir() else plant


def _request(**given: Any) -> Request:
    try:
        return Request(**given)
    except ValidationError as error:
        problems = [
            f"--{detail['loc'][0]}: {readable_message(detail['msg'], detail['input'])}" for detail in error.errors()
        ]
        raise InvalidInput("\n".join(problems)) from None


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(f"the shares {text!r} are not three numbers; write 70,15,15") from None
    return train, validation, test


def _horizon(text: str | None) -> timedelta | None:
    try:
        return None if text is None else timedelta(0) if text == "0" else parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"--horizon: {error}") from None


def _plan(prepared: Prepared) -> Answer:
    tables = {name: table.moment.version for name, table in prepared.tables.items()}
    rows = prepared.labels.height
    counts = {**prepared.counts, **{f"purged from {name}": count for name, count in prepared.purged.items()}}
    record = {
        "labels": rows,
        "features": prepared.refs,
        "target": prepared.target,
        "counts": counts,
        "splits": _split_counts(prepared),
        "gap": prepared.gap,
        "table_versions": tables,
        "warnings": _doubts(prepared),
    }
    parts = [f"{rows} labels, {len(prepared.refs)} features of {', '.join(tables)}; nothing was written"]
    parts += [f"  {name}: {count}" for name, count in {**counts, **_split_counts(prepared)}.items()]
    parts += [f"  {warning}" for warning in _doubts(prepared)]
    return record, "\n".join(parts)


def _doubts(prepared: Prepared) -> list[str]:
    return doubts({name: table.moment.found for name, table in prepared.tables.items()})


def _split_counts(prepared: Prepared) -> dict[str, int]:
    if not prepared.purged:
        return {}
    counts = dict(prepared.labels["split"].value_counts().iter_rows())
    return {name: counts.get(name, 0) for name in prepared.purged}


def _file_made(prepared: Prepared, out: Path, *, quiet: bool) -> Answer:
    with progress("training set", unit="views", total=len(prepared.tables), quiet=quiet) as advance:
        table = as_table(prepared, make(prepared, advance=advance))
    save(table, out)
    rates = null_rates(table, prepared.refs)
    missing = sum(rates.values()) / len(rates)
    warnings = _doubts(prepared)
    record = {
        "training_rows": table.num_rows,
        "features": list(rates),
        "null_rate": missing,
        "null_rates": rates,
        **prepared.request.knowledge.told(),
        "warnings": warnings,
        "out": out,
    }
    text = f"{out}: {table.num_rows} rows, {len(rates)} features, {missing:.1%} of their values missing"
    return record, "\n  ".join([text, *warnings])


def artefact_made(manifest: Manifest, out: Path, found: artefact.Verified | None) -> Answer:
    """What is told of an artefact that was written, for programs and for people.

    Args:
        found: What making it again has shown, if that was asked for.
    """
    rows, columns = manifest["rows"], manifest["columns"]
    missing = sum(about["missing"] for about in columns.values()) / len(columns)
    record = {
        "training_rows": rows["total"],
        "rows": rows,
        "features": list(columns),
        "null_rate": missing,
        "target": manifest["target"],
        "corrections": manifest["corrections"],
        "leakage": manifest["leakage"],
        "warnings": verdicts(manifest),
        "content_hash": manifest["content_hash"],
        "out": out,
        **(_verdict(found) if found else {}),
    }
    splits = "".join(f", {count} {name}" for name, count in rows.get("split", {}).items())
    purged = f", {sum(rows['purged'].values())} purged" if "purged" in rows else ""
    lines = [
        f"{out}: {rows['total']} rows{splits}{purged}; {len(columns)} features, {missing:.1%} of their values missing",
        f"  {manifest['leakage']['values_audited']:,} values audited; content {manifest['content_hash'][:16]}",
        *(f"  {warning}" for warning in verdicts(manifest, most=_SUSPECTS_TOLD)),
    ]
    if found:
        lines.append(textwrap.indent(_verdict_text(found), "  "))
    return record, "\n".join(lines)
