"""Code that blocks an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable


def sleep(seconds: float) -> None:
    """Wait, and let other threads run."""
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Run Python, so that other threads get the interpreter now and then only."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


WAYS: dict[str, Callable[[float], None]] = {"sleep": sleep, "compute": compute}
