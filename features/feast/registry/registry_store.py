"""Feast's registry file, replaced atomically: readers never see an incomplete file, and a crash leaves the old one."""

from __future__ import annotations

import os
import uuid

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.utils import _utc_now


class AtomicRegistryStore(FileRegistryStore):  # type: ignore[misc]  # Feast ships no types
    """A registry store that replaces its file; Feast's own truncates it first, so that readers may find no features."""

    def _write_registry(self, registry_proto: Registry) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(_utc_now())
        draft = self._filepath.with_name(f".{self._filepath.name}.{os.getpid()}")
        with draft.open("wb") as file:
            file.write(registry_proto.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._filepath)
