"""`penstock training-set`: makes a training set, makes it again to verify it, and compares two of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup

from features.cli import training_answers as answers
from features.cli import training_options as options
from features.cli.options import MEMORY, AddressOption, EngineName, EngineOption, FeatureOption, amount
from features.feast.offline.join_executor import JoinExecutor, join_executor
from features.feast.registry.feast_repo import open_feature_store
from features.training.artefact import read_manifest, write_artefact
from features.training.formats import save
from features.training.known_names import names_of
from features.training.label_source import read_source
from features.training.prepare import Prepared, plan_of, prepare
from features.training.request import Request
from features.training.splits import By, SplitSpec
from features.training.training_set import make, rows_alone
from features.training.verify import Verified, verify
from historian.cli.console import JsonOption, PlantOption, answer, progress, stdout_to_stderr
from historian.cli.options import parse_duration_option
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.times import parse_instant, utc_now

_MAKE: Final = "make"


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
    help="Training sets: LABELS --out OUT makes one; verify makes one again and compares, diff compares two.",
)


@app.command(_MAKE)
def training_set(  # noqa: PLR0913 (a parameter an option)
    labels: options.LabelsArgument,
    plant: PlantOption = Path("plant.toml"),
    *,
    out: options.OutOption,
    as_format: options.FormatOption = None,
    partition_by: options.PartitionByOption = None,
    verified: options.VerifyOption = False,
    feature: FeatureOption = None,
    model_columns: options.ModelColumnsOption = False,
    ages: options.AgesOption = False,
    created_by_label_time: options.CreatedByLabelTimeOption = False,
    as_of: options.AsOfOption = None,
    target: options.TargetOption = None,
    split: options.SplitOption = None,
    shares: options.SharesOption = "70,15,15",
    hold_out: options.HoldOutOption = None,
    seed: options.SeedOption = 0,
    horizon: options.HorizonOption = None,
    force_random: options.ForceRandomOption = False,
    accept_one_class: options.AcceptOneClassOption = False,
    threshold: options.ThresholdOption = 0.95,
    memory: options.MemoryOption = MEMORY,
    engine: EngineOption = EngineName.local,
    address: AddressOption = "auto",
    dry_run: options.DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Join labels with the features as they were at each label's time: one row per label, in the labels' order."""
    if out.suffix:
        options.check_file(out, {"--format": as_format, "--partition-by": partition_by, "--verify": verified})
    request = options.request_of(
        labels=labels.name, features=tuple(feature or ()), model_columns=model_columns, ages=ages, target=target,
        created_by_label_time=created_by_label_time, as_of=parse_instant(as_of, now=utc_now()) if as_of else None,
        split=_split(split, shares, hold_out, seed, forced=force_random), accept_one_class=accept_one_class,
        horizon=parse_duration_option(horizon, "--horizon", zero=True) if horizon is not None else None,
        threshold=threshold, format=as_format or "parquet", partition_by=partition_by,
    )  # fmt: skip
    opened = _Opened(plant, quiet=as_json)
    with _executor(memory, engine, address) as executor:
        prepared = opened.prepare(request, labels.parent, executor)
        result = answers.planned(prepared) if dry_run else opened.write(prepared, out, verified=verified)
    _finish(result, as_json=as_json)


@app.command("verify")
def verify_manifest(
    manifest: options.ManifestArgument,
    plant: PlantOption = Path("plant.toml"),
    *,
    memory: options.MemoryOption = MEMORY,
    engine: EngineOption = EngineName.local,
    address: AddressOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make a training set again from its inputs and the recorded table versions, and compare both byte for byte."""
    opened = _Opened(plant, quiet=as_json)
    with _executor(memory, engine, address) as executor:
        found = opened.verify(manifest, executor)
    _finish(answers.made_again(manifest, found), as_json=as_json)


@app.command()
def diff(one: options.OneArgument, other: options.OtherArgument, *, as_json: JsonOption = False) -> None:
    """List the differences between two training sets: request, inputs, tables, rows, columns."""
    (left, _), (right, _) = map(read_manifest, (one, other))
    record, text = answers.compared(left, right)
    answer(record, text, as_json=as_json)


class _Opened:
    """A plant and its training sets; shows progress on long work."""

    def __init__(self, plant: Path, *, quiet: bool) -> None:
        self._plant: Plant = load_plant(plant)
        self._file = plant / "plant.toml" if plant.is_dir() else plant
        self._quiet = quiet

    def prepare(self, request: Request, directory: Path, executor: JoinExecutor) -> Prepared:
        store = open_feature_store(self._plant)
        source = read_source(request, directory, names_of(self._plant), now=utc_now())
        return prepare(request, source, plan_of(store, self._plant, request, source, executor=executor))

    def write(self, prepared: Prepared, out: Path, *, verified: bool) -> answers.Answer:
        return self._write_rows(prepared, out) if out.suffix else self._write_artefact(prepared, out, verified=verified)

    def _write_rows(self, prepared: Prepared, out: Path) -> answers.Answer:
        with progress("training set", unit="views", total=len(prepared.plan.tables), quiet=self._quiet) as advance:
            table = rows_alone(prepared, advance=advance)
        save(table, out)
        return answers.rows_written(prepared, table, out)

    def _write_artefact(self, prepared: Prepared, out: Path, *, verified: bool) -> answers.Answer:
        with progress("training set", unit="views", total=len(prepared.plan.tables), quiet=self._quiet) as advance:
            # Not kept in a variable: making it again takes as much memory.
            manifest = write_artefact(make(prepared, self._plant, self._file, advance=advance), out)
        found = self.verify(out, prepared.plan.executor) if verified else None
        return answers.artefact_written(manifest, out, found)

    def verify(self, path: Path, executor: JoinExecutor) -> Verified:
        with progress("verify", unit="views", quiet=self._quiet) as advance:
            return verify(path, self._plant, self._file, executor, advance=advance)


def _finish(result: answers.Answer, *, as_json: bool) -> None:
    """Print the answer; exit code 1 if it says that the set is not what it should be."""
    record, text = result
    answer(record, text, as_json=as_json)
    if answers.has_failed(record):
        raise typer.Exit(1)


@contextmanager
def _executor(memory: str, engine: EngineName, address: str) -> Iterator[JoinExecutor]:
    with stdout_to_stderr(), join_executor(amount(memory), address if engine is EngineName.ray else None) as executor:
        yield executor


def _split(by: By | None, shares: str, hold_out: list[str] | None, seed: int, *, forced: bool) -> SplitSpec | None:
    if by:
        return SplitSpec(by, options.shares_of(shares), tuple(hold_out or ()), seed, forced)
    if hold_out:
        raise InvalidInput("--hold-out names the test set; add --split asset or --split episode")
    return None
