"""Reports a blocked event loop: code that computes or waits in it stops every node of that loop.

Each event loop that has a node is watched by one thread, from the first node's start to the last one's
stop. The loop sets a time stamp four times within :data:`STANDSTILL_TIME`; the thread checks its age.
While the loop is blocked, the thread also keeps the connections alive (:mod:`quicdist.carrier.keepalive`).
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from quicdist.carrier.keepalive import KeepAlive
from quicdist.logs import Lines, RateLimit, get_logger
from quicdist.node.histogram import Histogram

log = get_logger("quicdist.node.loop")

#: Seconds after which an event loop that has run nothing counts as blocked.
STANDSTILL_TIME: Final = 1.0
#: Time stamps within that time, and so the precision of the measurement.
BEATS: Final = 4
#: Frames of the stack that a report shows, the innermost ones.
MAX_FRAMES: Final = 20

#: Files whose frames are not the program's: of this package and of the event loop.
_PACKAGE: Final = str(Path(__file__).parents[1])
_EVENT_LOOP: Final = (str(Path(asyncio.__file__).parent), selectors.__file__)


class _Report(NamedTuple):
    """The report of a blocked loop whose last time stamp is ``since``."""

    since: float
    function: str
    #: False if the rate limit left it out.
    logged: bool


class LoopWatch:
    """Watches the event loop of the thread that makes it; :func:`acquire` gives the one of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, standstill_time: float = STANDSTILL_TIME) -> None:
        self.standstill_time = standstill_time
        #: The nodes in this loop, which the report names.
        self.nodes: list[str] = []
        self._loop = loop
        self._thread_id = threading.get_ident()
        self._interval = standstill_time / BEATS
        self._callbacks: list[Callable[[float], object]] = []
        self._limit = RateLimit()
        self._over = threading.Event()
        #: The last time stamp of the loop. Each thread writes its own attributes only. A report of the
        #: watching thread names the time stamp it is about, because the loop may run again meanwhile.
        self._beaten = time.monotonic()
        #: By how much the loop was late, at each time stamp.
        self.lag = Histogram()
        self._report: _Report | None = None
        self._not_running: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if not KeepAlive.of(loop).real_time:
            return  # Simulated time does not pass while the loop is blocked.
        self._timer = loop.call_later(self._interval, self._beat)
        threading.Thread(target=self._watch, name="quicdist loop watch", daemon=True).start()

    def on_standstill(self, callback: Callable[[float], object]) -> Callable[[], None]:
        """Call ``callback`` while the loop is blocked, **in the thread of the watch**, with the seconds
        since the loop last ran: first after ``standstill_time``, then four times in each further
        ``standstill_time``. A loop that does not run at all counts as blocked. What it raises is logged.
        The function returned ends the calls."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def stop(self) -> None:
        """End the watch, from the loop's thread."""
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    # -- in the loop's thread ------------------------------------------------------------------

    def _beat(self) -> None:
        now = time.monotonic()
        before, self._beaten = self._beaten, now
        self.lag.observe(max(0.0, now - before - self._interval))
        self._timer = self._loop.call_later(self._interval, self._beat)
        stood = now - before
        report = self._report
        if report is not None and report.since == before:
            if report.logged:
                self._say(f"was blocked for {stood:.1f} s{_in(report.function)}", stood, report.function)
        elif stood > self.standstill_time and self._not_running != before:
            # The other thread did not run either: an extension held the interpreter, or the whole
            # process was stopped.
            note = self._limit.admit()
            if note is not None:
                self._say(f"was blocked for {stood:.1f} s, and so were all other threads{note}", stood)

    # -- in the thread of the watch --------------------------------------------------------------

    def _watch(self) -> None:
        wait = self.standstill_time
        while not self._loop.is_closed():
            asked = time.monotonic()
            if self._over.wait(wait):
                return
            now, beaten = time.monotonic(), self._beaten
            # A thread that has slept for too long lets the loop run first.
            overslept = now - asked > wait + self._interval
            late = now - beaten - self.standstill_time
            if not self._loop.is_running():
                self._not_running = beaten
            elif late >= 0 and not overslept:
                self._report_once(beaten)
            if late >= 0:
                self._call_back(beaten)
                late = 0.0
            wait = max(-late, self._interval)

    def _report_once(self, beaten: float) -> None:
        if self._report is not None and self._report.since == beaten:
            return
        frames = self._frames()
        if self._beaten != beaten or not frames or _is_of_event_loop(frames[-1]):
            return
        function = _blocking_function(frames)
        note = self._limit.admit(function)
        self._report = _Report(beaten, function, note is not None)
        if note is not None:
            stack = "".join(traceback.format_list(_summary(frames))).rstrip()
            seconds = time.monotonic() - beaten
            what = (
                f"has been blocked for {seconds:.1f} s{_in(function)}: no process of its nodes runs. Run "
                f"long work in a thread (asyncio.to_thread, or blocking=True for an exported function){note}"
            )
            # The loop may be blocked in a logging handler, which then holds its lock.
            say = threading.Thread(
                target=self._say,
                args=(what, seconds, function, stack),
                name="quicdist loop report",
                daemon=True,
            )
            say.start()

    def _call_back(self, beaten: float) -> None:
        for callback in list(self._callbacks):
            try:
                callback(time.monotonic() - beaten)
            except BaseException:
                log.exception("%r failed while the event loop was blocked", callback)

    def _say(self, what: str, seconds: float, function: str = "", stack: str = "") -> None:
        log.warning(
            "the event loop of %s %s%s%s",
            ", ".join(self.nodes),
            what,
            Lines("\n" if stack else ""),
            Lines(stack),
            extra={"nodes": list(self.nodes), "seconds": seconds, "function": function, "stack": stack},
        )

    def _frames(self) -> list[FrameType]:
        """The frames that the loop's thread runs now, outermost first."""
        frames = []
        frame = sys._current_frames().get(self._thread_id)
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        return frames[::-1]


