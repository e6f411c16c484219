"""The process of a :class:`GenServer`: hands messages to callbacks and does what they return.

OTP: ``gen_server(3)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from quicdist.containment import dispose
from quicdist.node.errors import ProcessExit
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.runtime import Runtime
from quicdist.otp.debug_options import CONTINUE, IN, NOREPLY, OUT
from quicdist.otp.errors import function_clause
from quicdist.otp.function_clause import NO_CLAUSE
from quicdist.otp.gen_messages import GEN_CALL, GEN_CAST, From
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.otp.gen_server import TIMEOUT, Continue, GenServer, NoReply, Reply, Stop, Then
from quicdist.otp.server_lifecycle import BAD_RETURN_VALUE
from quicdist.otp.server_loop import ServerLoop
from quicdist.otp.traced_calls import in_server_span
from quicdist.term import Atom, Pid

_CONTINUE = Atom("continue")


class ServerProcess(ServerLoop):
    """Runs a :class:`GenServer`: one callback at a time."""

    __slots__ = ("_timer",)

    server: GenServer

    def __init__(self, runtime: Runtime, pid: Pid, server: GenServer) -> None:
        super().__init__(runtime, pid, server)
        self._timer: asyncio.TimerHandle | None = None

    def entered(self, result: Any) -> None:
        self._carry_on(None, None, None, result)

    def handle_message(self, kind: Atom | None, sender: Any, request: Any, message: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.debug is not None:
            self.debug.event(IN, message)
        if kind is GEN_CALL:
            tracer = self.runtime.tracer
            if tracer is None:
                result = self.call_back("handle_call", self.server.handle_call, request, sender)
            else:
                result = in_server_span(
                    tracer,
                    self,
                    sender,
                    lambda: self.call_back("handle_call", self.server.handle_call, request, sender),
                )
            self._carry_on(sender, "handle_call", request, result)
        elif kind is GEN_CAST:
            result = self.call_back("handle_cast", self.server.handle_cast, request)
            if result is not None or self.debug is not None:  # None asks for nothing
                self._carry_on(None, "handle_cast", request, result)
        else:
            result = self.call_back("handle_info", self.server.handle_info, message)
            if result is not None or self.debug is not None:
                self._carry_on(None, "handle_info", message, result)

    # -- what callbacks return ---------------------------------------------------------------------

    def _carry_on(self, sender: From | None, callback: str | None, argument: Any, result: Any) -> None:
        """Do what ``callback``, called with ``argument``, has returned, until something has to be
        awaited. ``sender`` is the client that gets the reply."""
        while True:
            if self.state is not ProcessState.RUNNING:  # ended by the callback itself
                dispose(result)
                return
            if isinstance(result, Awaitable):
                self.await_code(result, partial(self._carry_on, sender, callback, argument))
                return
            if result is NO_CLAUSE and callback is not None:
                if callback != "handle_info":
                    raise function_clause(self.server, callback, argument)
                result = GenServer.handle_info(self.server, argument)
            if self.debug is not None and callback is not None and not isinstance(result, Stop):
                self._debug_result(sender, callback, argument, result)
            then: Then = None
            if isinstance(result, Reply | NoReply | Stop):
                if isinstance(result, Stop):
                    self.terminate(result.reason, sender, result.reply)
                    return
                then = result.then
                if isinstance(result, Reply):
                    if sender is None:
                        raise ProcessExit((BAD_RETURN_VALUE, repr(result)))
                    gen_reply(self, sender, result.value)
            elif sender is not None:
                gen_reply(self, sender, result)
            if isinstance(then, Continue):
                callback, argument, sender = "handle_continue", then.argument, None
                self._last = (_CONTINUE, argument)
                result = self.call_back(callback, self.server.handle_continue, argument)
                continue
            if then is not None and not isinstance(then, Atom):
                self._timer = asyncio.get_running_loop().call_later(then, self._time_out)
            return

    def _debug_result(self, sender: From | None, callback: str, argument: Any, result: Any) -> None:
        """Give the event of what a callback has returned to the debug options."""
        debug = self.debug
        if debug is None:
            return
        if callback == "handle_continue":
            debug.event(CONTINUE, argument)
        if sender is None or isinstance(result, NoReply):
            debug.event_with_state(self.server, NOREPLY)
        else:
            value = result.value if isinstance(result, Reply) else result
            debug.event_with_state(self.server, OUT, value, sender)

    def _time_out(self) -> None:
        self._timer = None
        self.runtime.deliver(self, TIMEOUT)

    def ended(self) -> None:
        super().ended()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
