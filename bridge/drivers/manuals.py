"""What a driver's folder says about it: its manual, its keys and columns, and a sample plant that uses it.

The manual is the docstring of the driver's module. The sample is `sample.toml` next to it, a whole plant file, and
`sample.csv`, the tag list that it names.
"""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files

from historian.plant.described import Key, keys_of
from historian.plant.drivers import driver_module, find_driver


@dataclass(frozen=True)
class Manual:
    """A driver, described."""

    name: str
    sections: tuple[str, ...]
    """Where it can be used: `sources`, `archives` or both."""
    text: str
    """The manual; its first line is a summary."""
    options: tuple[Key, ...]
    """Keys of its table in plant.toml."""
    columns: tuple[Key, ...]
    """Columns that it adds to the tag list."""
    plant: str
    """A plant file that uses it; empty if its folder has no sample."""
    tags: str
    """The tag list that the plant file names."""

    @property
    def summary(self) -> str:
        """The first sentence of the manual."""
        return " ".join(self.text.split("\n\n")[0].split())

    @property
    def tags_path(self) -> str:
        """Path of the tag list, relative to the plant file; empty without a sample."""
        plant = tomllib.loads(self.plant)
        named = [table["tags"] for section in self.sections for table in plant.get(section, {}).values()]
        return str(named[0]) if named else ""


def manual_of(name: str) -> Manual:
    """Return the manual of an installed driver.

    Raises:
        ValueError: there is no such driver; the message lists those that are installed.
    """
    driver = find_driver(name)
    module = import_module(driver_module(name))
    package = module.__name__.rpartition(".")[0]
    return Manual(
        name,
        tuple(section for section in ("sources", "archives") if driver.offers(section)),
        inspect.cleandoc(module.__doc__ or ""),
        tuple(keys_of(driver.options.model_json_schema())),
        tuple(keys_of(driver.address.model_json_schema())),
        _sample(package, "sample.toml"),
        _sample(package, "sample.csv"),
    )


def _sample(package: str, name: str) -> str:
    """Return a file of the driver's package; empty if it has none."""
    file = files(package) / name if package else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
