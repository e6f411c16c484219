"""A process: a pid, a mailbox, links, monitors and aliases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Literal

from quicdist.node.errors import ProcessExit
from quicdist.node.exit_reason import DOWN, NORMAL
from quicdist.node.interface import NodeInterface, ProcessRuntime
from quicdist.node.mailbox import Mailbox
from quicdist.node.patterns import ANY, Pattern
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.process_relations import MonitorAlias, ProcessRelations
from quicdist.node.process_timers import ProcessTimers
from quicdist.node.spawn_options import SPAWN_REPLY, ReplyOn, SpawnRequestOptions
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import Name

_RUNNING, _ENDED = ProcessState.RUNNING, ProcessState.ENDED


class Process(ProcessTimers):
    """A process of this node.

    It has one of three bodies: a coroutine function that receives when it likes, a plain function
    called once per message, or none (a subclass that overrides :meth:`handle`).

    An exit signal that it does not trap cancels a coroutine body, which may clean up; when it has ended,
    links and monitors fire. ``kill`` ends it at once: what its body sends after that is dropped, and its
    calls for links, monitors and processes raise :class:`ProcessExit`.

    Like all of its node it belongs to the thread of the event loop; from another thread use
    ``node.call_soon_threadsafe(process.send, to, message)``.
    """

    __slots__ = (
        "__weakref__",
        "_mailbox",
        "_relations",
        "body",
        "group_leader",
        "is_otp_process",
        "name",
        "parent",
        "pid",
        "trap_exit",
    )

    #: Whether a stopping node ends it while the connections are up, so that other nodes see
    #: ``shutdown``. Of other processes they see ``noconnection``, as when a BEAM halts.
    ends_while_connected = False

    #: The runtime of its node; for the node's own use.
    runtime: ProcessRuntime[Process]

    def __init__(self, runtime: ProcessRuntime[Process], pid: Pid) -> None:
        super().__init__(runtime)
        self.pid = pid
        #: The name it is registered under, if any.
        self.name: str | None = None
        #: Whether exit signals come as ``{'EXIT', From, Reason}`` (``process_flag(trap_exit, true)``).
        self.trap_exit = False
        #: What it was spawned to run, if that is known: a Python function, or
        #: ``(module, function, arity)`` from another node.
        self.body: Any = None
        #: Whether it counts as started by ``proc_lib``, as a supervisor's children do: then not only its
        #: errors but also its exits are reported.
        self.is_otp_process = False
        #: The process that spawned it, if any (``process_info(Pid, parent)``).
        self.parent: Pid | None = None
        #: Where its output goes (``group_leader/0``); ``set_group_leader`` is ``group_leader/2``.
        self.group_leader: Pid | None = None
        # Made when needed, so that idle processes stay small.
        self._relations: ProcessRelations | None = None
        self._mailbox: Mailbox | None = None

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"<{type(self).__name__} {self.pid}{name}>"

    @property
    def is_supervisor(self) -> bool:
        """Whether it ends the processes whose :attr:`parent` it is."""
        return False

    @property
    def node(self) -> NodeInterface[Process]:
        """The node this process lives on, a :class:`quicdist.Node`."""
        return self.runtime.owner

    # -- messages --------------------------------------------------------------------------

    def send(self, to: Any, message: Any, *, priority: bool = False) -> None:
        """Send ``message`` to a pid, process, alias, ``name`` or ``(name, node)``.

        Like Erlang's ``!`` it does not wait and does not fail for a process or node that is not
        there. With ``priority`` it goes before ordinary messages, where ``to`` is an alias made for
        that (``erlang:send/3``, OTP 28). Raises :class:`~quicdist.term.EncodeError` for a value that has
        no Erlang term, or for which a BEAM would close the connection.

        A message to another node is queued. A sender that is faster than that node awaits
        :meth:`send_wait` or ``node.drain``; a connection whose buffer is full is ended. A message to a
        process of the same node is not copied: see ``docs/reference/signals.md``.
        """
        if self.state is _ENDED:
            return
        if priority:
            self.runtime.send(self.pid, to, message, priority=True)
        else:
            self.runtime.send(self.pid, to, message)

    async def send_wait(self, to: Any, message: Any) -> None:
        """Send as :meth:`send` does, and wait while the connection to the other node is busy, as ``!``
        suspends a process of a BEAM. It always lets other tasks run."""
        self.send(to, message)
        node = to.node.name if isinstance(to, Reference) else self.runtime.locate(to)[0]
        if node != self.runtime.name:
            await self.node.drain(node)
        else:
            await asyncio.sleep(0)

    def handle(self, message: Any) -> None:
        """Handle one message: put it in the mailbox. Subclasses may do something else."""
        mailbox = self._mailbox
        if mailbox is None:
            mailbox = self.mailbox
        mailbox.put(message)

    def handle_priority(self, message: Any) -> None:
        """Handle one priority message (OTP 28)."""
        if type(self).handle is Process.handle:
            self.mailbox.put(message, priority=True)
        else:
            self.handle(message)

    @property
    def mailbox(self) -> Mailbox:
        """The messages that have not been received."""
        mailbox = self._mailbox
        if mailbox is None:
            mailbox = self._mailbox = Mailbox()
        return mailbox

    @property
    def message_queue_len(self) -> int:
        """How many messages have not been received."""
        return len(self._mailbox) if self._mailbox is not None else 0

    @property
    def messages(self) -> list[Any]:
        """The messages in the mailbox, in the order of receiving (``process_info(Pid, messages)``)."""
        return list(self._mailbox) if self._mailbox is not None else []

    def receive(self, pattern: Pattern = None, *, timeout: float | None = None) -> Coroutine[Any, Any, Any]:
        """The next message, or the first that matches ``pattern`` (see
        :func:`~quicdist.node.patterns.matcher`); others stay, in order, as in Erlang's ``receive``.

        Raises :class:`TimeoutError` when none has come after ``timeout`` seconds (0 only looks),
        and :class:`ProcessExit` in a process that ends or has ended.
        """
        if self.state is not _RUNNING:
            return _nothing_comes(self.exit_reason)
        return self.mailbox.get(pattern, timeout)

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over all messages, until the process ends."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        if self.state is not _RUNNING or self._mailbox is None:
            return self.receive()
        return self._mailbox.get()

    # -- links, monitors, aliases ----------------------------------------------------------

    @property
    def relations(self) -> ProcessRelations:
        """Its links, monitors, aliases and timers; for the node's own use."""
        relations = self._relations
        if relations is None:
            relations = self._relations = ProcessRelations()
        return relations

    @property
    def has_relations(self) -> bool:
        """Whether it ever had a link, a monitor, an alias or a timer."""
        return self._relations is not None

    @property
    def links(self) -> list[Pid]:
        """The processes it is linked to (``process_info(Pid, links)``)."""
        return list(self._relations.links) if self._relations is not None else []

    @property
    def monitors(self) -> list[Reference]:
        """The monitors it holds."""
        return list(self._relations.monitors) if self._relations is not None else []

    @property
    def monitored_by(self) -> dict[Reference, tuple[Pid, Pid | Atom]]:
        """The processes that monitor it (``process_info(Pid, monitored_by)``): by reference the watcher,
        and the pid or name that it monitors."""
        return dict(self._relations.monitored_by) if self._relations is not None else {}

    def link(self, pid: Pid | Process, *, priority: bool = False) -> None:
        """Link with a process (``link/1,2``); one that is not there ends this one with ``noproc``.
        With ``priority`` its ``'EXIT'`` comes before ordinary messages (OTP 28)."""
        self.must_live()
        self.runtime.link(self, _pid(pid), priority=priority)

    def unlink(self, pid: Pid | Process) -> None:
        """Remove a link (``unlink/1``): its exit signal has no effect any more. An ``'EXIT'`` message
        that has come already stays."""
        self.runtime.unlink(self, _pid(pid))

    def monitor(
        self, target: Any, *, alias: bool | MonitorAlias = False, tag: Any = DOWN, priority: bool = False
    ) -> Reference:
        """Monitor a pid, ``name`` or ``(name, node)`` (``monitor/2,3``): when it ends, or is not
        there, ``{Tag, Reference, process, Target, Reason}`` comes as a message, ``'DOWN'`` being
        the default tag; with ``priority`` before ordinary messages (OTP 28).

        With ``alias`` the reference is an alias too: ``"demonitor"`` (or True) until the monitor
        goes, ``"reply_demonitor"`` until the first message by it, with which the monitor goes too,
        ``"explicit_unalias"`` until :meth:`unalias`.
        """
        self.must_live()
        return self.runtime.monitor(self, target, alias=alias, tag=tag, priority=priority)

    def demonitor(self, reference: Reference, *, flush: bool = False) -> bool:
        """Remove a monitor of this process, and with ``flush`` its message if that has come
        already (``demonitor/2``); whether it was still active (its option ``info``)."""
        found = reference in self.relations.monitors and self.runtime.demonitor(reference, self.pid)
        if flush and self._mailbox is not None and not found:
            # {_, MonitorRef, _, _, _}, whatever the tag
            self._mailbox.discard((ANY, reference, ANY, ANY, ANY))
        return found

    def alias(self, *, reply: bool = False, priority: bool = False) -> Reference:
        """A reference that can be sent to as if it were this process (``alias/0,1``), until
        :meth:`unalias`, with ``reply`` until the first message comes by it. With ``priority`` it
        lets priority messages in (OTP 28)."""
        self.must_live()
        reference = self.new_reference(1 if reply else None)
        kind: Literal["reply", "explicit_unalias"] = "reply" if reply else "explicit_unalias"
        self.runtime.alias(self, reference, kind, priority=priority)
        return reference

    def unalias(self, reference: Reference) -> bool:
        """Deactivate an alias (``unalias/1``): later messages by it are dropped. Whether it was active."""
        return reference in self.relations.aliases and self.runtime.unalias(reference)

    def make_ref(self) -> Reference:
        """A reference unlike all others (``make_ref/0``). A receive whose pattern holds it does not
        look at messages that were there before, as with those of :meth:`monitor`, :meth:`alias` and
        the spawn functions."""
        return self.new_reference(None)

    def new_reference(self, expected: int | None = 1) -> Reference:
        """A reference by which so many messages are expected, None for any number; for the node's own
        use."""
        reference = self.runtime.new_reference()
        if self._mailbox is not None:
            self._mailbox.mark(reference, expected)
        return reference

    def reference_ended(self, reference: Reference) -> None:
        """The monitor or alias ``reference`` is gone; a last message by it may be here or come yet."""
        if self._mailbox is not None:
            self._mailbox.ended(reference)

    # -- spawning on this node ---------------------------------------------------------------

    def spawn(
        self, function: Callable[..., Any], *args: Any, name: Name | None = None, link: bool = False
    ) -> Process:
        """Spawn a process on this node, with the group leader of this one (``spawn/3``)."""
        self.must_live()
        runtime = self.runtime
        process = runtime.spawn(function, *args, name=name, link_to=self if link else None)
        process.group_leader = self.group_leader
        process.parent = self.pid
        return process

    def spawn_link(self, function: Callable[..., Any], *args: Any, name: Name | None = None) -> Process:
        """Spawn a process on this node, linked to this one (``spawn_link/3``)."""
        return self.spawn(function, *args, name=name, link=True)

    def spawn_monitor(
        self, function: Callable[..., Any], *args: Any, name: Name | None = None
    ) -> tuple[Process, Reference]:
        """Spawn a process on this node and monitor it (``spawn_monitor/3``)."""
        process = self.spawn(function, *args, name=name)
        return process, self.monitor(process.pid)

    # -- spawning on any node ----------------------------------------------------------------

    async def spawn_on(
        self, node: Name, module: Name, function: Name, arguments: Sequence[Any] = (), *, link: bool = False
    ) -> Pid:
        """Spawn ``module:function`` on another node (``spawn/4``, ``spawn_link/4``).

        Raises :class:`SpawnError`. A function that is not there is no error: as in Erlang the
        process starts, and ends with ``undef``.
        """
        self.must_live()
        return await self.runtime.spawn_on(self, node, (module, function, arguments), link=link)

    async def spawn_monitor_on(
        self, node: Name, module: Name, function: Name, arguments: Sequence[Any] = (), *, link: bool = False
    ) -> tuple[Pid, Reference]:
        """Spawn ``module:function`` on another node and monitor it (``spawn_monitor/4``).

        Raises :class:`SpawnError`.
        """
        self.must_live()
        reference = self.new_reference()
        pid = await self.runtime.spawn_on(
            self, node, (module, function, arguments), link=link, reference=reference
        )
        return pid, reference

    def spawn_request(
        self,
        node: Name,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        link: bool = False,
        monitor: bool = False,
        alias: bool | MonitorAlias = False,
        tag: Any = DOWN,
        reply: ReplyOn = "yes",
        reply_tag: Any = SPAWN_REPLY,
        options: Sequence[Any] = (),
    ) -> Reference:
        """Ask a node to spawn ``module:function`` and do not wait (``spawn_request/5``).

        ``{ReplyTag, Reference, ok, Pid}`` or ``{ReplyTag, Reference, error, Reason}`` comes as a
        message; ``reply`` says which of them (``yes``, ``no``, ``error_only``, ``success_only``).
        ``monitor`` with ``alias`` and ``tag`` is as in :meth:`monitor`, under the same reference.
        ``options`` are further ones of ``spawn_opt/5``, terms for the other node.
        """
        self.must_live()
        return self.runtime.spawn_request(
            self,
            node,
            (module, function, arguments),
            SpawnRequestOptions(link, monitor, alias, tag, reply, reply_tag, tuple(options)),
        )

    def spawn_request_abandon(self, reference: Reference) -> bool:
        """Abandon a request (``spawn_request_abandon/1``); whether it was unanswered. If the process is
        spawned nevertheless, and with a link, it ends with ``abandoned``."""
        return self.runtime.abandon_spawn_request(reference, self.pid)

    # -- life ------------------------------------------------------------------------------

    def exit(self, to: Pid | Process | Reference, reason: Any, *, priority: bool = False) -> None:
        """Send an exit signal to another process, or to this one (``exit/2``); to an alias, with
        or without ``priority``, as OTP 28 does."""
        target = to if isinstance(to, Reference) else _pid(to)
        if self.state is not _ENDED:
            self.runtime.send_exit(self.pid, target, reason, priority=priority)

    def stop(self, reason: Any = NORMAL) -> None:
        """End this process with ``reason`` (``exit/1``; a coroutine may raise
        :class:`ProcessExit` as well). A coroutine body ends at its next ``await``."""
        self.runtime.exit(self, reason)

    def set_group_leader(self, leader: Pid | Process, of: Pid | Process) -> None:
        """Make ``leader`` the group leader of a process, here or elsewhere (``group_leader/2``)."""
        self.must_live()
        self.runtime.set_group_leader(self.pid, _pid(leader), _pid(of))

    def ended(self) -> None:
        super().ended()
        if self._mailbox is not None:
            self._mailbox.close(ProcessExit(self.exit_reason))


class HandlerProcess(Process):
    """A process whose body is a plain function, called with the process and each message."""

    __slots__ = ("_function",)

    def __init__(
        self, runtime: ProcessRuntime[Process], pid: Pid, function: Callable[[Process, Any], Any]
    ) -> None:
        super().__init__(runtime, pid)
        self._function = function

    def handle(self, message: Any) -> None:
        self._function(self, message)


async def _nothing_comes(reason: Any) -> Any:
    # A body that ignores the exception must not block the event loop.
    await asyncio.sleep(0)
    raise ProcessExit(reason)


def _pid(process: Pid | Process) -> Pid:
    if isinstance(process, Process):
        return process.pid
    if isinstance(process, Pid):
        return process
    raise TypeError(f"expected a pid or a process, got {process!r}")
