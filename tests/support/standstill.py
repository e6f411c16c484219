"""Functions that block an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable


def sleep(seconds: float) -> None:
    """Block without holding the interpreter lock."""
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Block by running Python code, which other threads interrupt only now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


WAYS: dict[str, Callable[[float], None]] = {"sleep": sleep, "compute": compute}
