"""Logs what a server makes of a subscription: what it revises, refuses, and will drop."""

from __future__ import annotations

from typing import Final

from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.link import Link
from bridge.drivers.opcua.security import is_exposed
from historian.logs import get_logger

NAMED: Final = 10
"""Number of tags that a message names."""

log = get_logger(__name__)


class Subscriptions:
    """The log of one source's subscriptions."""

    def __init__(self, source: str, options: Options) -> None:
        self._source = source
        self._options = options
        self._is_exposed = False

    def report(self, link: Link) -> None:
        """Log a new subscription; that the password is sent in plain text is logged once."""
        items = link.items
        log.info(
            "subscribed", source=self._source, tags=len(items.places), profile=link.profile.name, **items.revised()
        )
        for reason, tags in items.reasons().items():
            self._warn("the server refuses nodes; they are requested again every minute", tags, reason=reason)
        self._warn("the server takes no deadband and reports every change", link.unfiltered)
        self._warn(
            "the server's queues are shorter than its publishing interval, so values will be dropped; shorten it",
            items.too_short(),
        )
        if not self._is_exposed and is_exposed(self._options, link.opened.login_policies):
            self._is_exposed = True
            log.warning("the password is sent as plain text; set security", source=self._source)

    def _warn(self, text: str, tags: list[str], **more: str) -> None:
        """Log some of the tags that something concerns, if there are any."""
        if tags:
            log.warning(text, source=self._source, tags=tags[:NAMED], number=len(tags), **more)
