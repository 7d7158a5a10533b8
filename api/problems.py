"""Conversion of errors to HTTP responses: `{"error": {"code", "message", "problems": [...]}}`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from historian.errors import HistorianError, InvalidInput, Problem

STATUS: Final = {
    "invalid": 422,
    "rejected": 422,
    "refused": 503,
    "not_found": 404,
    "incomplete": 409,
    "unavailable": 503,
    "full": 503,
    "done": 503,
    "internal": 500,
}
"""`HistorianError.code` -> HTTP status; 500 for any other code."""

_CODE: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}

_log = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Register handlers that give every error response of the application the same form."""
    app.add_exception_handler(HistorianError, _historian_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)


def error_response(status: int, code: str, message: str, problems: Sequence[Problem] = ()) -> JSONResponse:
    """Return the response for an error.

    Args:
        status: HTTP status.
        code: code for programs, such as `invalid`.
        message: text for people; may repeat what the caller sent.
        problems: the single problems, if there are several.
    """
    listed = [{"file": problem.file, "place": problem.place, "text": problem.text} for problem in problems]
    return JSONResponse({"error": {"code": code, "message": message, "problems": listed}}, status_code=status)


async def _historian_error(request: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, HistorianError) else "internal"
    status = STATUS.get(code, STATUS["internal"])
    if status == STATUS["internal"]:
        _log.error("%s %s failed with code %s: %s", request.method, request.url.path, code, error)
    problems = error.problems if isinstance(error, InvalidInput) else []
    return error_response(status, code, str(error), problems)


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    details = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [
        Problem(
            "",
            ".".join(str(part) for part in detail["loc"] if part != "[key]"),
            detail["msg"].removeprefix("Value error, "),
        )
        for detail in details
    ]
    return error_response(STATUS["invalid"], "invalid", "\n".join(map(str, problems)), problems)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    message = f"{request.method} {request.url.path}: {detail}" if status in (404, 405) else detail
    return error_response(status, _CODE.get(status, "internal" if status >= 500 else "invalid"), message)


async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
    # The text may name hosts, paths or secrets: it is for the operator's log, not for the caller.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(STATUS["internal"], "internal", "an error in Penstock; its log says which")
