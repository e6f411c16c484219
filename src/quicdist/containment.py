"""Runs code of the program, such as a handler or a callback, and contains its exceptions.

On a BEAM an exception ends one process. In Python some exceptions end more: ``SystemExit`` in a task stops
the event loop, and ``except Exception`` does not catch ``CancelledError``. Only ``KeyboardInterrupt``, which
is meant for the whole program, passes through here.

Plain functions are called by the same rule, written out::

    try:
        function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        ...
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from quicdist.logs import Logger

#: Characters kept of an exception's text: it crosses the wire with every link and monitor.
_TEXT = 4096
#: Seconds within which cancelled code has to end; then it is abandoned.
CANCEL_TIME = 1.0


async def settle(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Await code of the program: its value and None, or None and the exception that it raised.

    The cancellation of the task that waits here passes through; a ``CancelledError`` that the code
    raised by itself, such as that of another task, does not.
    """
    try:
        return await awaitable, None
    except KeyboardInterrupt:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None, error
    except BaseException as error:
        return None, error


class NotReturned(Exception):
    """Code of the program did not return in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it did not return within {seconds:g} s")


async def settle_within(function: Callable[[], Any], seconds: float) -> tuple[Any, BaseException | None]:
    """Call code of the program in a new task, and await its result if that is awaitable, for at most
    ``seconds``: its value and None, or None and the exception that it raised, :class:`NotReturned` if it was
    too slow. Code that ignores its cancellation is abandoned."""
    task = asyncio.ensure_future(settle(_called(function)))
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            value: tuple[Any, BaseException | None] = task.result()
            return value
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_TIME)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_TIME)
        raise
    return None, NotReturned(seconds)


async def _called(function: Callable[[], Any]) -> Any:
    result = function()
    return await result if inspect.isawaitable(result) else result


def contained(logger: Logger, what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the program; an exception is logged as a failure of ``what``. Returns its value,
    or None after an exception."""
    try:
        return function(*args)
    except KeyboardInterrupt:
        raise
    except BaseException:
        logger.exception("%s failed", what)
        return None


def dispose(result: Any) -> None:
    """Close a coroutine that code of the program returned and that will not be awaited."""
    if inspect.iscoroutine(result):
        result.close()


def describe(error: BaseException) -> str:
    """The text of an exception, whatever its own ``__str__`` does."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as failed:
        return f"<no text: its __str__ raised {type(failed).__qualname__}>"
    return text.encode("utf-8", "replace")[:_TEXT].decode("utf-8", "ignore")
