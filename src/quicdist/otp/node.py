"""The node as a program uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from quicdist.carrier import TlsConfig
from quicdist.config import Config, Source, as_config, first
from quicdist.discovery import Discovery
from quicdist.discovery.static import Addresses
from quicdist.errors import QuicDistError
from quicdist.node.connections import SETUP_TIME, Endpoint
from quicdist.node.core import NodeCore
from quicdist.node.dial_queue import MAX_DIALS
from quicdist.node.endpoints import EndpointSettings, make_endpoints, quic_carriers
from quicdist.node.errors import NodeError
from quicdist.node.lifecycle import NodeState
from quicdist.node.liveness import NET_TICKTIME
from quicdist.node.process import Process
from quicdist.node.shutdown import Shutdown
from quicdist.otp import server_process
from quicdist.otp.calls import is_called_on
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.gen_server import GenServer
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.global_names import GlobalNames
from quicdist.otp.introspection import Introspection
from quicdist.otp.io_client import IoClient
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.node_exports import NodeExports
from quicdist.otp.pg import ProcessGroups
from quicdist.otp.rpc import RpcClient
from quicdist.otp.server_names import LookedUp
from quicdist.otp.services import Services, start_services
from quicdist.otp.sys_client import SysClient
from quicdist.protocol.names import node_name, parse_node_name
from quicdist.term import Atom, Codec, Limits
from quicdist.term.names import REGISTERED_NAME, Name, name_of

if TYPE_CHECKING:
    from quicdist.carrier import AuthCallback, ClientCertificate, ConnectOptions, ExternalPsk, Psks
    from quicdist.carrier.security.credentials import Pem

F = TypeVar("F", bound=Callable[..., Any])


class Node(NodeCore):
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

    Inside ``async with`` it listens, has registered its name, and can be reached; it connects to
    another node when something is sent there. At the end of the block it stops in order (see
    :meth:`stop`). A node is entered once; another life needs a new ``Node``. It belongs to the thread
    of its event loop: from other threads, use :meth:`call_soon_threadsafe`.

    What it does, by subject:

    - processes: :meth:`process`, :meth:`spawn`, :meth:`serve`, :meth:`whereis`, :meth:`send`;
    - other nodes: :meth:`connect`, :meth:`disconnect`, :meth:`ping`, :meth:`nodes`, :meth:`subscribe`;
    - calls to them: :meth:`call`, :meth:`cast`, :meth:`gen_server_call`, and the services by the names
      of OTP's modules: :attr:`erpc`, :attr:`rpc`, :attr:`gen_server`, :attr:`sys`, :attr:`net_kernel`,
      :attr:`global_names`, :attr:`pg`, :attr:`io`;
    - calls from them: :meth:`export` and :attr:`exports`;
    - streams of bytes: :meth:`open_stream`, :meth:`accept_streams`.

    Most programs need the first five options or fewer.

    Identity:

    - ``name``: ``alive@host``, by default the one in ``vm_args``.
    - ``cookie``: the cluster's secret, by default the one in ``~/.erlang.cookie``.
    - ``config``: the cluster's own ``sys.config``, or several, or what
      :func:`~quicdist.config.read_config` made of it; ``vm_args``: its ``vm.args``. They say what
      the other options do not; see ``docs/configuration.md``.

    Carriers and addresses:

    - ``carrier``: ``"quic"`` (the default), ``"tcp"``, ``"tls"`` or several, tried in order.
    - ``nodes``: addresses by node name, ``{"a@host": ("10.0.0.1", 4433)}``.
    - ``host`` and ``port``: where to listen (None: all addresses; UDP 4433 or any free TCP port).
      ``listen=False`` only dials. ``epmd``: whether TCP registers with epmd and asks it.
    - ``discovery`` in place of the default ways to find nodes; ``endpoints`` in place of all that
      concerns carriers.
    - ``quic``: other settings of the QUIC carrier, by their names in
      :class:`~quicdist.carrier.QuicSettings`: ``{"congestion_control": "cubic", "idle_timeout": 60}``.

    Security, see ``docs/security.md``:

    - ``cert``, ``key``, ``cacert``: PEM files, or as bytes what would stand in them.
    - ``verify``: a node dialled over QUIC must prove by a certificate of that CA that it is who its
      host says; turn it off for a cluster whose certificates no CA has signed.
      ``client_certificate``: the same of nodes that dial this one (``"none"``, ``"request"``,
      ``"require"``).
    - ``psks`` and ``external_psk``: pre-shared keys instead.
    - ``auth_callback``: a coroutine function that lets in or refuses, on both sides, and
      ``auth_handshake_timeout``: the seconds it has.

    The rest:

    - ``hidden``: whether the rest of the cluster is left to connect by itself (an Erlang hidden
      node), which is the default.
    - ``none``: the atom that stands for ``None``; Elixir users choose ``"nil"``. ``limits``: how deep
      terms may be, see :class:`~quicdist.term.Limits`. ``default``: called with each value to be sent
      that Erlang lacks, such as a ``datetime``; returns one that can be sent, or raises TypeError.
    - ``net_ticktime``: seconds of silence after which a node counts as down. ``setup_time``:
      seconds a handshake may take. ``max_frame``: bytes the longest message may have. ``max_dials``:
      nodes that are dialled at once; further dials wait.

    Raises :class:`NodeError` for options that do not fit, :class:`CookieError`,
    :class:`~quicdist.protocol.InvalidNodeName`, :class:`~quicdist.config.ConfigError`.
    """

    def __init__(
        self,
        name: Name | None = None,
        *,
        config: Config | Source | Sequence[Source] | None = None,
        vm_args: Source | None = None,
        cookie: Name | None = None,
        carrier: str | Sequence[str] | None = None,
        nodes: Addresses | None = None,
        host: str | None = None,
        port: int | None = None,
        listen: bool | None = None,
        epmd: bool | None = None,
        cert: Pem | None = None,
        key: Pem | None = None,
        cacert: Pem | None = None,
        verify: bool | None = None,
        client_certificate: ClientCertificate | None = None,
        external_psk: ExternalPsk | None = None,
        psks: Psks | None = None,
        auth_callback: AuthCallback | None = None,
        auth_handshake_timeout: float | None = None,
        quic: Mapping[str, Any] | None = None,
        hidden: bool | None = None,
        none: str | Atom = "undefined",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        default: Callable[[Any], Any] | None = None,
        net_ticktime: float | None = None,
        setup_time: float | None = None,
        max_frame: int = 128 * 1024 * 1024,
        max_dials: int = MAX_DIALS,
        discovery: Discovery | None = None,
        endpoints: Sequence[Endpoint] | None = None,
    ) -> None:
        files = as_config(config, vm_args)
        name = first(name, files.name)
        if name is None:
            raise NodeError("a node needs a name: none is given, and no vm.args with -name or -sname")
        name = node_name(name)
        hidden = first(hidden, files.hidden, True)
        ticktime = first(net_ticktime, files.net_ticktime, NET_TICKTIME)
        its_cert, its_key, its_cacert = files.certificates
        if endpoints is None:
            asked = {"auth_callback": auth_callback, "auth_handshake_timeout": auth_handshake_timeout}
            settings = EndpointSettings(
                nodes=nodes or {},
                discovery=discovery,
                host=host,
                port=port,
                listen=first(listen, files.listen, True),
                epmd=first(epmd, files.epmd, True),
                hidden=hidden,
                tls=TlsConfig(
                    first(cert, its_cert),
                    first(key, its_key),
                    first(cacert, its_cacert),
                    first(verify, files.verify, True),
                    client_certificate=first(client_certificate, files.client_certificate),
                    external_psk=first(external_psk, files.external_psk),
                    psks=first(psks, files.psks),
                ),
                net_ticktime=ticktime,
                max_frame=max_frame,
                config=files,
                quic={**(quic or {}), **{name: value for name, value in asked.items() if value is not None}},
                name=name,
            )
            endpoints = make_endpoints(first(carrier, files.carriers, "quic"), settings)
        super().__init__(
            name,
            cookie=first(cookie, files.cookie),
            endpoints=endpoints,
            hidden=hidden,
            codec=Codec(none=none, limits=limits, default=default),
            net_ticktime=ticktime,
            setup_time=first(setup_time, files.setup_time, SETUP_TIME),
            max_dials=max_dials,
        )
        for other, its_cookie in files.cookies.items():
            self.set_cookie(other, its_cookie)
        #: What other nodes may call and spawn.
        self.exports = NodeExports(
            self._spawnables,
            lambda: self.runtime,
            Introspection(self, lambda: self.net_kernel, lambda: self.sys),
        )
        self._to_spawn: list[tuple[str, Callable[..., Any]]] = []
        self._services: Services | None = None

    # -- starting and stopping -------------------------------------------------------------

    def _begin(self, creation: int) -> None:
        super()._begin(creation)
        self._services = start_services(self, self.exports)
        for name, function in self._to_spawn:
            self.runtime.spawn(function, name=name)
        self._to_spawn.clear()

    def forked(self) -> None:
        super().forked()
        self._services = None

    async def _stop(self) -> None:
        services = self._services
        if services is not None:
            services.keeper.stop()
        await super()._stop()
        if services is not None:
            await services.keeper.flush()

    def _let_go(self, processes: Shutdown | None) -> None:
        super()._let_go(processes)
        if self._services is not None:
            self._services.keeper.let_go()
        self._services = None

    def _runs(self, task: asyncio.Task[Any] | None) -> bool:
        return super()._runs(task) or is_called_on(self)

    # -- how single nodes are dialled -------------------------------------------------------

    def set_connect_options(self, node: Name, options: ConnectOptions) -> None:
        """Dial ``node`` with these options from now on, in place of those set before
        (``quic_dist:set_connect_options/2``, which holds for one dial only). A connection that there
        is goes on. Raises :class:`NodeError` if this node has no QUIC carrier."""
        node = str(parse_node_name(node_name(node)))
        for carrier in quic_carriers(self.endpoints):
            carrier.connect_options[node] = options

    def get_connect_options(self, node: Name) -> ConnectOptions:
        """The options set for ``node`` (``quic_dist:get_connect_options/1``). Raises
        :class:`NodeError` if this node has no QUIC carrier."""
        carrier = quic_carriers(self.endpoints)[0]
        from quicdist.carrier import ConnectOptions  # here it is loaded already

        return carrier.connect_options.get(node_name(node), ConnectOptions())

    def clear_connect_options(self, node: Name) -> None:
        """Dial ``node`` as all others again (``quic_dist:clear_connect_options/1``). Raises
        :class:`NodeError` if this node has no QUIC carrier."""
        for carrier in quic_carriers(self.endpoints):
            carrier.connect_options.pop(node_name(node), None)

    # -- services, by the names of OTP's modules -------------------------------------------

    @property
    def services(self) -> Services:
        """All of them. Raises :class:`NodeNotStarted`, as each of them does."""
        if self._services is None:
            raise self.not_started()
        return self._services

    @property
    def erpc(self) -> ErpcClient:
        """``erpc``: functions of other nodes, one or many at once."""
        return self.services.erpc

    @property
    def rpc(self) -> RpcClient:
        """``rpc``: what of it ``erpc`` has not."""
        return self.services.rpc

    @property
    def gen_server(self) -> GenServerClient:
        """``gen_server``: servers of any node."""
        return self.services.gen_server

    @property
    def net_kernel(self) -> NetKernel:
        """``net_kernel``: the other nodes."""
        return self.services.net_kernel

    @property
    def global_names(self) -> GlobalNames:
        """``global``: names that the whole cluster knows."""
        return self.services.global_names

    @property
    def io(self) -> IoClient:
        """``io``: text to and from processes that know Erlang's I/O protocol."""
        return self.services.io

    @property
    def pg(self) -> ProcessGroups:
        """``pg``: groups of processes that the nodes of a scope see."""
        return self.services.pg

    @property
    def sys(self) -> SysClient:
        """``sys``: a look into servers of any node."""
        return self.services.sys

    # -- processes -------------------------------------------------------------------------

    def process(self, name: Name) -> Callable[[F], F]:
        """Decorator: spawn a process for a function and register it under ``name``, when the node
        starts or, where it runs, at once.

        A coroutine function is the body of the process, called with it once; a plain function is
        called with the process and a message for each message that comes. Raises
        :class:`NameRegistered` where the name is taken, :class:`NodeNotStarted` after the stop.
        """

        def spawned(function: F) -> F:
            if self.life.state in (NodeState.NEW, NodeState.STARTING) and self._runtime is None:
                self._to_spawn.append((name_of(name, REGISTERED_NAME), function))
            else:
                self.runtime.spawn(function, name=name)
            return function

        return spawned

    def spawn(self, function: Callable[..., Any], *args: Any, name: Name | None = None) -> Process:
        """Spawn a process; see :meth:`process` for what ``function`` can be."""
        return self.runtime.spawn(function, *args, name=name)

    def serve(self, server: GenServer, *, name: Name | LookedUp | None = None) -> Process:
        """Start a :class:`GenServer`, or a :class:`Supervisor`, which is one. It does not wait for
        a coroutine ``init``, nor for a :class:`Global` or :class:`Via` name: ``gen_server.start``
        does."""
        return server_process.start(self.runtime, server, name=name)

    def whereis(self, name: Name) -> Process | None:
        """The process registered under ``name``."""
        return self.runtime.whereis(name)

    def send(self, to: Any, message: Any) -> None:
        """Send a message to a pid, process, alias, ``name``, ``(name, node)``, :class:`Global` or
        :class:`Via`, from no process in particular; see :meth:`Process.send`."""
        self.services.gen_server.send(to, message)

    # -- other nodes -----------------------------------------------------------------------

    async def connect(self, node: Name) -> None:
        """Connect to a node, if it is another one. Raises :class:`NotConnected`, which says what each
        try met."""
        name = node_name(node)
        if name != self.runtime.name:
            await self.connections.connect(name)

    def disconnect(self, node: Name) -> bool:
        """End the connection to a node (``erlang:disconnect_node/1``); whether there was one."""
        return self.connections.disconnect(node_name(node))

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
        ``docs/blocking-work.md``."""

        def exported(target: F) -> F:
            name = function or target.__name__
            self.exports.add(module, name, target, blocking=blocking, executor=executor)
            return target

        return exported

    async def gen_server_call(self, to: Any, request: Any, *, timeout: float | None = 5.0) -> Any:
        """``gen_server:call/3`` to a pid, ``name``, ``(name, node)`` or what stands for one; see
        :meth:`GenServerClient.call`."""
        return await self.gen_server.call(to, request, timeout=timeout)

    def gen_server_cast(self, to: Any, request: Any) -> None:
        """``gen_server:cast/2``."""
        self.gen_server.cast(to, request)
