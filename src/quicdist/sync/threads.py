"""Runs a plain function in a thread, for a coroutine that waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any


async def in_thread(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function`` in a daemon thread and wait for its value. Raises what it raises. If the wait is
    cancelled, the thread goes on, and its outcome is dropped."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        value, error = None, None
        try:
            value = context.run(function, *args)
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, done, value, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    value, error = await done
    if error is not None:
        raise error
    return value


def _settle(
    done: asyncio.Future[tuple[Any, BaseException | None]], value: Any, error: BaseException | None
) -> None:
    if not done.done():
        done.set_result((value, error))
