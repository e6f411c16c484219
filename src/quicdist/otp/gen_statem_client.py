"""The client side of ``gen_statem``: calls and casts to state machines of any node.

OTP: ``gen_statem(3)``: ``call``, ``cast``, ``send_request``, ``stop``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quicdist.node.exit_reason import NORMAL
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import server_start
from quicdist.otp.gen import GenClient, milliseconds, ref_term
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.request import Request
from quicdist.otp.server_names import GlobalOrVia
from quicdist.term import Atom, Pid
from quicdist.term.names import Name

if TYPE_CHECKING:
    from quicdist.otp.gen_statem import GenStatem

_GEN_STATEM, _CALL = Atom("gen_statem"), Atom("call")


class GenStatemClient:
    """Calls and starts state machines. A machine is a pid, process, ``name``, ``(name, node)``,
    :class:`Global` or :class:`Via`."""

    def __init__(self, runtime: Runtime, gen: GenClient, servers: GenServerClient) -> None:
        self._runtime = runtime
        self._gen = gen
        self._servers = servers

    async def call(
        self, to: Any, request: Any, *, timeout: float | None = None, process: Process | None = None
    ) -> Any:
        """Call a machine and wait for its reply (``gen_statem:call/3``): by default for ever, as there.

        ``timeout`` is in seconds. ``process`` is the caller that the machine sees, by default a process of
        the node's own. Raises the errors of :meth:`GenServerClient.call`.
        """
        function = (_GEN_STATEM, _CALL, [ref_term(to), request, milliseconds(timeout)])
        return await self._gen.call(to, request, timeout=timeout, process=process, function=function)

    def send_request(self, to: Any, request: Any, *, process: Process | None = None) -> Request[Any]:
        """Call a machine without waiting; the reply comes from the :class:`Request`
        (``gen_statem:send_request/2``)."""
        return self._gen.send_request(to, request, process=process)

    def cast(self, to: Any, message: Any) -> None:
        """Cast to a machine (``gen_statem:cast/2``); never fails."""
        self._servers.cast(to, message)

    async def stop(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = None) -> None:
        """End a machine with ``reason`` and wait until it has ended (``gen_statem:stop/3``); see
        :meth:`GenServerClient.stop`."""
        await self._servers.stop(to, reason, timeout=timeout)

    async def start(
        self,
        machine: GenStatem,
        *,
        name: Name | GlobalOrVia | None = None,
        link_to: Process | Pid | None = None,
    ) -> Process | None:
        """Start a machine on this node and wait for its ``init`` (``gen_statem:start/4``; with ``link_to``,
        its parent, ``start_link/4``). None if ``init`` returned ``IGNORE``. Raises what ``init`` raised,
        :class:`ProcessEnded` with the reason of its ``Stop``, or :class:`NameRegistered`."""
        process = server_start.start(self._runtime, machine, name=name, link_to=link_to)
        return process if await process.ready() else None
