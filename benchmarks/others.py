"""The CPU time that other programs use during a measurement."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_STAT = Path("/proc/stat")
#: The columns of its first line; ``idle`` and ``iowait`` are not busy, ``steal`` is another virtual machine.
#: The columns of guests are included in ``user`` (proc(5)).
_BUSY = ("user", "nice", "system", None, None, "irq", "softirq", "steal")


class Others:
    """Counts from its construction. Child processes of the benchmark are subtracted after they have ended."""

    def __init__(self) -> None:
        self._clock = time.monotonic()
        self._busy = _busy()
        self._own = _own()

    def cores(self) -> float | None:
        """The average number of cores used by others; None if the system does not report it."""
        busy = _busy()
        if busy is None or self._busy is None:
            return None
        taken = (busy - self._busy) - (_own() - self._own)
        return max(0.0, taken / max(time.monotonic() - self._clock, 1e-3))


def _busy() -> float | None:
    try:
        ticks = _STAT.read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    return sum(int(tick) for tick, name in zip(ticks, _BUSY, strict=False) if name) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
