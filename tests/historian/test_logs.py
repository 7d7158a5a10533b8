"""The log: text for people, JSON for machines, and no secret in a traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from historian.logs import Format, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(form: Format) -> str:
    """The log of two events and an error; `token` is a local variable of the function that fails."""
    stream = StringIO()
    configure_logging(form, stream=stream)
    log = get_logger("bridge.test")
    log.info("connected", source="line1")
    log.debug("not wanted")
    logging.getLogger("another.package").info("not wanted either")
    logging.getLogger("another.package").warning("be %s", "careful")

    def fail() -> None:
        token = "secret-token"  # noqa: S105 - the very thing that must not show
        raise ValueError(f"{len(token)} characters")

    try:
        fail()
    except ValueError:
        log.exception("a fault", source="line1")
    return stream.getvalue()


def test_text_is_for_people() -> None:
    """A line has time, level, event and fields."""
    connected, careful, fault, *_ = logged("text").splitlines()
    assert "[info     ] connected" in connected
    assert connected.endswith("source=line1")
    assert "be careful" in careful
    assert "[error    ] a fault" in fault


def test_json_is_for_machines() -> None:
    """Each line is an object."""
    first, careful, fault = map(json.loads, logged("json").splitlines())
    assert {key: first[key] for key in ("event", "level", "source")} == {
        "event": "connected",
        "level": "info",
        "source": "line1",
    }
    assert first["timestamp"].endswith("Z")
    assert careful["event"] == "be careful"
    assert "ValueError: 12 characters" in fault["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_trace_shows_no_local_variables(form: Format) -> None:
    """Tokens and passwords may be among them."""
    assert "secret-token" not in logged(form).replace('token = "secret-token"', "")
