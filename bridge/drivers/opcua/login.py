"""Keeps a wrong password from locking the account: what a server has refused is not sent again soon. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from bridge.drivers.opcua.driver import Options
from bridge.drivers.opcua.security import password_of
from historian.errors import ConfigError, NotConnected

PAUSE: Final = timedelta(hours=1)
"""After which a refused login is tried again: servers that lock an account count failures for less than that."""


class LoginGuard:
    """Remembers which login a server has refused, and when."""

    def __init__(self, options: Options, root: Path) -> None:
        self._options = options
        self._root = root
        self._refused = ""
        self._until = datetime.min.replace(tzinfo=UTC)
        self._reason = ""

    def check(self, now: datetime) -> None:
        """Raise `NotConnected` if the present login was refused within the last hour; another one may be tried."""
        if self._refused and self._refused == self._login() and now < self._until:
            raise NotConnected(self._reason)

    def refused(self, error: NotConnected, now: datetime) -> NotConnected:
        """Take note that the present login was refused; return the error to report."""
        self._refused, self._until = self._login(), now + PAUSE
        self._reason = (
            f"{error}; it is not tried again before {self._until:%H:%M} UTC, so that the account is not locked, unless "
            "the password or certificate changes, or the bridge is restarted"
        )
        return NotConnected(self._reason)

    def _login(self) -> str:
        """Return a hash of what is sent to log in."""
        options = self._options
        try:
            parts = [options.username, password_of(options, self._root)]
            names = [name for name in (options.user_certificate, options.user_key) if name is not None]
            parts += [(self._root / name).read_bytes().hex() for name in names]
        except (OSError, ConfigError):
            return ""  # connecting reports the file
        return sha256(repr(parts).encode()).hexdigest()
