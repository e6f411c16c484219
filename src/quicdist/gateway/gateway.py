"""The gateway of one local node."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from quicdist.carrier import (
    Address,
    Incoming,
    Listener,
    NetAddress,
    PeerUnreachable,
    Pem,
)
from quicdist.carrier.liveness import NET_TICKTIME
from quicdist.carrier.quic.relay import QuicRelayCarrier
from quicdist.carrier.tcp.relay import TcpNearEnd, connect_near
from quicdist.carrier.termination import termination
from quicdist.config import Config, Source, as_config, first
from quicdist.config.discovery_settings import quic_discovery, quic_port
from quicdist.config.quic_settings import quic_settings
from quicdist.containment import settle
from quicdist.discovery import Discovery, DiscoveryError, EpmdDiscovery
from quicdist.discovery.epmd_client import default_port
from quicdist.discovery.static import Addresses
from quicdist.errors import QuicDistError
from quicdist.gateway.epmd import EpmdServer, LocalNames, port_is_taken
from quicdist.gateway.errors import GatewayError
from quicdist.gateway.hosts import LOCAL, RemoteHosts, hosts_of
from quicdist.gateway.local_dials import LocalDials
from quicdist.gateway.metrics import Metric, MetricsPage
from quicdist.gateway.relays import LIMITS, Relays
from quicdist.gateway.remote_nodes import RemoteNodes
from quicdist.gateway.tasks import Tasks
from quicdist.gateway.traffic import Traffic
from quicdist.logs import get_logger
from quicdist.protocol import PeerNamed
from quicdist.protocol.names import node_name, validate_node_name
from quicdist.term.names import Name

log = get_logger("quicdist.gateway")

#: Seconds for a handshake: OTP's ``net_setuptime``.
SETUP_TIME: Final = 7.0
#: Seconds for which a stopping gateway sends what its connections have still queued.
DRAIN_TIME: Final = 15.0
#: The receive window of one stream, in bytes: what a remote node may send that is not yet taken.
MAX_STREAM_DATA: Final = 4 * 1024 * 1024


class GatewayState(Enum):
    """The state of a gateway::

    NEW ──> RUNNING ──> STOPPING ──> STOPPED
     └────────────────────────────────^
    """

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


_TRANSITIONS: Final = {
    GatewayState.NEW: {GatewayState.RUNNING, GatewayState.STOPPED},
    GatewayState.RUNNING: {GatewayState.STOPPING},
    GatewayState.STOPPING: {GatewayState.STOPPED},
    GatewayState.STOPPED: frozenset[GatewayState](),
}


class Gateway:
    """Carries the distribution of the local node ``name`` over QUIC::

        async with Gateway("a@host1", nodes={"b@host2": ("10.0.0.2", 4433)}, cert=..., key=...) as gateway:
            await gateway.run_forever()

    - ``nodes``, ``discovery``, ``config``, ``vm_args``: where remote nodes are, as for
      :class:`quicdist.Node`.
    - ``hosts``: remote hosts by name, each with its loopback address, or None to be given one. Those in
      ``nodes`` are added.
    - ``host`` and ``port``: where to listen for QUIC (None: all addresses; UDP 4433).
    - ``cert``, ``key``, ``cacert``, ``verify``, ``quic``: as for :class:`quicdist.Node`.
    - ``epmd_port``: the port of epmd, for the local node too: ``$ERL_EPMD_PORT`` or 4369.
    - ``epmd``: ``"own"``, the gateway is the local node's epmd; ``"system"``, an epmd runs at 127.0.0.1;
      ``"auto"``, the gateway is epmd unless another program listens there.
    - ``inetrc``: the file that is written for ``ERL_INETRC``.
    - ``metrics_port``: the TCP port of the metrics page, on loopback; None: no page, 0: any free port.
    - ``net_ticktime`` and ``setup_time``: seconds, as for the BEAM.

    Raises :class:`GatewayError`, :class:`~quicdist.protocol.InvalidNodeName` and
    :class:`~quicdist.config.ConfigError`.
    """

    def __init__(
        self,
        name: Name | None = None,
        *,
        nodes: Addresses | None = None,
        hosts: Iterable[str] | Mapping[str, str | None] = (),
        config: Config | Source | Sequence[Source] | None = None,
        vm_args: Source | None = None,
        discovery: Discovery | None = None,
        host: str | None = None,
        port: int | None = None,
        epmd_port: int | None = None,
        epmd: str = "auto",
        inetrc: str | os.PathLike[str] | None = None,
        metrics_port: int | None = None,
        cert: Pem | None = None,
        key: Pem | None = None,
        cacert: Pem | None = None,
        verify: bool | None = None,
        quic: Mapping[str, Any] | None = None,
        net_ticktime: float | None = None,
        setup_time: float | None = None,
    ) -> None:
        files = as_config(config, vm_args)
        name = first(name, files.name)
        if name is None:
            raise GatewayError("a gateway needs the name of the local node: pass it, or a vm.args with it")
        #: The name of the local node.
        self.name = str(validate_node_name(node_name(name)))
        if epmd not in ("auto", "own", "system"):
            raise GatewayError(f'epmd={epmd!r} is not one of "auto", "own", "system"')
        listed = [*map(str, files.nodes), *map(node_name, nodes or {})]
        own_host = self.name.partition("@")[2]
        named = hosts if isinstance(hosts, Mapping) else dict.fromkeys(hosts)
        #: The loopback addresses of the remote hosts.
        self.hosts = RemoteHosts({**hosts_of(listed, own_host), **named})
        self.discovery = discovery or quic_discovery(files, nodes or {})
        self.state = GatewayState.NEW
        #: Where it listens for QUIC, once it is started.
        self.address: NetAddress | None = None
        #: The port of the metrics page, once it is started.
        self.metrics_port = metrics_port
        self.epmd_port = default_port() if epmd_port is None else epmd_port
        self._epmd = epmd
        self._inetrc = None if inetrc is None else Path(inetrc)
        ticktime = first(net_ticktime, files.net_ticktime, NET_TICKTIME)
        its_cert, its_key, its_cacert = files.certificates
        settings = {"buffers": LIMITS, "max_stream_data": MAX_STREAM_DATA} | dict(quic or {})
        self._carrier = QuicRelayCarrier(
            quic_settings(
                files,
                settings,
                cert=first(cert, its_cert),
                key=first(key, its_key),
                cacert=first(cacert, its_cacert),
                verify=first(verify, files.verify, True),
                net_ticktime=ticktime,
                max_frame=128 * 1024 * 1024,
            )
        )
        self._setup_time = first(setup_time, files.setup_time, SETUP_TIME)
        self._host = host
        self._port = quic_port(files, self.name) if port is None else port
        self._local_names = LocalNames(self._name_changed)
        self._system_epmd: EpmdDiscovery | None = None
        self._epmds: list[EpmdServer] = []
        self._remote: list[RemoteNodes] = []
        self._metrics: MetricsPage | None = None
        self._listener: Listener | None = None
        self._traffic = Traffic()
        self._relays = Relays(self._traffic, ticktime)
        self._dials = LocalDials(
            self._carrier, self.discovery, self.hosts, self._relays, self._traffic, self._setup_time
        )
        self._tasks = Tasks()
        self._over = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        self._registered = False

    def __repr__(self) -> str:
        return f"<Gateway of {self.name}, {self.state.value}>"

    def _enter(self, state: GatewayState) -> None:
        assert state in _TRANSITIONS[self.state], f"{self.state.name} to {state.name}"
        self.state = state

    # -- starting and stopping -------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on both sides. A gateway is started once. Raises :class:`GatewayError` and
        :class:`~quicdist.carrier.ListenError`; then nothing is left listening."""
        if self.state is not GatewayState.NEW:
            raise GatewayError(f"the gateway of {self.name} was started before")
        try:
            await self._listen()
        except BaseException:
            await self._close_all()
            self._enter(GatewayState.STOPPED)
            raise
        self._enter(GatewayState.RUNNING)
        self._relays.start()
        page = "none" if self._metrics is None else f"http://{LOCAL}:{self.metrics_port}/metrics"
        log.info(
            "gateway of %s: QUIC at %s, epmd port %d, metrics %s",
            *(self.name, self.address, self.epmd_port, page),
        )

    async def _listen(self) -> None:
        self._listener = await self._carrier.listen(self.name, host=self._host, port=self._port)
        self.address = self._dials.own_address = self._listener.address
        if self._epmd != "system":
            await self._serve_local_epmd()
        if self._epmd == "system":
            self._system_epmd = EpmdDiscovery(port=self.epmd_port, start_epmd=False)
        for host, address in self.hosts:
            remote = RemoteNodes(host, address, self.discovery, self._dials.dialled, seconds=self._setup_time)
            self._remote.append(remote)
            try:
                await self._serve_epmd(EpmdServer(remote), address)
            except GatewayError as error:
                if not port_is_taken(error):
                    raise
                text = "; an epmd that listens at all addresses? Start it with ERL_EPMD_ADDRESS=127.0.0.1"
                raise GatewayError(f"{error}{text}") from error
        if self.metrics_port is not None:
            self._metrics = MetricsPage(self.metrics)
            await self._metrics.listen(LOCAL, self.metrics_port)
            self.metrics_port = self._metrics.port
        if self._inetrc is not None:
            try:
                self._inetrc.write_text(self.hosts.inetrc(self.name.partition("@")[2]))
            except OSError as error:
                raise GatewayError(f"cannot write {self._inetrc}: {error.strerror}") from error
        self._tasks.spawn(self._accept(self._listener), "accepting")

    async def _serve_local_epmd(self) -> None:
        try:
            await self._serve_epmd(EpmdServer(self._local_names, self._local_names), LOCAL)
        except GatewayError as error:
            if self._epmd == "own" or not port_is_taken(error):
                raise
            self._epmd = "system"
            log.info("an epmd runs at %s:%d; it is asked for %s", LOCAL, self.epmd_port, self.name)

    async def _serve_epmd(self, server: EpmdServer, address: str) -> None:
        await server.listen(address, self.epmd_port)
        self._epmds.append(server)
        if not self.epmd_port:
            self.epmd_port = server.port

    async def stop(self) -> None:
        """Stop, and wait until that is done. Nothing more is accepted on either side, and nothing more is
        read. What was read is sent, for some seconds at most, and the connections are closed. The nodes see
        each other go down then."""
        if self.state is GatewayState.NEW:
            self._enter(GatewayState.STOPPED)
            self._over.set()
        if self.state is GatewayState.STOPPED:
            return
        if self._stopping is None:
            self._enter(GatewayState.STOPPING)
            self._stopping = asyncio.create_task(self._stop(), name=f"quicdist gateway: stop of {self.name}")
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        log.info("gateway of %s stops, %d connections", self.name, len(self._relays))
        self._relays.stop()
        if self._registered:
            _, error = await settle(self.discovery.unregister_node(self.name))
            if error is not None:
                log.warning("%s is not unregistered: %s", self.name, error)
        relays = list(self._relays)
        for relay in relays:
            relay.end("the gateway stops")
        if relays:
            closing = [asyncio.create_task(relay.closed()) for relay in relays]
            _, late = await asyncio.wait(closing, timeout=DRAIN_TIME)
            for task in late:
                task.cancel()
        await self._close_all()
        self._enter(GatewayState.STOPPED)
        self._over.set()

    async def _close_all(self) -> None:
        if self._listener is not None:
            await self._carrier.close(self._listener)
        await self._tasks.close()
        for remote in self._remote:
            await remote.close()
        for server in self._epmds:
            await server.close()
        if self._metrics is not None:
            await self._metrics.close()
        await settle(self.discovery.close())

    async def run_forever(self) -> None:
        """Wait until the gateway has stopped; SIGTERM and SIGINT stop it, a second one ends the program at
        once. Signals are handled in the main thread only."""
        with termination.listening(self._signalled, asyncio.get_running_loop()):
            await self._over.wait()
        if self._stopping is not None:
            await self._stopping

    def _signalled(self, number: signal.Signals) -> None:
        log.info("%s: the gateway of %s stops; a second signal ends it at once", number.name, self.name)
        self._tasks.spawn(self.stop(), "stop")

    # -- a remote node dials -----------------------------------------------------------------

    async def _accept(self, listener: Listener) -> None:
        async for incoming in self._carrier.accept(listener):
            self._tasks.spawn(self._accepted(incoming), "handshake")

    async def _accepted(self, incoming: Incoming) -> None:
        ends: list[TcpNearEnd] = []

        async def connect(peer: PeerNamed) -> TcpNearEnd:
            address = await self._local_address()
            try:
                end = await connect_near(self.name, address)
            except PeerUnreachable as error:
                text = f"{self.name} is not running: {error.reason} at {address}"
                raise GatewayError(text) from error
            ends.append(end)
            return end

        try:
            link = await self._carrier.relay_accept(incoming, connect, setup_time=self._setup_time)
        except QuicDistError:
            self._traffic.accepts_failed += 1  # The carrier has logged it.
            for end in ends:
                end.close()
        except BaseException:
            for end in ends:
                end.close()
            raise
        else:
            self._relays.connect(link, ends[0])

    async def _local_address(self) -> Address:
        alive = self.name.partition("@")[0]
        if self._system_epmd is None:
            port = await self._local_names.port_of(alive)
        else:
            port = await self._system_epmd.port_please(alive, LOCAL)
        if port is None:
            raise GatewayError(f"{self.name} is not running: it is not registered with epmd at {LOCAL}")
        return Address(LOCAL, port)

    def _name_changed(self, name: str) -> None:
        if name != self.name.partition("@")[0]:
            return
        log.info("the local node %s %s", self.name, "registered" if self.local_is_up else "is gone")
        if self.local_is_up and not self._registered and self._listener is not None:
            self._registered = True
            self._tasks.spawn(self._register(self._listener.address), "registering")

    async def _register(self, address: NetAddress) -> None:
        """Publish the local node where discovery publishes nodes."""
        try:
            await self.discovery.register_node(self.name, address.port)
        except DiscoveryError as error:
            log.warning("%s is not registered: %s", self.name, error)

    @property
    def local_is_up(self) -> bool:
        """Whether the local node is registered with this gateway; False if another epmd is used."""
        return self.name.partition("@")[0] in self._local_names

    # -- connections -------------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """The remote nodes that are connected."""
        return sorted(relay.node for relay in self._relays)

    def metrics(self) -> list[Metric]:
        """What the metrics page shows."""
        up = None if self._system_epmd is not None else self.local_is_up
        return self._traffic.metrics(self.name, self._relays, local_is_up=up)
