"""The client side of ``rpc``, where it differs from ``erpc``: block calls, broadcasts, server calls.

OTP: ``rpc(3)``. For a plain call use :meth:`ErpcClient.call`, as OTP's ``rpc:call`` does itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

from quicdist.node.errors import NodeError, NotConnected
from quicdist.node.exit_reason import NORMAL
from quicdist.node.patterns import ANY, AnyOf
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.call_context import group_leader
from quicdist.otp.deadline import Deadline
from quicdist.otp.erpc import ErpcClient, rex_error
from quicdist.otp.errors import CallTimeout, RemoteError, fails_rpc
from quicdist.otp.gen import GenClient
from quicdist.protocol.names import N, node_name, node_names
from quicdist.term import Atom, Reference
from quicdist.term.names import REGISTERED_NAME, Name, atom_of, mfa_of

REX = "rex"

_REX = Atom(REX)
_BADRPC = Atom("badrpc")
_EXIT = Atom("EXIT")
_BLOCK_CALL = Atom("block_call")
_SBCAST = Atom("sbcast")
_DOWN = Atom("DOWN")


class RpcClient:
    """The functions of ``rpc`` that :class:`ErpcClient` does not have."""

    def __init__(self, runtime: Runtime, gen: GenClient, erpc: ErpcClient) -> None:
        self._runtime = runtime
        self._gen = gen
        self._erpc = erpc

    async def block_call(
        self,
        node: Name,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Any:
        """Like :meth:`ErpcClient.call`, but the node's server ``rex`` runs the function itself, one call
        at a time (``rpc:block_call/5``)."""
        node, mfa = node_name(node), mfa_of(module, function, arguments)
        request = (_BLOCK_CALL, *mfa, group_leader(self._runtime.owner) or self._runtime.group_leader)
        try:
            value = await self._gen.call((REX, node), request, timeout=timeout)
        except NodeError as failed:
            fails_rpc(failed)
            raise
        error = rex_error(node, value, f"{module}:{function}/{len(mfa[2])} on {node}")
        if error is not None:
            raise error
        return value

    async def multicall(
        self,
        nodes: Iterable[N],
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> tuple[list[Any], list[N]]:
        """Apply a function on many nodes at once: ``(results, bad nodes)`` (``rpc:multicall/5``).

        The result of a call that failed is ``(Atom("badrpc"), Reason)``. Bad nodes are those that could
        not be reached, or did not answer within ``timeout`` seconds.
        """
        names = node_names(nodes)
        results: list[Any] = []
        bad: list[N] = []
        outcomes = await self._erpc.multicall(names, module, function, arguments, timeout=timeout)
        for node, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, NotConnected | CallTimeout):
                bad.append(node)
            else:
                results.append(_badrpc(outcome) if isinstance(outcome, RemoteError) else outcome)
        return results, bad

    def abcast(self, nodes: Iterable[Name], name: Name, message: Any) -> None:
        """Send a message to a registered name on many nodes (``rpc:abcast/3``)."""
        name = atom_of(name, REGISTERED_NAME)
        for node in node_names(nodes):
            self._runtime.send(self._gen.process.pid, (name, node), message)

    async def sbcast(
        self, nodes: Iterable[N], name: Name, message: Any, *, timeout: float | None = None
    ) -> tuple[list[N], list[N]]:
        """Send a message to a registered name on many nodes: ``(good nodes, bad nodes)``, the good ones
        have a process of that name (``rpc:sbcast/3``). ``timeout`` is in seconds."""
        request = (_SBCAST, atom_of(name, REGISTERED_NAME), message)
        answers = await self._ask_all(node_names(nodes), _REX, _REX, request, timeout)
        good = [node for node, answer in answers if answer == Atom(node)]
        return good, [node for node, _ in answers if node not in good]

    async def server_call(
        self, node: Name, name: Name, wrapper: Any, message: Any, *, timeout: float | None = None
    ) -> Any:
        """Send ``{Pid, Message}`` to a registered name and wait for ``{Wrapper, Node, Reply}``
        (``rpc:server_call/4``). Raises :class:`NotConnected` where the server is not there, as OTP
        answers ``{error, nodedown}``."""
        node, name = node_name(node), atom_of(name, REGISTERED_NAME)
        ((_, answer),) = await self._ask_all([node], name, wrapper, message, timeout)
        if isinstance(answer, _Gone):
            error = self._gen.down_error((name, node), answer.reason)
            raise error if isinstance(error, NotConnected) else NotConnected(node, (error,))
        return answer

    async def multi_server_call(
        self, nodes: Iterable[N], name: Name, message: Any, *, timeout: float | None = None
    ) -> tuple[list[Any], list[N]]:
        """:meth:`server_call` on many nodes, whose servers wrap their replies in their own name:
        ``(replies, bad nodes)`` (``rpc:multi_server_call/3``)."""
        name = atom_of(name, REGISTERED_NAME)
        answers = await self._ask_all(node_names(nodes), name, name, message, timeout)
        replies = [answer for _, answer in answers if not isinstance(answer, _Gone)]
        return replies, [node for node, answer in answers if isinstance(answer, _Gone)]

    async def _ask_all(
        self, nodes: list[N], name: Atom, wrapper: Any, message: Any, timeout: float | None
    ) -> list[tuple[N, Any]]:
        """``{Pid, Message}`` to a name on each node; its reply, or :class:`_Gone`."""
        deadline = Deadline(timeout)
        answers: list[tuple[N, Any]] = []
        async with mailbox(self._runtime) as process:
            asked: list[tuple[N, Reference]] = []
            for node in nodes:
                asked.append((node, process.monitor((name, node))))
                process.send((name, node), (process.pid, message))
            for node, reference in asked:
                pattern = AnyOf((wrapper, Atom(node), ANY), (_DOWN, reference, ANY, ANY, ANY))
                try:
                    answer = await process.receive(pattern, timeout=deadline.left())
                except TimeoutError:
                    raise CallTimeout(f"{name} on {node}", timeout or 0.0) from None
                process.demonitor(reference)
                gone = len(answer) == 5
                answers.append((node, _Gone(answer[4]) if gone else answer[2]))
        return answers


class _Gone(NamedTuple):
    """In place of a reply: the server does not exist, or its node is not connected."""

    reason: Any


@contextlib.asynccontextmanager
async def mailbox(runtime: Runtime) -> AsyncIterator[Process]:
    """A process without a body, for a coroutine that receives messages and is not a process itself."""
    process = runtime.add_process()
    try:
        yield process
    finally:
        runtime.terminate(process, NORMAL)


def _badrpc(error: RemoteError) -> Any:
    """The result of ``rpc`` for an exception of ``erpc``; a thrown value is a plain result."""
    if error.kind == "throw":
        return error.reason
    match error.reason:
        case (Atom(name="erpc"), word) if error.kind == "error" and error.stack is None:
            return (_BADRPC, word)  # such as notsup
    if error.kind == "error" and error.stack is not None:
        return (_BADRPC, (_EXIT, (error.reason, error.stack)))
    return (_BADRPC, (_EXIT, error.reason))
