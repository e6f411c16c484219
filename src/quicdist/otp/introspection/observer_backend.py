"""``observer_backend``: what the observer and ``etop`` of another node ask for.

OTP: ``observer_backend``, of ``runtime_tools``, as the observer of OTP 25 to 29 calls it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.otp.call_context import current_call
from quicdist.otp.errors import RemoteError
from quicdist.otp.introspection.memory import MemoryFunctions, process_memory
from quicdist.otp.introspection.process_items import current_function, what_it_runs
from quicdist.otp.introspection.refusals import UNDEFINED, Export, badarg
from quicdist.otp.introspection.statistics import StatisticsFunctions, run_queue
from quicdist.otp.introspection.system_info import SystemInfoFunctions
from quicdist.otp.introspection.versions import quicdist_version
from quicdist.term import Atom, Pid, charlist

#: Processes that are described in one message, and without letting other code run.
CHUNK = 500
#: Seconds between two messages of :meth:`ObserverBackend.fetch_stats`: the least and the most that is
#: granted. The observer's own limits are 0.1 and 10.
_LEAST, _MOST = 0.1, 3600.0
#: Observers that get these messages at the same time.
MAX_CHARTS = 20

_SYSTEM_LIMIT = Atom("system_limit")
_OK, _ERROR, _ETS, _MNESIA = Atom("ok"), Atom("error"), Atom("ets"), Atom("mnesia")
_PROCS_INFO, _STATS, _END_OF_TABLE = Atom("procs_info"), Atom("stats"), Atom("$end_of_table")
_ETOP_INFO, _ETOP_PROC_INFO = Atom("etop_info"), Atom("etop_proc_info")
#: The items of ``sys_info/0`` that ``erlang:system_info/1`` gives too, in its order: before and after
#: ``schedulers_available``, and after ``alloc_info``.
_CPUS = (
    *("logical_processors", "logical_processors_online", "logical_processors_available"),
    *("schedulers", "schedulers_online"),
)
_FACTS = (
    *("otp_release", "version", "system_architecture", "kernel_poll", "smp_support", "threads"),
    "thread_pool_size",
)
_COUNTS = (
    *("process_count", "atom_limit", "atom_count", "process_limit", "process_count", "port_limit"),
    *("port_count", "ets_limit", "ets_count", "dist_buf_busy_limit"),
)
_MEMORY_OF_ETOP = ("total", "processes", "ets", "atom", "code", "binary")
#: Counters of ``socket:info/0``: the sockets of this node are shown as ports.
_SOCKET_COUNTERS = (
    *("num_sockets", "num_dinet", "num_dinet6", "num_dlocal", "num_tstreams", "num_tdgrams", "num_tseqpkgs"),
    *("num_pip", "num_psctp", "num_ptcp", "num_pudp", "num_monitors"),
)


def _etop_proc_info(process: Process) -> tuple[Any, ...]:
    """``#etop_proc_info{pid, mem, reds, name, runtime, cf, mq}``."""
    name = Atom(process.name) if process.name else what_it_runs(process)
    facts = (current_function(process), process.message_queue_len)
    return (_ETOP_PROC_INFO, process.pid, process_memory(process), 0, name, 0, *facts)


def _collector(pid: Any) -> Pid:
    if not isinstance(pid, Pid):
        raise badarg()
    return pid


