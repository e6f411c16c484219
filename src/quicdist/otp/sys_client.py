"""The client side of ``sys``: read, debug, change, suspend and end servers of any node.

OTP: ``sys(3)``. Works with ``gen_server``, ``gen_statem``, ``supervisor`` and all processes that handle
system messages.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import NORMAL
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.circuit_breaker import CircuitBreaker
from quicdist.otp.deadline import Deadline, within
from quicdist.otp.debug_options import open_file
from quicdist.otp.errors import exits_call
from quicdist.otp.exports import Exports
from quicdist.otp.gen import GenClient, described, milliseconds, ref_term
from quicdist.otp.gen_messages import SYSTEM
from quicdist.otp.name_resolver import NameResolver
from quicdist.otp.server_names import Global, Via
from quicdist.otp.state_form import StateForm
from quicdist.term import Atom, Export, charlist
from quicdist.term.names import MODULE, Name, atom_of

_OK, _ERROR = Atom("ok"), Atom("error")
_SYS, _GET_STATE = Atom("sys"), Atom("get_state")
_DEBUG, _LOG, _STATISTICS = Atom("debug"), Atom("log"), Atom("statistics")


class SysClient:
    """Sends system messages. ``timeout`` is in seconds; raises the errors of a call."""

    def __init__(
        self, gen: GenClient, runtime: Runtime, state_form: StateForm, names: NameResolver, exports: Exports
    ) -> None:
        self._gen = gen
        self._runtime = runtime
        self._names = names
        #: The directory in which other nodes may have servers of this node write log files
        #: (``sys:log_to_file/2``), by plain file names. None: no file is opened for other nodes.
        self.log_directory: Path | None = None
        #: The functions that funs of other nodes can name.
        self.exports = exports
        #: Also used by the servers of this node, when they answer ``sys`` of other nodes.
        self.state_form = state_form
        self.circuit_breaker = CircuitBreaker()

    async def get_state(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """The state of a server (``sys:get_state/2``). Raises :class:`NodeError` if the server cannot give
        it."""
        name = to
        deadline = Deadline(timeout)
        if isinstance(to, Global | Via):
            try:
                to = await self._names.where(to, timeout)
            except NodeError as error:
                exits_call(error, _function(name, _GET_STATE, timeout))
                raise
        return await self._state_of(name, to, _GET_STATE, deadline)

    async def replace_state(self, to: Any, function: Any, *, timeout: float | None = 5.0) -> Any:
        """Replace the state of a server by ``function(state)``, and return the new state
        (``sys:replace_state/3``).

        For a server of this node ``function`` is a Python function, which may be a coroutine function. For
        one of a BEAM it is an :class:`~quicdist.term.Export`, ``fun Module:Function/1``, of a function there.
        Raises :class:`NodeError` if the function or the server fails; its state is as before then.
        """
        deadline = Deadline(timeout)
        name = to
        to = await self._located(to, function, "replace_state", timeout)
        return await self._state_of(name, to, (Atom("replace_state"), function), deadline)

    async def change_code(
        self,
        to: Any,
        module: Name,
        old_version: Any = None,
        extra: Any = None,
        *,
        timeout: float | None = 5.0,
    ) -> None:
        """Have a suspended server convert its state (``sys:change_code/5``). Raises :class:`NodeError` if it
        fails, or if the server is not suspended."""
        request = (Atom("change_code"), atom_of(module, MODULE), old_version, extra)
        self._checked(to, await self._ask(to, request, timeout))

    async def _state_of(self, name: Any, to: Any, request: Any, deadline: Deadline) -> Any:
        answer = await self._ask(to, request, deadline.left())
        if isinstance(answer, tuple) and len(answer) == 2:
            if answer[0] == _ERROR:
                failed = NodeError(f"{described(name)} failed: {shown(answer[1])}")
                failed.exit_reason = (answer[1], [])
                raise failed
            if answer[0] == _OK:
                async with within(deadline.left(), described(name)):
                    wrapped = await self.state_form.wrapped(self._runtime.locate(to)[0])
                return answer[1] if wrapped else answer
        return answer

    async def get_status(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """``{status, Pid, {module, Module}, Items}`` (``sys:get_status/2``)."""
        return await self._ask(to, Atom("get_status"), timeout)

    async def suspend(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Suspend a server: it handles system messages only (``sys:suspend/2``)."""
        await self._ask(to, Atom("suspend"), timeout)

    async def resume(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Resume a suspended server (``sys:resume/2``)."""
        await self._ask(to, Atom("resume"), timeout)

    async def terminate(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = 5.0) -> None:
        """End a server with ``reason`` (``sys:terminate/3``)."""
        await self._ask(to, (Atom("terminate"), reason), timeout)

    # -- debug options ---------------------------------------------------------------------------------

    async def trace(self, to: Any, on: bool = True, *, timeout: float | None = 5.0) -> None:
        """Print the events of a server at its group leader, or stop that (``sys:trace/3``)."""
        await self._debug(to, (Atom("trace"), on), timeout)

    async def log(
        self, to: Any, on: bool = True, *, size: int | None = None, timeout: float | None = 5.0
    ) -> None:
        """Keep the last events of a server, or stop that (``sys:log/3``). ``size`` is how many, by default
        10; a server that keeps them already goes on with its size."""
        await self._debug(to, (_LOG, on if size is None or not on else (True, size)), timeout)

    async def get_log(self, to: Any, *, timeout: float | None = 5.0) -> list[Any]:
        """The events that a server has kept, oldest first (``sys:log(Name, get)``)."""
        return list(await self._debug(to, (_LOG, Atom("get")), timeout))

    async def print_log(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Print the kept events at the server's group leader (``sys:log(Name, print)``)."""
        await self._debug(to, (_LOG, Atom("print")), timeout)

    async def log_to_file(
        self, to: Any, path: str | os.PathLike[str] | None, *, timeout: float | None = 5.0
    ) -> None:
        """Write the events of a server to a file of its node; None stops that (``sys:log_to_file/3``).
        Raises OSError for a file of this node that cannot be opened, :class:`NodeError` for one of another
        node."""
        file: Any = False
        if path is not None:
            here = self._runtime.locate(await self._where(to, timeout))[0] == self._runtime.name
            file = open_file(path) if here else charlist(os.fspath(path))
        try:
            await self._debug(to, (Atom("log_to_file"), file), timeout)
        except BaseException:
            if not isinstance(file, bool | list):
                file.close()
            raise

    async def statistics(self, to: Any, on: bool = True, *, timeout: float | None = 5.0) -> None:
        """Count the messages of a server, or stop that (``sys:statistics/3``)."""
        await self._debug(to, (_STATISTICS, on), timeout)

    async def get_statistics(self, to: Any, *, timeout: float | None = 5.0) -> dict[str, Any] | None:
        """What was counted: ``start_time``, ``current_time`` (``((year, month, day), (hour, minute,
        second))``, local time there), ``reductions``, ``messages_in``, ``messages_out``; None if counting is
        off (``sys:statistics(Name, get)``)."""
        answer = await self._debug(to, (_STATISTICS, Atom("get")), timeout)
        return {str(key): value for key, value in answer} if isinstance(answer, list) else None

    async def install(
        self, to: Any, function: Any, state: Any = None, *, key: Any = None, timeout: float | None = 5.0
    ) -> None:
        """Call ``function(state, event, name)`` for each event of a server; it returns its next state, or the
        atom ``done`` to be removed, as it is when it raises (``sys:install/3``). ``key`` names it for
        :meth:`remove`, by default the function itself.

        For a server of this node it is a plain Python function, for one of a BEAM an
        :class:`~quicdist.term.Export` of a function there.
        """
        await self._located(to, function, "install", timeout)
        spec = (function, state) if key is None else (key, function, state)
        await self._debug(to, (Atom("install"), spec), timeout)

    async def remove(self, to: Any, key: Any, *, timeout: float | None = 5.0) -> None:
        """Remove a function by its key (``sys:remove/3``)."""
        await self._debug(to, (Atom("remove"), key), timeout)

    async def no_debug(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Turn all debug options off (``sys:no_debug/2``)."""
        await self._ask(to, (_DEBUG, Atom("no_debug")), timeout)

    async def _debug(self, to: Any, what: Any, timeout: float | None) -> Any:
        return self._checked(to, await self._ask(to, (_DEBUG, what), timeout))

    def _checked(self, to: Any, answer: Any) -> Any:
        """The value of ``ok`` or ``{ok, Value}``. Raises :class:`NodeError` for any other answer."""
        if answer == _OK:
            return None
        if isinstance(answer, tuple) and len(answer) == 2 and answer[0] == _OK:
            return answer[1]
        raise NodeError(f"{described(to)} answered {shown(answer)}")

    async def _where(self, to: Any, timeout: float | None) -> Any:
        return await self._names.where(to, timeout) if isinstance(to, Global | Via) else to

    async def _located(self, to: Any, function: Any, what: str, timeout: float | None) -> Any:
        """Where ``to`` is. Raises TypeError for a function that cannot run there."""
        to = await self._where(to, timeout)
        node = self._runtime.locate(to)[0]
        if not isinstance(function, Export) and not (callable(function) and node == self._runtime.name):
            raise TypeError(
                f"{what} on {node} needs a function that can run there: a Python function for this node, an"
                f" Export for another one, not {function!r}"
            )
        return to

    async def _ask(self, to: Any, request: Any, timeout: float | None) -> Any:
        function = _function(to, request, timeout)
        return await self._gen.call(to, request, label=SYSTEM, timeout=timeout, function=function)


def _function(to: Any, request: Any, timeout: float | None) -> tuple[Any, ...]:
    """``{sys, Function, Arguments}``, for the exit reason of a failed call."""
    name, *more = request if isinstance(request, tuple) else (request,)
    if name == _DEBUG and isinstance(more[0], tuple):  # sys:trace(Name, Flag) and so on
        name, *more = more[0]
    elif name == _DEBUG:
        name, more = more[0], []
    return (_SYS, name, [ref_term(to), *more, milliseconds(timeout)])
