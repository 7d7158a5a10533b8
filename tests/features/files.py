"""The contents of files and directories."""

from __future__ import annotations

from pathlib import Path


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of every file below a directory by its path in it."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted([path, *path.rglob("*")])
        if file.is_file()
    }
