"""What programs other than the benchmark take of the machine while it measures."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_STAT = Path("/proc/stat")
#: The columns of its first line: all but ``idle`` and ``iowait`` is somebody's time, on another machine
#: under the same roof in the case of ``steal``. The two of guests are in ``user`` already (proc(5)).
_BUSY = ("user", "nice", "system", None, None, "irq", "softirq", "steal")


class Others:
    """Counts from when it is made. Processes of the benchmark's own count once they have ended."""

    def __init__(self) -> None:
        self._clock = time.monotonic()
        self._busy = _busy()
        self._own = _own()

    def cores(self) -> float | None:
        """The cores that others kept busy, on average; None where the system does not tell."""
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
