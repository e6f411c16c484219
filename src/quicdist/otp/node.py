"""The node as a program uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from quicdist.carrier import DEFAULT_PRIORITY, NetAddress, Pem, TlsSettings, UserStream
from quicdist.cluster import Backoff, ClusterSource
from quicdist.cluster.strategy import as_strategies
from quicdist.config import Config, Source, as_config, first
from quicdist.discovery import Discovery
from quicdist.discovery.static import Addresses
from quicdist.errors import QuicDistError
from quicdist.node.cluster import Cluster
from quicdist.node.dial_queue import MAX_DIALS
from quicdist.node.endpoints import MAX_FRAME, Endpoint, carrier_names
from quicdist.node.lifecycle import NodeState
from quicdist.node.local_node import NodeEvent, NodeServices
from quicdist.node.node_options import make_local_node
from quicdist.node.option_types import check_option_types
from quicdist.node.process import Process
from quicdist.node.quic_dist import QuicDist
from quicdist.node.streams import StreamAcceptor, StreamHandler, StreamInfo
from quicdist.node.tracing import CallTracer
from quicdist.otp import server_start
from quicdist.otp.behaviour import Behaviour
from quicdist.otp.call_context import is_called_on
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.gen_event_client import GenEventClient
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.gen_statem_client import GenStatemClient
from quicdist.otp.global_names import GlobalNames
from quicdist.otp.global_server import Partitions
from quicdist.otp.io_client import IoClient
from quicdist.otp.kernel_supervisor import KernelSupervisor
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.node_exports import NodeExports
from quicdist.otp.pg import ProcessGroups
from quicdist.otp.rpc import RpcClient
from quicdist.otp.server_names import GlobalOrVia
from quicdist.otp.services import Services, start_services
from quicdist.otp.sys_client import SysClient
from quicdist.otp.task_client import TaskSupervisorClient
from quicdist.protocol.names import node_name
from quicdist.term import Atom, Codec, Limits
from quicdist.term.names import REGISTERED_NAME, Name, name_of

if TYPE_CHECKING:
    from quicdist.otp.metrics import NodeMetrics

F = TypeVar("F", bound=Callable[..., Any])


class Node:
    """A node of an Erlang or Elixir cluster: what an Erlang runtime is to an Erlang program.

    It has a name, processes, and connections to other nodes::

        async with Node("py@127.0.0.1", cookie="secret", config="sys.config") as node:

            @node.process("echo")
            async def echo(process):
                async for sender, message in process:
                    process.send(sender, message)

            @node.export("py")
            def add(one, two):
                return one + two

            print(await node.ping("a@127.0.0.1"))
            print(await node.call("a@127.0.0.1", "lists", "reverse", [[1, 2, 3]]))
            await node.run_forever()

    Inside ``async with`` the node listens, has registered its name, and can be reached. It connects to
    another node when something is sent to that node. At the end of the block it stops in order (see
    :meth:`stop`). A node is started once; to start again, make a new ``Node``. It belongs to the thread
    of its event loop: from other threads, use :meth:`call_soon_threadsafe`.

    Methods by subject:

    - processes: :meth:`process`, :meth:`spawn`, :meth:`serve`, :meth:`whereis`, :meth:`send`;
    - other nodes: :meth:`connect`, :meth:`disconnect`, :meth:`ping`, :meth:`nodes`, :meth:`subscribe`,
      :attr:`cluster`;
    - calls to them: :meth:`call`, :meth:`cast`, :meth:`gen_server_call`, and the services by the names
      of OTP's modules: :attr:`erpc`, :attr:`rpc`, :attr:`gen_server`, :attr:`gen_statem`, :attr:`gen_event`,
      :attr:`sys`, :attr:`net_kernel`, :attr:`global_names`, :attr:`pg`, :attr:`io`;
    - calls from them: :meth:`export` and :attr:`exports`;
    - streams of bytes: :meth:`open_stream`, :meth:`accept_streams`, :attr:`quic_dist`.

    Most programs need the first five options or fewer:

    - ``name``: ``alive@host``, by default the one in ``vm_args``. ``undefined@host`` asks the first node
      that it connects to for a name: see ``docs/reference/node.md``, *Dynamic names*.
    - ``cookie``: the cluster's secret, by default the one in ``~/.erlang.cookie``.
    - ``carrier``: ``"quic"`` (the default), ``"tcp"``, ``"tls"`` or several, tried in order.
    - ``config``: the cluster's own ``sys.config``, or several, or what
      :func:`~quicdist.config.read_config` returned. Other options override it; see
      ``docs/reference/configuration.md``.
    - ``nodes``: addresses by node name, ``{"a@host": ("10.0.0.1", 4433)}``.

    Addresses:

    - ``vm_args``: the cluster's ``vm.args``, read like ``config``.
    - ``host`` and ``port``: where to listen (None: all addresses; UDP 4433 or any free TCP port).
      ``listen=False`` only dials. ``epmd``: whether TCP registers with epmd and asks it.
    - ``discovery``: replaces the default discovery. ``endpoints``: replaces all options of carriers and
      addresses.

    - ``cluster``: the nodes to stay connected to: a list of their names, a strategy of
      :mod:`quicdist.cluster` such as ``DnsPoll("app-headless.default.svc.cluster.local", "app")``, several,
      an asynchronous iterable of lists, or a function that returns a list; by default the ``topologies`` of
      ``libcluster`` in ``config``. ``cluster_backoff``: the time between attempts to reach one of them. See
      ``docs/how-to/clusters.md``.

    Security, see ``docs/reference/security.md``:

    - ``cert``, ``key``, ``cacert``: PEM files, or their contents as bytes.
    - ``verify``: whether a node dialled over QUIC or TLS must prove its host name by a certificate of that
      CA; turn it off for a cluster whose certificates no CA has signed.
    - ``quic``: settings of the QUIC carrier: those of :class:`~quicdist.carrier.QuicSettings`, such as
      ``congestion_control``, ``idle_timeout`` and ``auth_callback``, and of
      :class:`~quicdist.carrier.TlsConfig` ``client_certificate``, ``external_psk`` and ``psks``:
      ``{"client_certificate": "require", "idle_timeout": 60}``.
    - ``tls``: :class:`~quicdist.carrier.TlsSettings` of the TLS carrier, in place of the files' own.

    The rest:

    - ``hidden``: whether it is an Erlang hidden node, which takes no part in the full mesh and in ``global``;
      the default.
    - ``connect_all`` and ``prevent_overlapping_partitions``, for a published node: the kernel parameters of
      these names, True unless the files say otherwise. All nodes of a cluster must have the same.
    - ``tracer``: makes a span of each call by this node and of each call of this node, such as
      :class:`~quicdist.opentelemetry.OpenTelemetryTracer`; see ``docs/how-to/metrics.md``.
    - ``none``: the atom that stands for ``None``; Elixir users choose ``"nil"``. ``limits``: limits
      for decoding, see :class:`~quicdist.term.Limits`. ``default``: called with each value that has no
      Erlang term, such as a ``datetime``; returns one that can be sent, or raises TypeError.
    - ``net_ticktime``: seconds of silence after which a node counts as down. ``setup_time``:
      seconds a handshake may take. ``max_frame``: bytes of the longest message a peer may send.
      ``max_dials``: concurrent dials; further dials wait. ``busy_wait``: whether the event loop polls for
      the answers of peers that answer within 0.5 ms, in place of sleeping; see ``docs/reference/node.md``.

    Raises :class:`NodeError` for options that do not fit together, :class:`CookieError`,
    :class:`~quicdist.protocol.InvalidNodeName`, :class:`~quicdist.config.ConfigError`; :class:`TypeError` and
    :class:`ValueError` for an option of a wrong type or a number out of range.
    """

    def __init__(
        self,
        name: Name | None = None,
        *,
        cookie: Name | None = None,
        carrier: str | Sequence[str] | None = None,
        config: Config | Source | Sequence[Source] | None = None,
        nodes: Addresses | None = None,
        vm_args: Source | None = None,
        host: str | None = None,
        port: int | None = None,
        listen: bool | None = None,
        epmd: bool | None = None,
        discovery: Discovery | None = None,
        endpoints: Sequence[Endpoint] | None = None,
        cluster: ClusterSource | None = None,
        cluster_backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        cert: Pem | None = None,
        key: Pem | None = None,
        cacert: Pem | None = None,
        verify: bool | None = None,
        quic: Mapping[str, Any] | None = None,
        tls: TlsSettings | None = None,
        hidden: bool | None = None,
        connect_all: bool | None = None,
        prevent_overlapping_partitions: bool | None = None,
        none: str | Atom = "undefined",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        default: Callable[[Any], Any] | None = None,
        net_ticktime: float | None = None,
        setup_time: float | None = None,
        max_frame: int = MAX_FRAME,
        max_dials: int = MAX_DIALS,
        busy_wait: bool | None = None,
        tracer: CallTracer | None = None,
    ) -> None:
        check_option_types(
            {
                "carrier": carrier,
                "nodes": nodes,
                "host": host,
                "port": port,
                "listen": listen,
                "epmd": epmd,
                "discovery": discovery,
                "endpoints": endpoints,
                "cluster_backoff": cluster_backoff,
                "cert": cert,
                "key": key,
                "cacert": cacert,
                "verify": verify,
                "quic": quic,
                "tls": tls,
                "hidden": hidden,
                "connect_all": connect_all,
                "prevent_overlapping_partitions": prevent_overlapping_partitions,
                "limits": limits,
                "default": default,
                "net_ticktime": net_ticktime,
                "setup_time": setup_time,
                "max_frame": max_frame,
                "max_dials": max_dials,
                "busy_wait": busy_wait,
                "tracer": tracer,
            }
        )
        files = as_config(config, vm_args)
        partitions = Partitions(
            first(connect_all, files.connect_all, True),
            first(prevent_overlapping_partitions, files.prevent_overlapping_partitions, True),
        )
        self._running = _RunningServices(self, partitions, tracer)
        self._local = make_local_node(
            files,
            owner=self,
            services=self._running,
            name=name,
            cookie=cookie,
            carrier=carrier,
            nodes=nodes,
            host=host,
            port=port,
            listen=listen,
            epmd=epmd,
            discovery=discovery,
            endpoints=endpoints,
            cert=cert,
            key=key,
            cacert=cacert,
            verify=verify,
            quic=quic,
            tls=tls,
            hidden=hidden,
            codec=Codec(none=none, limits=limits, default=default),
            net_ticktime=net_ticktime,
            setup_time=setup_time,
            max_frame=max_frame,
            max_dials=max_dials,
            busy_wait=busy_wait,
        )
        strategies = files.cluster if cluster is None else as_strategies(cluster)
        self._cluster = Cluster(self._local, strategies, cluster_backoff)
        #: What other nodes may call and spawn.
        self.exports = NodeExports(self._local, lambda: self.net_kernel, lambda: self.sys)

    def __repr__(self) -> str:
        carriers = ", ".join(carrier_names(self.endpoints))
        over = f"over {carriers}" if carriers else "no carrier"
        state = self._local.lifecycle.state
        words = "not in this process" if state is NodeState.FORKED else state.name.lower()
        return f"<{type(self).__name__} {self.name} {words}, {over}>"

    @property
    def name(self) -> str:
        """``alive@host``; ``nonode@nohost`` for a node that waits to be given its name."""
        return self._local.name

    @property
    def addresses(self) -> list[NetAddress]:
        """Where it listens, one address for each endpoint that does."""
        return list(self._local.addresses)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Its carriers and their discovery, in the order in which they are tried."""
        return self._local.endpoints

    @property
    def net_ticktime(self) -> float:
        """Seconds of silence after which a connected node counts as down."""
        return self._local.net_ticktime

    # -- starting and stopping -------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._local.lifecycle.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._local.lifecycle.exit(raised)

    async def start(self) -> None:
        """Listen, register the name, and accept connections from then on. A node is started once.

        Raises :class:`~quicdist.carrier.ListenError`,
        :class:`~quicdist.discovery.DiscoveryError`, :class:`NodeNameTaken` among them, and
        :class:`NodeError` for a node that was started before; then nothing is left listening.
        """
        await self._local.lifecycle.start()

    async def stop(self) -> None:
        """Stop in order, and wait until that is done. Called again, it waits for the same stop.

        The node accepts no more connections, and its name is unregistered. While links are up,
        running calls are answered, within five seconds, and supervisors and servers end with
        ``shutdown``: supervised processes in order and within their shutdown times, other servers within
        five seconds. What is queued is sent, and the links are closed. Then all other processes end.

        Called in code that the node runs, such as a process or an exported function, it does not wait.
        """
        await self._local.lifecycle.stop()

    async def run_forever(self) -> None:
        """Wait until the node has stopped; SIGTERM and SIGINT stop it, a second one ends the program
        at once. Raises the error that made the node stop by itself.

        Signals are handled in the main thread only.
        """
        await self._local.lifecycle.run_forever()

    def call_soon_threadsafe(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the thread of this node, for example to send or spawn from another
        thread. What it raises is logged. Raises :class:`NodeNotStarted`."""
        self._local.call_soon_threadsafe(function, *args)

    # -- services, by the names of OTP's modules -------------------------------------------

    @property
    def _services(self) -> Services:
        """All of them. Raises :class:`NodeNotStarted`, as each of them does."""
        if self._running.services is None:
            raise self._local.not_started()
        return self._running.services

    @property
    def erpc(self) -> ErpcClient:
        """``erpc``: functions of other nodes, one or many at once."""
        return self._services.erpc

    @property
    def rpc(self) -> RpcClient:
        """``rpc``: its functions that ``erpc`` does not have."""
        return self._services.rpc

    @property
    def gen_server(self) -> GenServerClient:
        """``gen_server``: servers of any node."""
        return self._services.gen_server

    @property
    def gen_statem(self) -> GenStatemClient:
        """``gen_statem``: state machines of any node."""
        return self._services.gen_statem

    @property
    def gen_event(self) -> GenEventClient:
        """``gen_event``: event managers of any node."""
        return self._services.gen_event

    @property
    def task_supervisor(self) -> TaskSupervisorClient:
        """``Task.Supervisor`` of Elixir: tasks on any node that has one."""
        return self._services.task_supervisor

    @property
    def net_kernel(self) -> NetKernel:
        """``net_kernel``: the other nodes."""
        return self._services.net_kernel

    @property
    def global_names(self) -> GlobalNames:
        """``global``: names that the whole cluster knows, and locks on all its nodes."""
        return self._services.global_names

    @property
    def io(self) -> IoClient:
        """``io``: text to and from processes that know Erlang's I/O protocol."""
        return self._services.io

    @property
    def pg(self) -> ProcessGroups:
        """``pg``: groups of processes that the nodes of a scope see."""
        return self._services.pg

    @property
    def sys(self) -> SysClient:
        """``sys``: the state and the control of servers of any node."""
        return self._services.sys

    def metrics(self) -> NodeMetrics:
        """Figures of this node now: connections, traffic, calls, processes, the event loop. See
        ``docs/how-to/metrics.md``; :mod:`quicdist.prometheus` and :mod:`quicdist.opentelemetry`
        export them.
        Raises :class:`NodeNotStarted`, and :class:`NodeError` in another thread than that of the node."""
        from quicdist.otp.metrics import node_metrics

        return node_metrics(self._local, self._services, self._cluster)

    # -- processes -------------------------------------------------------------------------

    def process(self, name: Name) -> Callable[[F], F]:
        """Decorator: spawn a process for a function and register it under ``name``, when the node
        starts or, where it runs, at once.

        A coroutine function is the body of the process, called with it once; a plain function is
        called with the process and a message for each message that comes. Raises
        :class:`NameRegistered` where the name is taken, :class:`NodeNotStarted` after the stop.
        """

        def spawned(function: F) -> F:
            starts = self._local.lifecycle.state in (NodeState.NEW, NodeState.STARTING)
            if starts and not self._local.is_running:
                self._running.to_spawn.append((name_of(name, REGISTERED_NAME), function))
            else:
                self._local.runtime.spawn(function, name=name)
            return function

        return spawned

    def spawn(self, function: Callable[..., Any], *args: Any, name: Name | None = None) -> Process:
        """Spawn a process; see :meth:`process` for what ``function`` can be."""
        return self._local.runtime.spawn(function, *args, name=name)

    def serve(
        self, server: Behaviour, *, name: Name | GlobalOrVia | None = None, debug: Iterable[Any] = ()
    ) -> Process:
        """Start a :class:`GenServer`, such as a :class:`Supervisor`, a :class:`GenStatem` or a
        :class:`GenEvent`. It does not wait for a coroutine ``init``, nor for a :class:`Global` or
        :class:`Via` name: ``gen_server.start`` does.

        ``debug`` are debug options (``{debug, [...]}``): ``"trace"``, ``"log"``, ``("log", size)``,
        ``"statistics"``, ``("log_to_file", path)``, ``("install", (function, state))``; see
        ``docs/how-to/debugging.md``. Raises :class:`ValueError` for others."""
        return server_start.start(self._local.runtime, server, name=name, debug=debug)

    def whereis(self, name: Name) -> Process | None:
        """The process registered under ``name``."""
        return self._local.runtime.whereis(name)

    def send(self, to: Any, message: Any) -> None:
        """Send a message to a pid, process, alias, ``name``, ``(name, node)``, :class:`Global` or
        :class:`Via`, from no process in particular; see :meth:`Process.send`."""
        self._services.gen_server.send(to, message)

    # -- other nodes -----------------------------------------------------------------------

    async def connect(self, node: Name) -> None:
        """Connect to a node, if it is another one. Raises :class:`NotConnected`, which has the error of each
        attempt."""
        self._local.check_loop()
        name = node_name(node)
        if name != self._local.identity.name:
            await self._local.connections.connect(name)

    def disconnect(self, node: Name) -> bool:
        """End the connection to a node (``erlang:disconnect_node/1``); whether there was one."""
        return self._local.connections.disconnect(node_name(node))

    def nodes(self, *kinds: Name) -> list[str]:
        """Names of nodes, as ``erlang:nodes/0,1`` gives them.

        Without an argument, the visible nodes connected now. Kinds are ``"visible"``, ``"hidden"``,
        ``"connected"`` (both), ``"this"`` (this node) and ``"known"`` (this node, and all that it
        has been connected to); of several, nodes of any of them.

        A connection is hidden if either node is: a node with ``hidden=True``, the default, has
        hidden connections only, so it asks for ``nodes("connected")``.

        Raises :class:`NodeError` for another kind, :class:`NodeNotStarted`.
        """
        return self.net_kernel.nodes(*kinds)

    @property
    def cluster(self) -> Cluster:
        """The nodes that this node stays connected to, by its option ``cluster``."""
        return self._cluster

    async def ping(self, node: Name, *, timeout: float = 10.0) -> bool:
        """Whether ``node`` can be reached and answers (``net_adm:ping/1``, whose ``pong`` is True and
        whose ``pang`` is False). It connects to ``node`` if there is no connection.

        ``timeout`` is in seconds, for connecting and answering together. :meth:`connect` and
        :meth:`is_auth` raise the reason instead.
        """
        try:
            await self.is_auth(node, timeout=timeout)
        except QuicDistError:
            return False
        return True

    async def is_auth(self, node: Name, *, timeout: float = 10.0) -> None:
        """Ping a node. Raises why it cannot be reached; ``timeout`` is in seconds."""
        await self.net_kernel.is_auth(node, timeout)

    async def drain(self, node: Name) -> None:
        """Wait while more bytes are queued for ``node`` than its connection's limit (4 MiB by default), so
        that a slow node slows its senders down. A sender that does not wait fills the buffer; a full
        buffer (256 MiB) ends the connection.

        Returns when the connection ends. If there is nothing to wait for, it returns after one iteration of
        the event loop, in which other tasks run.
        """
        self._local.check_loop()
        await self._local.connections.drain(node_name(node))

    def set_cookie(self, node: Name, cookie: Name) -> None:
        """Use another cookie with one node (``erlang:set_cookie/2``)."""
        self._local.set_cookie(node, cookie)

    def subscribe(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call ``callback`` with every :class:`NodeUp` and :class:`NodeDown` from now on; the
        function returned ends that."""
        return self._local.subscribe(callback)

    def rebind(self) -> list[str]:
        """Move connections to new sockets, after a change of network, and return the names of their nodes.
        Only connections over QUIC that this node dialled can be moved. Not needed if the system reports
        that the address is gone.
        """
        return self._local.rebind()

    # -- calling and being called ------------------------------------------------------------

    async def call(
        self,
        node: Name,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call a function on another node and return its value; see :meth:`ErpcClient.call`.

        Elixir modules are called by their full atoms: ``"Elixir.String"``.
        """
        return await self.erpc.call(node, module, function, arguments, timeout=timeout)

    def cast(self, node: Name, module: Name, function: Name, arguments: Sequence[Any] = ()) -> None:
        """Have a function run on another node and do not wait for it (``erpc:cast/4``); see
        :meth:`ErpcClient.cast`."""
        self.erpc.cast(node, module, function, arguments)

    def export(
        self,
        module: Name,
        function: Name | None = None,
        *,
        blocking: bool = False,
        executor: Executor | Callable[[], Executor] | None = None,
    ) -> Callable[[F], F]:
        """Decorator: let other nodes call a function, as ``module:function`` (by default its own
        name), by ``rpc`` and ``erpc``. :attr:`exports` has it then, and whatever else others may call
        and spawn.

        It may be a coroutine function. A ``blocking`` one runs in a thread of its own for each call, or
        in ``executor``, such as a process pool. ``executor`` may be a function that makes one: it is
        called again when the pool it made is broken, and what it made is shut down with the node. See
        ``docs/how-to/blocking-work.md``."""

        def exported(target: F) -> F:
            name = function or target.__name__
            self.exports.add(module, name, target, blocking=blocking, executor=executor)
            return target

        return exported

    async def gen_server_call(self, to: Any, request: Any, *, timeout: float | None = 5.0) -> Any:
        """``gen_server:call/3`` to a pid, ``name``, ``(name, node)`` or a name registered elsewhere; see
        :meth:`GenServerClient.call`."""
        return await self.gen_server.call(to, request, timeout=timeout)

    def gen_server_cast(self, to: Any, request: Any) -> None:
        """``gen_server:cast/2``."""
        self.gen_server.cast(to, request)

    # -- streams of bytes ------------------------------------------------------------------

    @property
    def quic_dist(self) -> QuicDist:
        """``quic_dist``: user streams for processes, and how single nodes are dialled."""
        return self._local.quic_dist

    async def open_stream(self, node: Name, *, priority: int = DEFAULT_PRIORITY) -> UserStream:
        """Open a stream of bytes to ``node`` (``quic_dist:open_stream/2``), over its QUIC connection,
        which is made if there is none. Streams with a lower ``priority``, from 16 to 255, are served
        first, and messages before all.

        Raises :class:`NotConnected`; :class:`StreamsNotSupported` for a node over TCP and for
        quic_dist before 1.0. What a node refuses shows when the stream is used:
        :class:`StreamRefused`.
        """
        return await self._local.streams.open(node, priority)

    def accept_streams(
        self, handler: StreamHandler | None = None, *, node: Name | None = None
    ) -> StreamAcceptor:
        """Accept streams that ``node`` opens, or any node (``quic_dist:accept_streams/1``).

        ``handler`` is called with each :class:`UserStream`. If it is a coroutine function the stream is
        closed when it returns, and reset when it raises. Without one the result is an asynchronous iterator
        over the streams. Several acceptors are served round robin. Without an acceptor, streams are refused.
        """
        return self._local.streams.accept(handler, node=node)

    def list_streams(self, node: Name | None = None) -> list[StreamInfo]:
        """The user streams with ``node``, or all nodes, that are not over
        (``quic_dist:list_streams/0,1``)."""
        return self._local.streams.list(node)


class _RunningServices(NodeServices):
    """Starts and stops the services of a BEAM node with the node."""

    def __init__(self, node: Node, partitions: Partitions, tracer: CallTracer | None) -> None:
        self._node = node
        self._partitions = partitions
        self._tracer = tracer
        self.services: Services | None = None
        #: Processes of the program, by their names, that start with the node.
        self.to_spawn: list[tuple[str, Callable[..., Any]]] = []
        self._kernel: KernelSupervisor | None = None

    def start(self) -> None:
        local = self._node._local
        local.runtime.tracer = self._tracer
        self.services = start_services(local, self._node.exports, self._partitions)
        self._kernel = self.services.kernel_supervisor
        for name, function in self.to_spawn:
            local.runtime.spawn(function, name=name)
        self.to_spawn.clear()
        self._node.cluster.start()

    def stop(self) -> None:
        self._node.cluster.stop()
        if self._kernel is not None:
            self._kernel.stop()

    async def flush(self) -> None:
        if self._kernel is not None:
            await self._kernel.flush()

    def break_off(self) -> None:
        self._node.cluster.stop()
        if self._kernel is not None:
            self._kernel.let_go()
        self.services = None

    def forked(self) -> None:
        self._node.cluster.forked()
        self.services = self._kernel = None

    def runs_current_task(self) -> bool:
        return is_called_on(self._node)
