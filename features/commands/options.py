"""Options that several commands of the feature store take."""

from __future__ import annotations

from typing import Annotated

import typer

FeatureOption = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", help="VIEW:NAME, any number of times; all features of the class if left out."),
]
