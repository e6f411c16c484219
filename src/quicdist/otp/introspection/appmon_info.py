"""The server ``appmon_info``, which tells the observer of another node about applications.

OTP: ``appmon_info``, of ``runtime_tools``. A client casts ``{Client, Task, Argument, OnOff, Options}`` and
gets ``{delivery, Server, Task, Argument, Result}``, at once and whenever the result has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quicdist.node.exit_reason import EXIT, NOCONNECTION, NORMAL
from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.otp import server_start
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_server import GenServer, Stop
from quicdist.otp.introspection.application_tree import APPMON_INFO, EMPTY, application_tree
from quicdist.otp.introspection.applications import ApplicationFunctions
from quicdist.otp.introspection.process_items import default_items
from quicdist.otp.introspection.refusals import Export, badarg
from quicdist.otp.introspection.statistics import run_queue
from quicdist.otp.introspection.versions import QUICDIST
from quicdist.otp.server_loop import ServerLoop
from quicdist.term import Atom, Pid, charlist, format_term

#: Clients, and tasks of all clients together; the observer has two at a time.
MAX_TASKS = 20
#: Seconds between two runs of a task (``timeout``): OTP's default, and the least that is granted.
PERIOD = 2.0
_LEAST = 1.0
_MOST = 86400.0

_OK, _DELIVERY, _DO_IT = Atom("ok"), Atom("delivery"), Atom("do_it")
_REGISTER_CLIENT, _TIMEOUT, _AT_MOST_ONCE = Atom("register_client"), Atom("timeout"), Atom("at_most_once")
#: The load is shown from 0 to 16.
_LOAD_RANGE = 16

#: Task, argument, client.
_Key = tuple[Atom, Any, Pid]


@dataclass(slots=True)
class _Task:
    period: float | None
    result: Any = None
    timer: asyncio.TimerHandle | None = None


class AppmonServer(GenServer):
    """One for the node, as long as it has clients."""

    process: ServerLoop

    def __init__(
        self, node: LocalNode, applications: ApplicationFunctions, starter: Pid, client: Pid
    ) -> None:
        self._node = node
        self._applications = applications
        self._starter = starter
        self._clients = [client]
        self._tasks: dict[_Key, _Task] = {}
        self._runs = {
            "app_ctrl": self._app_ctrl,
            "app": self._app,
            "pinfo": self._pinfo,
            "load": self._load,
        }

    def get_state(self) -> Any:
        return {Atom("clients"): self._clients, Atom("tasks"): len(self._tasks)}

    def init(self) -> None:
        self.process.trap_exit = True
        self.process.link(self._clients[0])

    def terminate(self, reason: Any) -> None:
        for key in list(self._tasks):
            self._remove(key)

    def handle_call(self, request: Any, sender: From) -> Any:
        match request:
            case (kind, Pid() as client) if kind == _REGISTER_CLIENT:
                if client not in self._clients and len(self._clients) < MAX_TASKS:
                    self._clients.append(client)
                    self.process.link(client)
        return _OK

    async def handle_cast(self, request: Any) -> None:
        match request:
            case (Pid() as client, Atom(name=name) as task, argument, on, options) if name in self._runs:
                if client not in self._clients or not isinstance(argument, Atom | Pid):
                    return
                key = (task, argument, client)
                self._remove(key)
                if on is True and isinstance(options, list) and len(self._tasks) < MAX_TASKS:
                    self._tasks[key] = _Task(_period(options))
                    await self._run(key)
            case _:
                pass  # as in OTP

    async def handle_info(self, message: Any) -> Any:
        match message:
            case (kind, task, argument, client) if kind is _DO_IT and (task, argument, client) in self._tasks:
                await self._run((task, argument, client))
            case (tag, Pid() as pid, reason) if tag == EXIT:
                return self._client_ended(pid, reason)
            case _:
                pass  # as in OTP
        return None

    def _client_ended(self, pid: Pid, reason: Any) -> Any:
        if pid == self._starter:
            # A client whose connection is lost is no crash of this server.
            return Stop(NORMAL if reason == NOCONNECTION else reason)
        for key in [key for key in self._tasks if key[2] == pid]:
            self._remove(key)
        if pid in self._clients:
            self._clients.remove(pid)
        return None if self._clients else Stop(NORMAL)

    # -- tasks -------------------------------------------------------------------------------------

    def _remove(self, key: _Key) -> None:
        task = self._tasks.pop(key, None)
        if task is not None and task.timer is not None:
            task.timer.cancel()

    async def _run(self, key: _Key) -> None:
        """Do a task, deliver its result if that has changed, and do it again after its period."""
        name, argument, client = key
        task = self._tasks[key]
        result = await self._runs[name.name](argument)
        if self._tasks.get(key) is not task:
            return
        if result != task.result:
            self.process.send(client, (_DELIVERY, self.process.pid, name, argument, result))
        if task.period is None:
            self._remove(key)
            return
        task.result = result
        again = (_DO_IT, *key)
        task.timer = asyncio.get_running_loop().call_later(
            task.period, self.process.runtime.deliver, self.process, again
        )

    async def _app_ctrl(self, _: Any) -> Any:
        """``[{Master, Name, {Name, Description, Vsn}}]`` of the applications with processes."""
        master = self._node.runtime.group_leader
        applications = await self._applications.all()
        return [
            (master, Atom(application.name), application.to_term())
            for index, application in enumerate(applications)
            if master is not None and (index == 0 or application.name == QUICDIST)
        ]

    async def _app(self, name: Any) -> Any:
        if not isinstance(name, Atom):
            return EMPTY
        program = (await self._applications.all())[0].name
        return application_tree(self._node.runtime, name, program)

    async def _pinfo(self, pid: Any) -> Any:
        """``process_info/1`` as text."""
        process = self._node.runtime.find(pid) if isinstance(pid, Pid) else None
        if process is None:
            return []
        text = format_term(default_items(process), printable_range="unicode")
        return charlist(f"Node: {self._node.name}, Process: {pid}\n{text}\n\n")

    async def _load(self, _: Any) -> Any:
        """``{Before, Now}``: the ready callbacks, at most 16."""
        load = min(run_queue(), _LOAD_RANGE)
        return (load, load)


def _period(options: list[Any]) -> float | None:
    """Seconds between two runs; None for one run only."""
    for option in options[:MAX_TASKS]:
        match option:
            case (kind, value) if kind == _TIMEOUT:
                if value == _AT_MOST_ONCE:
                    return None
                if type(value) is int:
                    return min(max(value / 1000, _LEAST), _MOST)
    return PERIOD


class AppmonFunctions:
    """The function that starts the server, with its name and arity on a BEAM."""

    def __init__(self, node: LocalNode, applications: ApplicationFunctions) -> None:
        self._node = node
        self._applications = applications

    def exports(self) -> Iterator[Export]:
        yield APPMON_INFO, "start_link2", self.start_link2

    def start_link2(self, starter: Any, client: Any, options: Any) -> Any:
        """Start the server, or give it another client; ``{ok, Pid}``."""
        if not isinstance(starter, Pid) or not isinstance(client, Pid):
            raise badarg()
        runtime = self._node.runtime
        known: Process | None = runtime.whereis(APPMON_INFO)
        if isinstance(known, ServerLoop) and isinstance(known.server, AppmonServer):
            known.server.handle_call((_REGISTER_CLIENT, client), (client, None))
            return (_OK, known.pid)
        server = AppmonServer(self._node, self._applications, starter, client)
        return (_OK, server_start.start(runtime, server, name=APPMON_INFO).pid)
