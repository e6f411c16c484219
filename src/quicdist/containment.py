"""Running code of the program, such as a handler or a callback: what leaves it goes no further.

On a BEAM an exception ends one process. In Python some exceptions are made to end more: ``SystemExit``
stops the event loop out of a task, ``CancelledError`` passes by ``except Exception``. Only
``KeyboardInterrupt`` gets through here, which is meant for the whole program.

Plain functions are called with the same rule spelled out::

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


async def settle(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Await code of the program: its value and None, or None and whatever it raised.

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


def contained(logger: Logger, what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the program of which nobody waits for an answer; what it raises is logged as
    a failure of ``what``. Returns its value, None where it raised."""
    try:
        return function(*args)
    except KeyboardInterrupt:
        raise
    except BaseException:
        logger.exception("%s failed", what)
        return None


def dispose(result: Any) -> None:
    """Let go of what code of the program returned and nobody is going to await."""
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
