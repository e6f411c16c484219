"""Where the code of a process waits: the Python counterpart of ``process_info(Pid, current_stacktrace)``."""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from quicdist.node.exit_reason import frame_term, is_own_frame
from quicdist.node.process import Process

#: Awaits that are followed from a task inwards.
_MAX_DEPTH = 100
#: Frames of a stack trace, the innermost ones (ERTS: ``backtrace_depth``).
_SHOWN = 16


def stack_of(process: Process) -> list[tuple[Any, ...]]:
    """The calls that the coroutine of a process is in, innermost first, in the form of a stack trace; empty
    while it runs none. Frames of quicdist are left out, unless there are no others."""
    frames = frames_of(process)[::-1]
    shown = [frame for frame in frames if not is_own_frame(frame)] or frames
    return [frame_term(frame, frame.f_lineno) for frame in shown[:_SHOWN]]


def frames_of(process: Process) -> list[FrameType]:
    """The frames of its task, from the task inwards."""
    task = process.task
    awaited: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    frames: list[FrameType] = []
    while awaited is not None and len(frames) < _MAX_DEPTH:
        # A coroutine, a generator or an asynchronous generator; anything else, such as a future, is the end.
        for prefix, inner in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame = getattr(awaited, f"{prefix}_frame", None)
            if frame is not None:
                frames.append(frame)
                awaited = getattr(awaited, inner)
                break
        else:
            break
    return frames