def _in(function: str) -> str:
    return f" in {function}" if function else ""


def _is_of_event_loop(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_EVENT_LOOP)


def _blocking_function(frames: list[FrameType]) -> str:
    """The function of the program that the event loop or this package has called: an exported one, a
    callback, the body of a process. Empty where there is none."""
    name = ""
    ours = False
    for frame in frames:
        was_ours, ours = ours, _is_of_event_loop(frame) or frame.f_code.co_filename.startswith(_PACKAGE)
        if was_ours and not ours:
            module = frame.f_globals.get("__name__", "?")
            name = f"{module}.{frame.f_code.co_qualname}"
    return name


def _summary(frames: list[FrameType]) -> traceback.StackSummary:
    """The innermost frames that the event loop has called."""
    start = max((index + 1 for index, frame in enumerate(frames) if _is_of_event_loop(frame)), default=0)
    shown = frames[start:][-MAX_FRAMES:]
    return traceback.StackSummary.extract((frame, frame.f_lineno) for frame in shown)


#: The watch of each event loop that has a node.
_watches: dict[asyncio.AbstractEventLoop, LoopWatch] = {}


def acquire(node: str) -> LoopWatch:
    """The watch of the running event loop, for a node that starts in it."""
    loop = asyncio.get_running_loop()
    watch = _watches.get(loop)
    if watch is None:
        for old in [old for old in _watches if old.is_closed()]:
            del _watches[old]
        watch = _watches[loop] = LoopWatch(loop)
        watch.on_standstill(KeepAlive.of(loop).act)
    watch.nodes.append(node)
    return watch


def release(watch: LoopWatch, node: str) -> None:
    """A node has stopped; with the last one the watch ends."""
    watch.nodes.remove(node)
    if not watch.nodes:
        watch.stop()
        for loop in [loop for loop, its in _watches.items() if its is watch]:
            del _watches[loop]
