"""The element of an array to which its timestamp belongs."""

from __future__ import annotations

from typing import Literal

Stamp = Literal["first", "last"]
