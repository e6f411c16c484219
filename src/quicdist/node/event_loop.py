"""Which event loop a program runs on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
with contextlib.suppress(ImportError):
    import uvloop

    new_event_loop = uvloop.new_event_loop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """What :func:`asyncio.run` does, on uvloop where it is installed (``pip install quicdist[uvloop]``), and
    on asyncio's own event loop elsewhere; the value of ``main``. A node runs on either, and on any
    other that has ``add_reader``."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
