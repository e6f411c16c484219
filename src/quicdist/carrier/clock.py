"""The time of QUIC connections, and their timers.

uvloop's time has whole milliseconds and stands still while callbacks run. A round trip of 0.2 ms would take 0
or 1 ms by it, and a timer would be compared with a time that does not move. So QUIC uses the monotonic clock,
of which the time of a real event loop is an earlier or coarser reading.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from quicdist.carrier.event_loops import is_uvloop
from quicdist.carrier.keepalive import KeepAlive

#: uvloop rounds the time of a timer to whole milliseconds, and it may fire so many seconds early.
_ROUNDING = 0.0005


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The clock for QUIC connections in ``loop``, in seconds."""
    return time.monotonic if KeepAlive.of(loop).real_time else loop.time


def timers_of(
    loop: asyncio.AbstractEventLoop,
) -> Callable[[float, Callable[[], None]], asyncio.TimerHandle]:
    """``call_later`` of ``loop``, but the callback is never called early: a timer that has to be set again
    costs another turn of the event loop."""
    if not is_uvloop(loop):
        return loop.call_later

    def call_later(seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return loop.call_later(seconds + _ROUNDING, callback)

    return call_later
