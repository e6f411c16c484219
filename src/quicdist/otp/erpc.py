"""The client side of ``erpc``: calls functions on other nodes.

OTP: ``erpc(3)``. A call spawns ``erpc:execute_call/4`` by SPAWN_REQUEST with a monitor; the exit reason
is the result. A peer without DFLAG_SPAWN (a C or Java node) cannot be called: ``{erpc, notsup}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from quicdist.errors import QuicDistError
from quicdist.node.connections import ConnectionTable
from quicdist.node.errors import NodeError, NotConnected
from quicdist.node.exit_reason import NOCONNECTION
from quicdist.node.runtime import Runtime
from quicdist.node.tracing import SafeSpan, TracedCall, client_span
from quicdist.otp.call_context import group_leader
from quicdist.otp.call_counters import CallCounters
from quicdist.otp.deadline import Deadline
from quicdist.otp.errors import RemoteError, fails_erpc
from quicdist.otp.gen import GenClient
from quicdist.otp.request import Request
from quicdist.otp.trace_propagation import FEATURES, MODULE, TracePropagation, traced_mfa
from quicdist.protocol.names import node_name, node_names
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import MFA, Name, mfa_of

_MONITOR = Atom("monitor")
_RETURN = Atom("return")
_BADRPC = Atom("badrpc")
_EXIT = Atom("EXIT")
_NODEDOWN = Atom("nodedown")
_ERPC = Atom("erpc")


#: :meth:`ErpcClient.call`: node, module, function, arguments, and ``timeout`` in seconds.
RemoteCall = Callable[..., Awaitable[Any]]


class ErpcClient:
    """Calls functions on other nodes."""

    def __init__(
        self,
        runtime: Runtime,
        connections: ConnectionTable,
        gen: GenClient,
    ) -> None:
        self._runtime = runtime
        self._spawning = runtime.spawning
        self._connections = connections
        self._gen = gen
        self._connecting: set[asyncio.Task[None]] = set()
        #: The calls, by their outcome.
        self.counters = CallCounters()
        #: Carries traces to other nodes, if calls are traced.
        self.propagation: TracePropagation | None = None

    async def call(
        self,
        node: Name,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Any:
        """Apply a function on another node and return its value (``erpc:call/5``).

        ``timeout`` is in seconds and includes connecting; None waits for ever. After a time-out the
        function continues on its node. Raises :class:`NotConnected`, :class:`CallTimeout` and
        :class:`RemoteError`, of the kind ``"error"`` and with the reason ``{erpc, notsup}`` for a C or Java
        node, which cannot be called; TypeError for invalid names or arguments.
        """
        return await self.send_request(node, module, function, arguments).receive_response(timeout)

    def send_request(
        self, node: Name, module: Name, function: Name, arguments: Sequence[Any] = ()
    ) -> Request[Any]:
        """Apply a function on another node without waiting; the result comes from the
        :class:`Request` (``erpc:send_request/4``)."""
        return self._ask(node_name(node), mfa_of(module, function, arguments))

    async def features(self, node: Name) -> Any:
        """``quicdist:features/0`` on another node. This call is not traced."""
        return await self._ask(node_name(node), (MODULE, FEATURES, []), traced=False).receive_response()

    def _ask(self, node: str, mfa: MFA, *, traced: bool = True) -> Request[Any]:
        self._runtime.check_loop()
        node = self._runtime.internal(node)
        call = _PendingCall(self, node, mfa, traced=traced)
        connected = node == self._runtime.name or self._connections.is_linked(node)
        if connected and not call.has_to_learn():
            call.begin()
        else:
            task = asyncio.ensure_future(self._connect(node, call))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
            call.connecting = task
        return call.request

    async def _connect(self, node: str, call: _PendingCall) -> None:
        try:
            await self._connections.connect(node)
            if self.propagation is not None and call.has_to_learn():
                await self.propagation.learn(node)
            call.begin()
        except Exception as error:
            call.request.fail(error)
        finally:
            call.connecting = None

    def cast(self, node: Name, module: Name, function: Name, arguments: Sequence[Any] = ()) -> None:
        """Apply a function on another node; there is no result (``erpc:cast/4``)."""
        self._cast(node_name(node), mfa_of(module, function, arguments))

    def _cast(self, node: str, mfa: MFA) -> None:
        self._spawning.request(
            node,
            self._gen.process.pid,
            self._leader,
            ("erpc", "execute_cast"),
            list(mfa),
            [],
            lambda _: None,
            owned=False,
        )

    @property
    def _leader(self) -> Pid:
        """The group leader of called functions, for their output: the node's, and in a function that another
        node has called, that of its call."""
        return group_leader(self._runtime.owner) or self._runtime.group_leader or self._gen.process.pid

    async def multicall(
        self,
        nodes: Iterable[Name],
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> list[Any]:
        """Apply a function on many nodes at once (``erpc:multicall/5``).

        Returns one result for each node, in the order of ``nodes``: the value, or the exception that
        :meth:`call` would have raised. ``timeout`` (seconds) is for all nodes together.
        """
        mfa = mfa_of(module, function, arguments)
        requests = [self._ask(node_name(node), mfa) for node in node_names(nodes)]
        return await gather(requests, timeout)

    def multicast(
        self, nodes: Iterable[Name], module: Name, function: Name, arguments: Sequence[Any] = ()
    ) -> None:
        """Apply a function on many nodes; there are no results (``erpc:multicast/4``)."""
        mfa = mfa_of(module, function, arguments)
        for node in node_names(nodes):
            self._cast(node_name(node), mfa)


async def gather(requests: Sequence[Request[Any]], timeout: float | None) -> list[Any]:
    """The value or the exception of each request, once all are answered, or after ``timeout``
    seconds."""
    deadline = Deadline(timeout)
    results: list[Any] = []
    try:
        for request in requests:
            try:
                results.append(await request.receive_response(deadline.left()))
            except QuicDistError as error:
                results.append(error)
    finally:
        for request in requests:
            request.abandon()
    return results


class _PendingCall:
    """One call that is not answered yet."""

    def __init__(self, client: ErpcClient, node: str, mfa: MFA, *, traced: bool) -> None:
        self._client = client
        self._node = node
        self._mfa = mfa
        self._source = client._gen.process.pid
        self._spawn: Reference | None = None
        self.connecting: asyncio.Task[None] | None = None
        tracer = client._runtime.tracer if traced else None
        self._span: SafeSpan | None = None
        if tracer is not None:
            call = TracedCall("erpc", client._runtime.name, node, self._name())
            self._span = client_span(tracer, call)
        self.request: Request[Any] = Request(
            self._what, self._abandon, fails_erpc, client.counters if traced else None, self._span
        )

    def _name(self) -> str:
        module, function, arguments = self._mfa
        return f"{module}:{function}/{len(arguments)}"

    def _what(self) -> str:
        return f"{self._name()} on {self._node}"

    def has_to_learn(self) -> bool:
        """Whether it is not known yet if the node takes the headers of the span."""
        propagation = self._client.propagation
        return self._span is not None and propagation is not None and not propagation.is_known(self._node)

    def _sent_mfa(self) -> MFA:
        """The call as it is sent: with the headers of the span, if the node takes them."""
        propagation = self._client.propagation
        if self._span is not None and propagation is not None and propagation.takes_headers(self._node):
            headers = self._span.headers()
            if headers:
                return traced_mfa(headers, self._mfa)
        return self._mfa

    def begin(self) -> None:
        """Send the call; its node is connected, or is this one."""
        client = self._client
        monitors, identifiers = client._runtime.monitors, client._runtime.identifiers
        result, self._spawn = identifiers.reference(), identifiers.reference()
        # Before the request: on this node the process may have ended when it returns.
        monitors.await_spawned(self._spawn, self._node, lambda reason: self._down(result, reason))
        try:
            client._spawning.request(
                self._node,
                self._source,
                client._leader,
                ("erpc", "execute_call"),
                [result, *self._sent_mfa()],
                [_MONITOR],
                self._replied,
                reference=self._spawn,
                # Its process can be restarted, and then gets the answer in the new one.
                owned=False,
            )
        except BaseException:
            monitors.forget(self._spawn)
            raise

    def _replied(self, answer: Pid | Atom) -> None:
        """SPAWN_REPLY: the pid, or the reason of the failure."""
        if isinstance(answer, Pid):
            if self._spawn is not None:
                self._client._runtime.monitors.spawned(self._spawn, answer)
        elif answer == NOCONNECTION:
            self.request.fail(self._client._runtime.not_connected(self._node))
        else:
            self.request.fail(RemoteError("error", (_ERPC, answer), where=self._what()))

    def _down(self, result: Reference, reason: Any) -> None:
        match reason:
            case (ref, kind, value) if ref == result and kind == _RETURN:
                self.request.succeed(value)
            case (ref, Atom(name=kind), value, *stack) if ref == result:
                self.request.fail(RemoteError(kind, value, stack[0] if stack else None, where=self._what()))
            case _ if reason == NOCONNECTION:
                self.request.fail(self._client._runtime.not_connected(self._node))
            case _:
                self.request.fail(RemoteError("signal", reason, where=self._what()))

    # -- abandoned ---------------------------------------------------------------------------------

    def _abandon(self) -> None:
        """``erpc:call_abandon``: the spawned process continues, without the monitor."""
        client = self._client
        if self.connecting is not None:
            self.connecting.cancel()
        if self._spawn is not None and not client._spawning.abandon(self._spawn):
            client._runtime.monitors.demonitor(self._spawn, self._source)


def rex_error(node: str, value: Any, what: str) -> Exception | None:
    """The exception for an answer of ``rex``, None if it is a value."""
    match value:
        case (tag, (exit_tag, (reason, list(stack)))) if tag == _BADRPC and exit_tag == _EXIT:
            return RemoteError("error", reason, stack, where=what)
        case (tag, (exit_tag, reason)) if tag == _BADRPC and exit_tag == _EXIT:
            return RemoteError("exit", reason, where=what)
        case (tag, reason) if tag == _BADRPC:
            if reason == _NODEDOWN:
                return NotConnected(node, (NodeError("its rex answered nodedown"),))
            return RemoteError("error", reason, where=what)
    return None
