"""From an error to an HTTP answer, once: `{"error": {"code", "message", "problems": [...]}}`."""

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
"""HTTP status for each `HistorianError.code`."""

_CODE: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}

_log = logging.getLogger(__name__)


def add_error_answers(app: FastAPI) -> None:
    """Makes every error of the app answer in the one shape."""
    app.add_exception_handler(HistorianError, _historian_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)


def error_answer(status: int, code: str, message: str, problems: Sequence[Problem] = ()) -> JSONResponse:
    """The body every error has."""
    listed = [{"file": problem.file, "place": problem.place, "text": problem.text} for problem in problems]
    return JSONResponse({"error": {"code": code, "message": message, "problems": listed}}, status_code=status)


async def _historian_error(_: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, HistorianError) else "internal"
    problems = error.problems if isinstance(error, InvalidInput) else []
    return error_answer(STATUS[code], code, str(error), problems)


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    details = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [Problem("", ".".join(map(str, detail["loc"])), detail["msg"]) for detail in details]
    return error_answer(STATUS["invalid"], "invalid", "\n".join(map(str, problems)), problems)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    message = f"{request.method} {request.url.path}: {detail}" if status in (404, 405) else detail
    return error_answer(status, _CODE.get(status, "internal" if status >= 500 else "invalid"), message)


async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
    # The detail is for the operator's log; the caller could do nothing with it.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_answer(500, "internal", "an error in Penstock; its log says which")
