"""Asynchronous methods of an online store that run the synchronous ones in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def in_thread(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, Coroutine[Any, Any, _Result]]:
    """Return an asynchronous method that runs a synchronous one in a thread; arguments, result and errors are its own.

    Args:
        method: The synchronous method, which any thread may call.
    """

    @wraps(method)
    async def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return await asyncio.to_thread(method, *args, **kwargs)

    return run
