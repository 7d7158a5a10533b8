"""To which element of an array its timestamp belongs."""

from __future__ import annotations

from typing import Literal

Stamp = Literal["first", "last"]
