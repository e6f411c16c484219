"""Calls from other nodes: ``erpc`` by spawned processes, ``rpc`` by the server ``rex``.

OTP: ``erpc(3)``, ``rpc(3)``. Only exported functions are called; for others the answer is ``undef``, as of
a BEAM without that function.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from quicdist.node.errors import NoSuchProcess
from quicdist.node.exit_reason import CLASS_EXIT, EXIT, NORMAL, SHUTDOWN, error_term
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.node.spawnables import Starter
from quicdist.otp import gen_server
from quicdist.otp.dispatcher import Dispatcher
from quicdist.otp.erlang_apply import INDIRECT, NotApplicable
from quicdist.otp.gen_messages import From, reply
from quicdist.otp.gen_server import GenServer
from quicdist.otp.outcome import RETURN, THROW, Outcome, exit_of, uncaught
from quicdist.term import Atom, Pid, TermError

_PROC_LIB = Atom("proc_lib")
_BADRPC = Atom("badrpc")
_CALL = Atom("call")
_BLOCK_CALL = Atom("block_call")
_CAST = Atom("cast")
_REX = Atom("rex")
_SBCAST = Atom("sbcast")
_SEND = Atom("send")
_NONEXISTING_NAME = Atom("nonexisting_name")
_FEATURES_REQUEST = Atom("features_request")
_FEATURES_REPLY = Atom("features_reply")
_ERPC = Atom("erpc")


class ErpcServer:
    """The processes that ``erpc`` of other nodes spawns here."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher) -> None:
        spawning = runtime.spawning
        self._runtime = runtime
        self._dispatcher = dispatcher
        spawning.offer("erpc", "execute_call", 4, self._execute_call_4)
        spawning.offer("erpc", "execute_call", 3, self._execute_call_3)
        spawning.offer("erpc", "execute_cast", 3, self._execute_cast)
        spawning.ask(self._exported)
        self._spawning = spawning
        for module, function, arity in INDIRECT:
            starter = functools.partial(self._indirect, Atom(module), Atom(function))
            spawning.offer(module, function, arity, starter)

    def _execute_call_4(self, process: Process, arguments: list[Any]) -> None:
        reference, *mfa = arguments
        self._dispatcher.apply(
            process, process.parent, mfa, lambda outcome: self._end(process, (reference, *outcome))
        )

    def _execute_call_3(self, process: Process, arguments: list[Any]) -> None:
        def done(outcome: Outcome) -> None:
            self._end(process, NORMAL if outcome[0] == RETURN else exit_of(outcome))

        self._dispatcher.apply(process, process.parent, arguments, done)

    def _execute_cast(self, process: Process, arguments: list[Any]) -> None:
        def done(outcome: Outcome) -> None:
            report_uncaught(self._runtime, process, outcome)
            self._end(process, NORMAL if outcome[0] == RETURN else exit_of(outcome))

        self._dispatcher.apply(process, process.parent, arguments, done)

    def _indirect(self, module: Atom, function: Atom, process: Process, arguments: list[Any]) -> None:
        """``spawn(Node, Fun)``, ``proc_lib:spawn(Node, Module, Function, Arguments)``: spawn the function
        that it names."""
        process.is_otp_process = module == _PROC_LIB
        try:
            mfa, _ = self._dispatcher.resolve((module, function, arguments))
        except NotApplicable as error:
            report_uncaught(self._runtime, process, error.outcome)
            self._end(process, exit_of(error.outcome))
        else:
            process.body = (mfa[0], mfa[1], len(mfa[2]))
            self._spawning.start(process, mfa)

    def _exported(self, module: str, function: str, arity: int) -> Starter | None:
        """An exported function that is spawned by its name (``spawn/4``)."""
        if not self._dispatcher.knows(module, function, arity):
            return None
        mfa = [Atom(module), Atom(function)]

        def start(process: Process, arguments: list[Any]) -> None:
            self._dispatcher.apply(
                process, process.parent, [*mfa, arguments], lambda out: ended(process, out)
            )

        def ended(process: Process, outcome: Outcome) -> None:
            report_uncaught(self._runtime, process, outcome)
            self._end(process, NORMAL if outcome[0] == RETURN else exit_of(outcome))

        return start

    def _end(self, process: Process, reason: Any) -> None:
        self._runtime.submit(self._runtime.terminate, process, reason)


