"""Values of command-line options that typer does not parse itself."""

from __future__ import annotations

from datetime import timedelta

from historian.errors import InvalidInput
from historian.times import parse_duration


def parse_duration_option(text: str, option: str, *, zero: bool = False) -> timedelta:
    """Parse a duration that was given on a command line.

    Args:
        text: such as `10m`.
        option: name of the option, for the message.
        zero: whether `0` is allowed.

    Raises:
        InvalidInput: it is not a duration; names the option.
    """
    if zero and text == "0":
        return timedelta(0)
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"{option}: {error}") from None
