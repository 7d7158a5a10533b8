"""The arguments and options of `penstock training-set`, and what their text means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from features.training.formats import Format, format_of
from features.training.request import Request
from features.training.splits import By
from historian.errors import InvalidInput
from historian.plant.document import readable_message

LabelsArgument = Annotated[
    Path,
    typer.Argument(
        help="CSV or Parquet with asset, event_timestamp and any other columns; or a rule (.toml) that makes labels "
        "from events."
    ),
]
ManifestArgument = Annotated[Path, typer.Argument(help="manifest.json of a training set, or its directory.")]
OneArgument = Annotated[Path, typer.Argument(help="A manifest or its directory.")]
OtherArgument = Annotated[Path, typer.Argument(help="Another.")]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="A directory, for data with manifest and report; or a .parquet, .arrow, .arrows or .csv file, for the "
        "rows alone.",
    ),
]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", help="parquet, arrow, arrows (a stream) or csv, for a directory's data; parquet if left out."
    ),
]
PartitionByOption = Annotated[
    Literal["asset"] | None, typer.Option(help="asset: each asset's rows in a part of their own, below the split.")
]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Then make it again and compare, as verify does; exit code 1 if it differs.")
]
ModelColumnsOption = Annotated[
    bool,
    typer.Option(
        "--model-columns", help="Only features that are numbers a model can take: no texts, flags and quality columns."
    ),
]
AgesOption = Annotated[
    bool, typer.Option("--ages", help="Adds VIEW__age_s for each view: how old its row was at the label's time.")
]
CreatedByLabelTimeOption = Annotated[
    bool,
    typer.Option(
        "--created-by-label-time", help="Only feature rows created by each label's time: no later corrections."
    ),
]
AsOfOption = Annotated[
    str | None, typer.Option(help="Only what was known at this time: 2026-03-01T00:00:00Z. Events too.")
]
TargetOption = Annotated[str | None, typer.Option(help="The column to be predicted; a rule names its own.")]
SplitOption = Annotated[By | None, typer.Option(help="Adds a column split; see the docs.")]
SharesOption = Annotated[str, typer.Option(help="Of train, validation and test.")]
HoldOutOption = Annotated[
    list[str] | None, typer.Option(help="An asset or episode that is the test set; any number of times.")
]
SeedOption = Annotated[int, typer.Option(help="Which assets or episodes go where.", min=0, max=2**63 - 1)]
HorizonOption = Annotated[
    str | None, typer.Option(help="How far the labels of a table look ahead, such as 24h; 0 for not at all.")
]
ForceRandomOption = Annotated[bool, typer.Option("--force-random", help="Split by row although that leaks.")]
AcceptOneClassOption = Annotated[
    bool, typer.Option("--accept-one-class", help="Accept a train split without a positive label.")
]
ThresholdOption = Annotated[float, typer.Option(help="The AUC from which on a column is suspected to leak.")]
MemoryOption = Annotated[
    str,
    typer.Option(
        help="Memory for looking features up, without labels and features themselves; on Ray, for each task: 512MiB, "
        "2GiB."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count labels and splits; write nothing.")]


def request_of(**given: Any) -> Request:
    """Return the request, or name the options that are wrong.

    Args:
        given: The fields of `Request`.

    Raises:
        InvalidInput: a value is out of range.
    """
    try:
        return Request(**given)
    except ValidationError as error:
        problems = [
            f"--{detail['loc'][0]}: {readable_message(detail['msg'], detail['input'])}" for detail in error.errors()
        ]
        raise InvalidInput("\n".join(problems)) from None


def check_file(out: Path, options: dict[str, object]) -> None:
    """Raise `InvalidInput` if options of a directory are given for a file.

    Args:
        out: A file.
        options: Their values by name.
    """
    format_of(out)
    if given := [name for name, value in options.items() if value]:
        raise InvalidInput(
            f"{out.name} is a file, the rows alone in the format of its suffix; for {' and '.join(given)} give a "
            f"directory: --out {out.stem}"
        )


def shares_of(text: str) -> tuple[float, float, float]:
    """Return the shares of train, validation and test.

    Args:
        text: Three numbers with commas: `70,15,15`.

    Raises:
        InvalidInput: it is something else.
    """
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(f"the shares {text!r} are not three numbers; write 70,15,15") from None
    return train, validation, test
