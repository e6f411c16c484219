"""``erlang:statistics/1``: time, traffic and load of this node.

OTP: ``erlang(3)``, ``statistics/1``. The event loop is the only scheduler: it has worked for the processor
time of its thread. Callbacks that are ready to run are its run queue.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

from quicdist.node.local_node import LocalNode
from quicdist.otp.introspection.node_links import NodeLinks
from quicdist.otp.introspection.refusals import Export, badarg
from quicdist.term import Atom

_SCHEDULER = 1
_INPUT, _OUTPUT = Atom("input"), Atom("output")
_SCHEDULER_WALL_TIME = Atom("scheduler_wall_time")


def run_queue() -> int:
    """Callbacks that the event loop will run next; 0 on an event loop that does not tell."""
    loop: Any = asyncio.get_running_loop()
    try:
        # A deque of asyncio's own event loops; there is no public way to its length.
        return len(loop._ready)
    except AttributeError:
        return 0


class StatisticsFunctions:
    """The functions, with their names and arities on a BEAM."""

    def __init__(self, node: LocalNode, links: NodeLinks) -> None:
        self._node = node
        self._links = links
        #: The last value of each counter that is given with its growth since the last call.
        self._last: dict[str, int] = {}
        self._items: dict[str, Callable[[], Any]] = {
            "active_tasks": lambda: [run_queue()],
            "active_tasks_all": lambda: [run_queue()],
            "context_switches": lambda: (0, 0),
            "exact_reductions": lambda: (0, 0),
            "garbage_collection": lambda: (sum(one["collections"] for one in gc.get_stats()), 0, 0),
            "io": self.io,
            "microstate_accounting": lambda: Atom("undefined"),
            "reductions": lambda: (0, 0),
            "run_queue": run_queue,
            "run_queue_lengths": lambda: [run_queue()],
            "run_queue_lengths_all": lambda: [run_queue()],
            "runtime": lambda: self._with_growth("runtime", time.process_time_ns() // 1_000_000),
            "scheduler_wall_time": self.scheduler_wall_time,
            "scheduler_wall_time_all": self.scheduler_wall_time,
            "total_active_tasks": run_queue,
            "total_active_tasks_all": run_queue,
            "total_run_queue_lengths": run_queue,
            "total_run_queue_lengths_all": run_queue,
            "wall_clock": lambda: self._with_growth("wall_clock", self.uptime()),
        }

    def exports(self) -> Iterator[Export]:
        yield "erlang", "statistics", self.statistics
        yield "erlang", "system_flag", self.system_flag

    def statistics(self, item: Any) -> Any:
        if not isinstance(item, Atom) or item.name not in self._items:
            raise badarg()
        return self._items[item.name]()

    def system_flag(self, flag: Any, value: Any) -> bool:
        """``scheduler_wall_time`` is always on; there are no other flags."""
        if flag != _SCHEDULER_WALL_TIME or not isinstance(value, bool):
            raise badarg()
        return True

    def uptime(self) -> int:
        """Milliseconds since the node started."""
        return round(self._node.uptime * 1000)

    def io(self) -> Any:
        """``{{input, Bytes}, {output, Bytes}}`` of the connections to other nodes."""
        bytes_in, bytes_out = self._links.traffic
        return ((_INPUT, bytes_in), (_OUTPUT, bytes_out))

    def scheduler_wall_time(self) -> list[tuple[int, int, int]]:
        """``[{Scheduler, Active, Total}]`` in nanoseconds."""
        return [(_SCHEDULER, time.thread_time_ns(), time.monotonic_ns())]

    def _with_growth(self, counter: str, now: int) -> tuple[int, int]:
        """``{Total, SinceLastCall}``."""
        growth = now - self._last.get(counter, 0)
        self._last[counter] = now
        return (now, growth)
