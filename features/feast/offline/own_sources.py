"""The files that feature views are read from: a data set saved over them would replace the history of features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from feast import FeatureView
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.registry.base_registry import BaseRegistry

from features.feast.offline.file_tables import location

_WILDCARDS: Final = ("*", "?", "[")


class OwnSources:
    """The sources of the views of a retrieval, and of everything registered when they are looked at."""

    def __init__(
        self, registry: BaseRegistry, project: str, views: Iterable[FeatureView], repo_path: Path | None
    ) -> None:
        self._registry, self._project, self._repo_path = registry, project, repo_path
        self._views = list(views)

    def check(self, path: Path) -> None:
        """Check that writing to a path leaves every source as it is.

        Args:
            path: Where a file or a directory is to be written.

        Raises:
            ValueError: it is a source, lies within one, or contains one; the message names view and path.
        """
        target = path.resolve()
        for owner, source in self._sources():
            if isinstance(source, FileSource) and _touches(target, location(source, self._repo_path)):
                raise ValueError(
                    f"{path} is the source of {owner}, or part of it: saving there would replace the history of its "
                    f"features. Save to another path"
                )

    def _sources(self) -> Iterator[tuple[str, DataSource]]:
        registered = self._registry.list_all_feature_views(self._project, allow_cache=False)
        for view in (*self._views, *registered):
            yield from ((f"feature view {view.name}", source) for source in _sources_of(view))
        for source in self._registry.list_data_sources(self._project, allow_cache=False):
            yield f"data source {source.name}", source


def _sources_of(view: Any) -> Iterator[DataSource]:
    """Yield the batch source of a view; an on-demand view has none of its own."""
    source = getattr(view, "batch_source", None)
    if source is not None:
        yield source


def _touches(target: Path, source: str) -> bool:
    """Return whether a path is a source, in one, or around one. `*` of a glob counts as any number of directories."""
    if "://" in source:
        return False
    if any(wildcard in source for wildcard in _WILDCARDS):
        fixed = next(part for part in Path(source).parents if not any(each in str(part) for each in _WILDCARDS))
        below = fixed.resolve() / Path(source).relative_to(fixed)
        return fnmatch(str(target), str(below)) or below.is_relative_to(target)
    own = Path(source).resolve()
    return target.is_relative_to(own) or own.is_relative_to(target)
