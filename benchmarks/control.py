"""Commands for a measured process: one JSON object per line, in both directions.

The controlling process is idle during a measurement, and the measured process reads no commands then.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

Do = Callable[..., Awaitable[Any]]


def options() -> dict[str, Any]:
    """The options of this process: the first line of standard input, because arguments are limited."""
    found: dict[str, Any] = json.loads(sys.stdin.readline())
    return found


async def serve(commands: Mapping[str, Do], ready: Any) -> None:
    """Answer ``ready``, then run the commands of standard input until its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"value": ready})
    while line := await reader.readline():
        request = json.loads(line)
        try:
            answer = {"value": await commands[request["do"]](**request["with"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answer)


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def usage() -> dict[str, float | None]:
    """The resources of this process: seconds of CPU and of the clock, peak and resident memory in bytes."""
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cpu": time.process_time(),
        "clock": time.monotonic(),
        "peak": peak * (1 if sys.platform == "darwin" else 1024),
        "resident": _resident(),
        "pid": os.getpid(),
    }


def _resident() -> int | None:
    """None if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return None
