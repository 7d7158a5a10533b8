"""Feature vectors that Feast computes in advance for a feature service: refused, because they ignore the ttl.

Feast keeps one blob per entity, returns the values of a view past its ttl, and replaces every event timestamp by the
time the vector was computed at. Both online stores refuse them, for synchronous and asynchronous lookups alike.
"""

from __future__ import annotations

from typing import Any, NoReturn

from feast import RepoConfig

from historian.errors import NotOffered


def refuse_vectors(_store: object, _config: RepoConfig, feature_service_name: str, *_: Any, **__: Any) -> NoReturn:
    """Refuse to read or write vectors of a feature service; stands for both methods of an online store.

    Raises:
        NotOffered: always; the message names the service.
    """
    raise NotOffered(
        f"the feature service {feature_service_name} has precompute_online, which this online store does not offer: "
        f"such vectors hold values past their ttl, without their times. Set precompute_online=False"
    )
