"""The client side of ``gen_event``: events to managers of any node.

OTP: ``gen_event(3)``: ``notify``, ``sync_notify``, ``call``, ``add_handler``, ``which_handlers``, ``stop``
and so on.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from quicdist.node.errors import NodeError, NoSuchProcess
from quicdist.node.exit_reason import NORMAL
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import server_start
from quicdist.otp.gen import GenClient, described, milliseconds, ref_term
from quicdist.otp.gen_messages import handler_term
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.request import Request
from quicdist.otp.server_names import GlobalOrVia
from quicdist.term import Atom, Pid, format_term
from quicdist.term.names import Name
from quicdist.term.shorten import shorten

if TYPE_CHECKING:
    from quicdist.otp.gen_event import GenEvent

_GEN_EVENT, _CALL, _OK, _ERROR = Atom("gen_event"), Atom("call"), Atom("ok"), Atom("error")
_NOTIFY, _SYNC_NOTIFY = Atom("notify"), Atom("sync_notify")


class GenEventClient:
    """Sends events to managers and manages their handlers. A manager is a pid, process, ``name``,
    ``(name, node)``, :class:`Global` or :class:`Via`.

    A handler is the name of its module, or ``(name, id)``: of a manager on a BEAM, an Erlang module there; of
    one in Python, a name that the :class:`GenEvent` was made with. A ``str`` stands for the atom.
    """

    def __init__(self, runtime: Runtime, gen: GenClient, servers: GenServerClient) -> None:
        self._runtime = runtime
        self._gen = gen
        self._servers = servers

    def notify(self, to: Any, event: Any) -> None:
        """Send an event to all handlers of a manager, and do not wait (``gen_event:notify/2``); never
        fails."""
        with contextlib.suppress(NoSuchProcess):
            self._servers.send(to, (_NOTIFY, event))

    async def sync_notify(self, to: Any, event: Any) -> None:
        """Send an event, and wait until all handlers have handled it (``gen_event:sync_notify/2``)."""
        await self._ask(to, (_SYNC_NOTIFY, event))

    async def call(
        self,
        to: Any,
        handler: Any,
        request: Any,
        *,
        timeout: float | None = 5.0,
        process: Process | None = None,
    ) -> Any:
        """Call one handler of a manager and wait for its reply (``gen_event:call/4``), which is
        ``{error, bad_module}`` if the manager has no such handler. ``timeout`` is in seconds. Raises the
        errors of :meth:`GenServerClient.call`."""
        command = (_CALL, handler_term(handler), request)
        function = (_GEN_EVENT, _CALL, [ref_term(to), *command[1:], milliseconds(timeout)])
        return await self._gen.call(
            to, command, label=self._label(process), timeout=timeout, process=process, function=function
        )

    def send_request(
        self, to: Any, handler: Any, request: Any, *, process: Process | None = None
    ) -> Request[Any]:
        """Call a handler without waiting; the reply comes from the :class:`Request`
        (``gen_event:send_request/3``)."""
        command = (_CALL, handler_term(handler), request)
        return self._gen.send_request(to, command, label=self._label(process), process=process)

    async def which_handlers(self, to: Any) -> list[Any]:
        """The handlers of a manager, the newest first (``gen_event:which_handlers/1``)."""
        handlers: list[Any] = await self._ask(to, Atom("which_handlers"))
        return handlers

    async def add_handler(self, to: Any, handler: Any, args: Any = None) -> None:
        """Add a handler with the arguments of its ``init`` (``gen_event:add_handler/3``). Raises
        :class:`NodeError` with the reason if it cannot be added."""
        command = (Atom("add_handler"), handler_term(handler), args)
        self._added(to, handler, await self._ask(to, command))

    async def add_sup_handler(self, to: Any, handler: Any, args: Any = None, *, process: Process) -> None:
        """Add a handler that ``process`` supervises (``gen_event:add_sup_handler/3``): it is linked to the
        manager, and gets ``{gen_event_EXIT, Handler, Reason}`` when the handler is removed. When it ends,
        the handler is terminated with ``{stop, Reason}``. Raises as :meth:`add_handler` does."""
        command = (Atom("add_sup_handler"), handler_term(handler), args, process.pid)
        self._added(to, handler, await self._ask(to, command, process))

    async def delete_handler(self, to: Any, handler: Any, args: Any = None) -> Any:
        """Remove a handler; what its ``terminate`` has returned, ``{error, module_not_found}`` if there is no
        such handler (``gen_event:delete_handler/3``)."""
        return await self._ask(to, (Atom("delete_handler"), handler_term(handler), args))

    async def swap_handler(
        self, to: Any, old: Any, old_args: Any, new: Any, new_args: Any, *, process: Process | None = None
    ) -> None:
        """Replace a handler (``gen_event:swap_handler/3``); with ``process``, which supervises the new one,
        ``swap_sup_handler/3``. Raises :class:`NodeError` with the reason if the new one cannot be added."""
        command: tuple[Any, ...] = (handler_term(old), old_args, handler_term(new), new_args)
        if process is None:
            command = (Atom("swap_handler"), *command)
        else:
            command = (Atom("swap_sup_handler"), *command, process.pid)
        self._added(to, new, await self._ask(to, command, process))

    async def stop(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = None) -> None:
        """End a manager with ``reason`` and wait until it has ended (``gen_event:stop/3``); see
        :meth:`GenServerClient.stop`."""
        await self._servers.stop(to, reason, timeout=timeout)

    async def start(
        self,
        manager: GenEvent,
        *,
        name: Name | GlobalOrVia | None = None,
        link_to: Process | Pid | None = None,
    ) -> Process | None:
        """Start a manager on this node and wait until its first handlers are installed
        (``gen_event:start/2``; with ``link_to``, its parent, ``start_link/2``). Raises :class:`NodeError` if
        one cannot be, or :class:`NameRegistered`."""
        process = server_start.start(self._runtime, manager, name=name, link_to=link_to)
        return process if await process.ready() else None

    def _label(self, process: Process | None) -> Any:
        """``gen_event`` labels its requests with the client's pid."""
        return (process or self._gen.process).pid

    async def _ask(self, to: Any, command: Any, process: Process | None = None) -> Any:
        name = command[0] if isinstance(command, tuple) else command
        arguments = [ref_term(to), *(command[1:] if isinstance(command, tuple) else ())]
        return await self._gen.call(
            to,
            command,
            label=self._label(process),
            timeout=None,
            process=process,
            function=(_GEN_EVENT, name, arguments),
        )

    def _added(self, to: Any, handler: Any, answer: Any) -> None:
        if answer != _OK:
            reason = format_term(shorten(answer))
            raise NodeError(f"{described(to)} did not add the event handler {handler!r}: {reason}")
