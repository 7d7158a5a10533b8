"""A data set of which only source, name, digest and schema are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MetaDataset:
    """As `mlflow.data.meta_dataset.MetaDataset`, which takes a digest of up to 36 characters."""

    source: Any
    name: str
    digest: str
    schema: Any

    def __post_init__(self) -> None:
        """Refuse a digest that is too long, as MLflow's tracking store does."""
        if len(self.digest) > 36:
            raise ValueError("the digest has more than 36 characters")
