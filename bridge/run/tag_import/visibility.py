"""How much of what a historian has is seen: catalogued, mapped and delivering tags of each asset. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bridge.run.tag_import.proposal import Proposal
from historian.plant.connections import Tag


@dataclass(frozen=True)
class Visibility:
    """Numbers of tags of one asset."""

    catalogued: int
    """In the historian's catalogue."""
    mapped: int
    """In a tag list of the plant, too."""
    delivering: int
    """With samples in the store, too."""


NO_ASSET = ""
"""Asset of tags that the naming rule does not place."""


def visibility_of(
    proposal: Proposal, addresses: Collection[str], tags: Mapping[str, Tag], delivering: Collection[str]
) -> dict[str, Visibility]:
    """Return asset -> how much of it is seen, sorted; tags that are in no asset come first.

    Args:
        proposal: says which asset a catalogued tag belongs to, unless a tag list does.
        addresses: the catalogue's addresses.
        tags: address -> the tag of the plant that has it.
        delivering: names of the tags that have samples in the store.
    """
    proposed = {tag.address: tag.asset for tag in proposal.tags}
    assets = {each: tags[each].asset if each in tags else proposed.get(each, NO_ASSET) for each in addresses}
    catalogued = Counter(assets.values())
    mapped = Counter(asset for address, asset in assets.items() if address in tags)
    seen = Counter(asset for address, asset in assets.items() if address in tags and tags[address].name in delivering)
    return {asset: Visibility(catalogued[asset], mapped[asset], seen[asset]) for asset in sorted(catalogued)}
