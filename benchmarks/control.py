"""How a measured process is told what to do: one JSON object a line, in and out.

The one who measures is idle while an end works, and an end hears nothing while it measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Do = Callable[..., Awaitable[Any]]


async def serve(commands: Mapping[str, Do], ready: Any) -> None:
    """Say ``ready``, then do what comes in by standard input until it ends."""
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


async def usage() -> dict[str, float]:
    """What this process has used: seconds of CPU, seconds on the clock, bytes of memory at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cpu": time.process_time(),
        "clock": time.monotonic(),
        "peak": peak * (1 if sys.platform == "darwin" else 1024),
        "pid": os.getpid(),
    }
