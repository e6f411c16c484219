"""The node for programs without an event loop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Self, TypeVar

from quicdist.carrier import NetAddress
from quicdist.carrier.termination import termination
from quicdist.logs import get_logger
from quicdist.node.endpoints import Endpoint
from quicdist.otp import Node as AsyncNode
from quicdist.otp.call_context import is_called_on
from quicdist.sync import services
from quicdist.sync.cluster import Cluster, unsubscriber
from quicdist.sync.exports import Exports
from quicdist.sync.loop_thread import LoopThread
from quicdist.sync.methods import Facade, blocking, blocking_to, in_loop, in_loop_to, same_options
from quicdist.sync.process import Process, body_of, process_of, process_or_none
from quicdist.sync.streams import StreamAcceptor, UserStream, handler_of, stream_of
from quicdist.term.names import Name

log = get_logger("quicdist.sync")

F = TypeVar("F", bound=Callable[..., Any])


class Node(Facade[AsyncNode]):
    """A node for programs without an event loop: scripts, notebooks, web applications with threads::

        with Node("py@127.0.0.1", cookie="secret") as node:
            print(node.call("a@127.0.0.1", "lists", "reverse", [[1, 2, 3]]))

    The options, the methods, their results and their errors are those of :class:`quicdist.Node`; the methods
    wait where that one's are awaited. They can be called in any thread, and in many at once. The node runs in
    a thread of its own.

    Plain functions run in threads, so they may block and use this node: the body of a process
    (:meth:`spawn`, :meth:`process`), exported functions, handlers of streams. Coroutine functions, the
    callbacks of servers (:meth:`serve`) and of subscriptions run in the thread of the node: there this node
    raises :class:`NodeError`, and coroutines use the asynchronous one, ``process.node``."""

    @same_options(AsyncNode.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        node = AsyncNode(*args, **options)
        super().__init__(LoopThread(node), node)

    def __repr__(self) -> str:
        return f"<quicdist.sync.{repr(self._inner)[1:]}"

    # -- starting and stopping -------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_forked:
            return
        self.stop()
        if raised is None and self._thread.error is not None:
            raise self._thread.error

    def start(self) -> None:
        """Start the thread, listen, register the name, and accept connections from then on. Raises as
        :meth:`quicdist.Node.start`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop in order, and wait until that is done; see :meth:`quicdist.Node.stop`. Called in code that the
        node runs, such as an exported function, it does not wait. An interrupt (Ctrl-C) ends the wait."""
        self._thread.begin_stop()
        if self._thread.is_current() or is_called_on(self._inner):
            return
        try:
            self._thread.join()
        except BaseException:
            self._thread.abandon()
            raise

    def run_forever(self) -> None:
        """Wait until the node has stopped. In the main thread SIGTERM and SIGINT stop it, a second one ends
        the program at once. Raises the error that made the node stop by itself."""
        if not self._thread.is_over:
            with termination.listening(self._signalled, self._thread.loop):
                self._thread.join()
        if self._thread.error is not None:
            raise self._thread.error

    def _signalled(self, number: signal.Signals) -> None:
        log.info("%s: node %s stops; a second signal ends it at once", number.name, self.name)
        self._thread.begin_stop()

    def call_soon_threadsafe(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the thread of the node, and do not wait. What it raises is logged. Raises
        :class:`NodeNotStarted`."""
        self._inner.call_soon_threadsafe(function, *args)

    # -- what it is ------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """``alive@host``; ``nonode@nohost`` for a node that waits to be given its name."""
        return self._inner.name

    @property
    def addresses(self) -> list[NetAddress]:
        """Where it listens, one address for each endpoint that does."""
        return self._inner.addresses

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Its carriers and their discovery, in the order in which they are tried."""
        return self._inner.endpoints

    @property
    def net_ticktime(self) -> float:
        """Seconds of silence after which a connected node counts as down."""
        return self._inner.net_ticktime

    metrics = in_loop(AsyncNode.metrics)

    # -- services, by the names of OTP's modules -------------------------------------------

    @property
    def erpc(self) -> services.ErpcClient:
        """``erpc``: functions of other nodes, one or many at once."""
        return services.ErpcClient(self._thread, self._inner.erpc)

    @property
    def rpc(self) -> services.RpcClient:
        """``rpc``: its functions that ``erpc`` does not have."""
        return services.RpcClient(self._thread, self._inner.rpc)

    @property
    def gen_server(self) -> services.GenServerClient:
        """``gen_server``: servers of any node."""
        return services.GenServerClient(self._thread, self._inner.gen_server)

    @property
    def gen_statem(self) -> services.GenStatemClient:
        """``gen_statem``: state machines of any node."""
        return services.GenStatemClient(self._thread, self._inner.gen_statem)

    @property
    def gen_event(self) -> services.GenEventClient:
        """``gen_event``: event managers of any node."""
        return services.GenEventClient(self._thread, self._inner.gen_event)

    @property
    def task_supervisor(self) -> services.TaskSupervisorClient:
        """``Task.Supervisor`` of Elixir: tasks on any node that has one."""
        return services.TaskSupervisorClient(self._thread, self._inner.task_supervisor)

    @property
    def net_kernel(self) -> services.NetKernel:
        """``net_kernel``: the other nodes."""
        return services.NetKernel(self._thread, self._inner.net_kernel)

    @property
    def global_names(self) -> services.GlobalNames:
        """``global``: names that the whole cluster knows, and locks on all its nodes."""
        return services.GlobalNames(self._thread, self._inner.global_names)

    @property
    def io(self) -> services.IoClient:
        """``io``: text to and from processes that know Erlang's I/O protocol."""
        return services.IoClient(self._thread, self._inner.io)

    @property
    def pg(self) -> services.ProcessGroups:
        """``pg``: groups of processes that the nodes of a scope see."""
        return services.ProcessGroups(self._thread, self._inner.pg)

    @property
    def sys(self) -> services.SysClient:
        """``sys``: the state and the control of servers of any node."""
        return services.SysClient(self._thread, self._inner.sys)

    @property
    def quic_dist(self) -> services.QuicDist:
        """``quic_dist``: how single nodes are dialled, and the streams there are."""
        return services.QuicDist(self._thread, self._inner.quic_dist)

    @property
    def cluster(self) -> Cluster:
        """The nodes that this node stays connected to, by its option ``cluster``."""
        return Cluster(self._thread, self._inner.cluster)

    @property
    def exports(self) -> Exports:
        """What other nodes may call and spawn."""
        return Exports(self._thread, self._inner.exports)

    # -- processes -------------------------------------------------------------------------

    def process(self, name: Name) -> Callable[[F], F]:
        """Decorator: spawn a process for a function and register it under ``name``, when the node starts or,
        where it runs, at once. See :meth:`spawn`."""

        def spawned(function: F) -> F:
            self._thread.call(lambda: self._inner.process(name)(body_of(self._thread, function)))
            return function

        return spawned

    def spawn(self, function: Callable[..., Any], *args: Any, name: Name | None = None) -> Process:
        """Spawn a process for a function. A plain function runs in a thread of its own: it is called with the
        :class:`Process` and ``args`` once, or, if it takes one more parameter, with the process and each
        message. A coroutine function runs in the thread of the node, with the asynchronous
        :class:`quicdist.Process`."""
        body = body_of(self._thread, function, args)
        return process_of(self._thread, self._thread.call(self._inner.spawn, body, *args, name=name))

    def mailbox(self, name: Name | None = None) -> Process:
        """A process without a function, with which the caller receives messages (:class:`quicdist.Node` has
        no such method)::

            with node.mailbox("inbox") as inbox:
                node.send(("echo", "a@127.0.0.1"), (inbox.pid, "hello"))
                print(inbox.receive(timeout=5))
        """
        return process_of(self._thread, self._thread.call(self._inner.spawn, _until_its_end, name=name))

    serve = in_loop_to(AsyncNode.serve, process_of)
    whereis = in_loop_to(AsyncNode.whereis, process_or_none)
    send = in_loop(AsyncNode.send)

    # -- other nodes -----------------------------------------------------------------------

    connect = blocking(AsyncNode.connect)
    disconnect = in_loop(AsyncNode.disconnect)
    nodes = in_loop(AsyncNode.nodes)
    ping = blocking(AsyncNode.ping)
    is_auth = blocking(AsyncNode.is_auth)
    drain = blocking(AsyncNode.drain)
    set_cookie = in_loop(AsyncNode.set_cookie)
    subscribe = in_loop_to(AsyncNode.subscribe, unsubscriber)
    rebind = in_loop(AsyncNode.rebind)

    # -- calling and being called ------------------------------------------------------------

    call = blocking(AsyncNode.call)
    cast = in_loop(AsyncNode.cast)
    gen_server_call = blocking(AsyncNode.gen_server_call)
    gen_server_cast = in_loop(AsyncNode.gen_server_cast)

    def export(
        self,
        module: Name,
        function: Name | None = None,
        *,
        blocking: bool = True,
        executor: Executor | Callable[[], Executor] | None = None,
    ) -> Callable[[F], F]:
        """Decorator: let other nodes call a function, as ``module:function`` (by default its own name). A
        plain function runs in a thread of its own for each call, or in ``executor``; with ``blocking=False``
        it runs in the thread of the node, which it must not keep busy."""

        def exported(target: F) -> F:
            own = function or target.__name__
            self.exports.add(module, own, target, blocking=blocking, executor=executor)
            return target

        return exported

    # -- streams of bytes ------------------------------------------------------------------

    open_stream = blocking_to(AsyncNode.open_stream, stream_of)
    list_streams = in_loop(AsyncNode.list_streams)

    def accept_streams(
        self, handler: Callable[[UserStream], Any] | None = None, *, node: Name | None = None
    ) -> StreamAcceptor:
        """Accept streams that ``node`` opens, or any node. ``handler`` is called with each
        :class:`UserStream` in a thread; the stream is closed when it returns, and reset when it raises.
        Without one the result is an iterator over the streams."""
        serves = None if handler is None else handler_of(self._thread, handler)
        return StreamAcceptor(self._thread, self._thread.call(self._inner.accept_streams, serves, node=node))


async def _until_its_end(process: Any) -> None:
    await process.finished()