@dataclass(frozen=True, slots=True)
class ObserverBackend:
    """The functions, with their names and arities on a BEAM."""

    node: LocalNode
    memory: MemoryFunctions
    statistics: StatisticsFunctions
    system: SystemInfoFunctions
    _collecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: The processes of :meth:`fetch_stats`.
    _charts: set[Pid] = field(default_factory=set)

    def exports(self) -> Iterator[Export]:
        for function in (
            *(self.vsn, self.sys_info, self.procs_info, self.etop_collect),
            *(self.socket_info, self.get_socket_list, self.get_table_list, self.get_table),
        ):
            yield "observer_backend", function.__name__, function

    def bodies(self) -> Iterator[tuple[str, str, Callable[..., Any]]]:
        """Functions that are spawned and go on until their client ends them."""
        yield "observer_backend", "fetch_stats", self.fetch_stats

    def vsn(self) -> Any:
        return (_OK, charlist(quicdist_version()))

    def sys_info(self) -> list[tuple[Atom, Any]]:
        info = self.system.system_info
        (_, bytes_in), (_, bytes_out) = self.statistics.io()
        sizes = (Atom("allocator_sizes"), info(Atom("alloc_util_allocators")))
        word = [(Atom(f"wordsize_{kind}"), info(Atom("wordsize"))) for kind in ("internal", "external")]
        return [
            (Atom("uptime"), self.statistics.uptime()),
            (Atom("run_queue"), run_queue()),
            (Atom("io_input"), bytes_in),
            (Atom("io_output"), bytes_out),
            *((Atom(name), info(Atom(name))) for name in _CPUS),
            (Atom("schedulers_available"), info(Atom("schedulers_online"))),
            *((Atom(name), info(Atom(name))) for name in _FACTS),
            *word,
            (Atom("alloc_info"), info(sizes)),
            *((Atom(name), info(Atom(name))) for name in _COUNTS),
            *self.memory.memory(),
        ]

    # -- processes ---------------------------------------------------------------------------------

    async def procs_info(self, collector: Any) -> Atom:
        """Send ``{procs_info, Self, [#etop_proc_info{}]}`` until all processes are described."""
        process, collector = current_call().process, _collector(collector)
        pids = list(self.node.runtime.by_pid)
        for start in range(0, len(pids), CHUNK):
            chunk = self._described(process, pids[start : start + CHUNK])
            await process.send_wait(collector, (_PROCS_INFO, process.pid, chunk))
        return _OK

    async def etop_collect(self, collector: Any) -> Atom:
        """Send ``{Self, #etop_info{}}``."""
        process, collector = current_call().process, _collector(collector)
        # One after the other: each holds the description of all processes.
        async with self._collecting:
            process.send(collector, (process.pid, await self._etop_info(process)))
        return _OK

    async def _etop_info(self, asking: Process) -> tuple[Any, ...]:
        pids = list(self.node.runtime.by_pid)
        procinfo: list[Any] = []
        for start in range(0, len(pids), CHUNK):
            procinfo += self._described(asking, pids[start : start + CHUNK])
            await asyncio.sleep(0)
        figures = self.memory.figures()
        seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
        return (
            *(_ETOP_INFO, (*divmod(seconds, 1_000_000), micros), len(procinfo), UNDEFINED),
            *(self.statistics.scheduler_wall_time(), run_queue(), []),
            *([(Atom(key), figures[key]) for key in _MEMORY_OF_ETOP], procinfo),
        )

    def _described(self, asking: Process, pids: list[Pid]) -> list[Any]:
        processes = map(self.node.runtime.find, pids)
        return [_etop_proc_info(one) for one in processes if one is not None and one is not asking]

    # -- load charts -------------------------------------------------------------------------------

    async def fetch_stats(self, process: Process, parent: Any, milliseconds: Any) -> None:
        """Send ``{stats, 1, SchedulerWallTime, Io, Memory}`` again and again, until any message comes: an
        exit signal of the parent, or its end. With more than ``MAX_CHARTS`` observers it fails with
        ``system_limit``."""
        parent = _collector(parent)
        if type(milliseconds) is not int or milliseconds < 0:
            raise badarg()
        if len(self._charts) >= MAX_CHARTS:
            raise RemoteError("error", _SYSTEM_LIMIT, [])
        self._charts.add(process.pid)
        process.on_end(lambda: self._charts.discard(process.pid))
        period = min(max(milliseconds / 1000, _LEAST), _MOST)
        process.trap_exit = True
        # A parent that spawned it without a link ends it too.
        process.monitor(parent)
        while True:
            try:
                await process.receive(timeout=period)
            except TimeoutError:
                load, memory = self.statistics.scheduler_wall_time(), self.memory.memory()
                process.send(parent, (_STATS, 1, load, self.statistics.io(), memory))
            else:
                return

    # -- sockets and tables ------------------------------------------------------------------------

    def socket_info(self) -> list[tuple[Atom, int]]:
        return [(Atom(name), 0) for name in _SOCKET_COUNTERS]

    def get_socket_list(self) -> list[Any]:
        """None: they are ports here."""
        return []

    def get_table_list(self, kind: Any, options: Any) -> list[Any]:
        """There are no ETS tables, and no Mnesia."""
        if kind == _ETS:
            return []
        if kind == _MNESIA:
            text = charlist(f"Mnesia is not running on: {self.node.name}")
            raise RemoteError("throw", (_ERROR, text))
        raise badarg()

    def get_table(self, parent: Any, table: Any, kind: Any) -> Pid:
        """The pid of a process that sends ``{Self, '$end_of_table'}``, as of a table without objects."""
        parent = _collector(parent)

        async def send_end(process: Process) -> None:
            process.link(parent)
            process.send(parent, (process.pid, _END_OF_TABLE))

        return current_call().process.spawn(send_end).pid
