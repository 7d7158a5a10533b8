"""Logging: an event, its level, the time, and key=value fields; as text for people or as JSON for machines.

A logger is `get_logger(__name__)`; an event is a short sentence that stays the same, and what varies goes into fields:
`log.warning("connection lost", source="line1", reason="…")`. Only the commands decide where it goes.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final, Literal, TextIO

import structlog

Format = Literal["text", "json"]
_OURS: Final = ("historian", "bridge", "features", "api")

_SHARED: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose events go to the standard library's logger of that name."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure_logging(form: Format | None = None, *, stream: TextIO | None = None) -> None:
    """Send our events of level INFO and above, and other packages' warnings, to a stream.

    Args:
        form: text, or one JSON object per line; if None, the value of the variable `PENSTOCK_LOG`, or text.
        stream: standard error if None.
    """
    form = form or ("json" if os.environ.get("PENSTOCK_LOG") == "json" else "text")
    logging.getLogger().handlers[:] = [_handler(form, stream or sys.stderr)]
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def _handler(form: Format, stream: TextIO) -> logging.Handler:
    renderer: Any = structlog.processors.JSONRenderer()
    if form == "text":
        # Plain tracebacks: richer ones show local variables, which may hold secrets.
        trace = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0, exception_formatter=trace)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if form == "json" else []),
                renderer,
            ],
        )
    )
    return handler


structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=False,
)
