"""``erlang:memory/0,1``: the memory of this interpreter and of single processes, in bytes.

OTP: ``erlang(3)``, ``memory/0``. The total comes from the operating system. The parts are lower bounds: what
can be counted without a look at every object.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.otp.introspection.frames import frames_of
from quicdist.otp.introspection.refusals import Export, badarg
from quicdist.term import Atom
from quicdist.term.atom import atom_count

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATM = Path("/proc/self/statm")
_PAGE = resource.getpagesize() if resource is not None else 4096
#: Messages whose size is looked at, for each process; longer queues are taken to go on like their start.
_SAMPLE = 50
#: Processes whose memory is added up; more are taken to be like these.
_COUNTED = 1000
#: Seconds for which their sum is used again.
_FRESH = 0.5
_POINTER = 8
_ATOM = sys.getsizeof(Atom("ok"))

_KEYS = (
    *("total", "processes", "processes_used", "system"),
    *("atom", "atom_used", "binary", "code", "ets"),
)


def resident() -> tuple[int, int]:
    """The resident memory of this OS process, and the part of it that the interpreter's own code takes, as
    far as the system tells."""
    try:
        _, pages, _, text, *_ = map(int, _STATM.read_text().split())
    except (OSError, ValueError):
        return _peak(), 0
    return pages * _PAGE, min(text, pages) * _PAGE


def _peak() -> int:
    """The largest resident size so far, where the present one is not known."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def process_memory(process: Process) -> int:
    """Bytes of the objects that the node keeps for a process: itself, the frames of its coroutine, its links
    and monitors, and its messages, without what these refer to."""
    size = sys.getsizeof(process) + sum(map(sys.getsizeof, frames_of(process)))
    if process.has_relations:
        relations = process.relations
        kept = (relations.links, relations.unlinking, relations.monitors, relations.monitored_by)
        size += sum(map(sys.getsizeof, (relations, *kept, relations.aliases)))
    queued = process.message_queue_len
    if queued:
        sample = list(islice(process.mailbox, _SAMPLE))
        average = sum(map(sys.getsizeof, sample)) / len(sample) if sample else 0
        size += round(queued * (_POINTER + average))
    return size


class MemoryFunctions:
    """The functions, with their names and arities on a BEAM."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        #: The memory of all processes, and when it was added up.
        self._added_up = (-_FRESH, 0)

    def exports(self) -> Iterator[Export]:
        yield "erlang", "memory", self.memory

    def figures(self) -> dict[str, int]:
        """Bytes by the keys of ``erlang:memory/0``, in its order. ``binary`` is what waits to be sent on the
        connections, ``code`` the interpreter's own code."""
        total, code = resident()
        processes = min(self._processes(), total)
        atoms = atom_count() * _ATOM
        binary = sum(link.pending for link in self._node.connections.links())
        sizes = (total, processes, processes, total - processes, atoms, atoms, binary, code, 0)
        return dict(zip(_KEYS, sizes, strict=True))

    def _processes(self) -> int:
        now = time.monotonic()
        if now - self._added_up[0] >= _FRESH:
            processes = self._node.runtime.by_pid
            counted = [process_memory(process) for process in islice(processes.values(), _COUNTED)]
            total = round(sum(counted) * len(processes) / len(counted)) if counted else 0
            self._added_up = (now, total)
        return self._added_up[1]

    def memory(self, wanted: Any = None) -> Any:
        figures: dict[Atom, int] = {Atom(key): size for key, size in self.figures().items()}
        if wanted is None:
            return list(figures.items())
        keys = wanted if isinstance(wanted, list) else [wanted]
        if len(keys) > len(figures) or any(not isinstance(key, Atom) or key not in figures for key in keys):
            raise badarg()
        return [(key, figures[key]) for key in keys] if isinstance(wanted, list) else figures[wanted]
