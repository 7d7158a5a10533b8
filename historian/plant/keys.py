"""What every table of `plant.toml`, and of other files people write, is made of: a strict model, and names."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Name of a class, point, feature set or asset: it becomes part of column and view names."""


class Model(BaseModel):
    """Base of the models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)