class Rex(GenServer):
    """The server ``rex``: calls of nodes without ``erpc``, and the other functions of ``rpc``."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher

    def get_state(self) -> Any:
        return {}

    def handle_call(self, request: Any, sender: From) -> Any:
        match request:
            case (kind, module, function, arguments, leader) if kind == _CALL:
                self._call([module, function, arguments], leader, sender)
                return gen_server.NO_REPLY
            case (kind, module, function, arguments, leader) if kind == _BLOCK_CALL:
                return self._block_call([module, function, arguments], leader, sender)
        return gen_server.NO_REPLY  # As in OTP, an unknown call gets no reply.

    def handle_cast(self, request: Any) -> None:
        match request:
            case (kind, module, function, arguments, leader) if kind == _CAST:
                done = functools.partial(report_uncaught, self._runtime)
                self._spawned(None, [module, function, arguments], leader, done)
            case _:
                pass  # OTP ignores it too.

    def handle_info(self, message: Any) -> None:
        match message:
            case (Pid() as sender, request) if request == _FEATURES_REQUEST:
                self.process.send(sender, (_FEATURES_REPLY, Atom(self._runtime.known_as), [_ERPC]))
            case (Pid() as sender, (kind, Atom() as name, body)) if kind == _SBCAST:
                known = self._deliver(name, body)
                answer: Any = Atom(self._runtime.known_as) if known else (_NONEXISTING_NAME, name)
                self.process.send(sender, (_REX, Atom(self._runtime.known_as), answer))
            case (Pid() as sender, (kind, Atom() as name, body)) if kind == _SEND:
                if not self._deliver(name, (sender, body)):
                    answer = (_REX, Atom(self._runtime.known_as), (_NONEXISTING_NAME, name))
                    self.process.send(sender, answer)
            case (Pid() as sender, (kind, module, function, arguments, leader)) if kind == _CALL:
                # "Special for hidden C nodes": no reference, the answer is {rex, Value}.
                self._call([module, function, arguments], leader, (sender, None))
            case _:
                pass

    def _deliver(self, name: Atom, message: Any) -> bool:
        try:
            self.process.send(name, message)
        except NoSuchProcess:
            return False
        return True

    def _call(self, mfa: list[Any], leader: Any, sender: From) -> None:
        self._spawned(sender[0], mfa, leader, lambda process, outcome: self._answer(sender, outcome))

    def _spawned(
        self,
        caller: Pid | None,
        mfa: list[Any],
        leader: Any,
        done: Callable[[Process, Outcome], None],
    ) -> None:
        """Apply a function in a new process; ``leader`` is its group leader if it is a pid."""
        runtime = self._runtime
        process = runtime.add_process()
        if isinstance(leader, Pid):
            process.group_leader = leader
        process.body = (mfa[0], mfa[1], len(mfa[2]) if isinstance(mfa[2], list) else 0)
        if runtime.calls.refused:
            done(process, (CLASS_EXIT, SHUTDOWN))
            runtime.terminate(process, SHUTDOWN)
            return

        def finished(outcome: Outcome) -> None:
            done(process, outcome)
            runtime.submit(runtime.terminate, process, NORMAL)

        self._dispatcher.apply(process, caller, mfa, finished)

    async def _block_call(self, mfa: list[Any], leader: Any, sender: From) -> Any:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def ended(_: Process, result: Outcome) -> None:
            if not outcome.done():
                outcome.set_result(result)

        self._spawned(sender[0], mfa, leader, ended)
        self._answer(sender, await outcome)
        return gen_server.NO_REPLY

    def _answer(self, sender: From, outcome: Outcome) -> None:
        value = outcome[1] if outcome[0] == RETURN else _failed(outcome)
        try:
            self._reply(sender, value)
        except TermError as error:
            self._reply(sender, (_BADRPC, (EXIT, (error_term(error), []))))

    def _reply(self, sender: From, value: Any) -> None:
        if sender[1] is None:
            self.process.send(sender[0], (_REX, value))
        else:
            reply(self.process, sender, value)


def _failed(outcome: Outcome) -> Any:
    # A thrown value is a plain result: rpc does not distinguish them.
    return outcome[1] if outcome[0] == THROW else (_BADRPC, (EXIT, exit_of(outcome)))


def report_uncaught(runtime: Runtime, process: Process, outcome: Outcome) -> None:
    """Report a process whose function failed, where no caller gets an answer."""
    if outcome[0] != RETURN:
        runtime.report_crash(process, uncaught(outcome))
