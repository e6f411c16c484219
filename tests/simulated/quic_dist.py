"""A simulated node that behaves as one with quic_dist does on the wire.

Written from what was measured of quic_dist, not from its code. It speaks the handshake, mirrors messages,
answers ``is_auth`` and monitors of names nobody has, sends PINGs, and is silent otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.tls import SessionTicket

from quicdist.carrier.security.credentials import load_credentials
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    NO_PAYLOAD,
    Acceptor,
    AliasSend,
    Connected,
    ControlMessage,
    DistConnection,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    MonitorP,
    PayloadMonitorPExit,
    PeerNamed,
    RegSend,
    Role,
    Send,
    SendSender,
    Status,
    StreamPlan,
    UnlinkId,
    UnlinkIdAck,
)
from quicdist.term import Atom, Codec, ImproperList, Pid
from tests.simulated.behaviours import Behaviour
from tests.simulated.certificates import Kind, certificate
from tests.simulated.joining import FlightSentOnce, make_exact, make_faulty
from tests.simulated.network import Endpoint, Network
from tests.simulated.nodes import COOKIE, PORT, address, name
from tests.support.quic_packets import apart

CONTROL = 0
STATUSES = {b"sok", b"sok_simultaneous", b"snok", b"snot_allowed", b"salive"}
GEN_CALL = Atom("$gen_call")


class Connection(QuicConnection):
    """aioquic's, with streams that behave as quic_dist's do."""

    behaviour: Behaviour

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> Any:
        return self._changed(super()._get_or_create_stream(frame_type, stream_id))

    def _get_or_create_stream_for_send(self, stream_id: int) -> Any:
        return self._changed(super()._get_or_create_stream_for_send(stream_id))

    def _changed(self, stream: Any) -> Any:
        if self.behaviour.joins_exactly:
            make_exact(stream)
        make_faulty(stream, self.behaviour.overrun)
        return stream

    def handle_timer(self, now: float) -> None:
        if self._loss_at is not None and now >= self._loss_at and not self._may_probe():
            self._loss._pto_count += 1
            self._loss_at = None
        super().handle_timer(now)

    def _may_probe(self) -> bool:
        loss = self._loss
        room = loss.congestion_window - loss.bytes_in_flight
        return (
            self.behaviour.probes_beyond_window
            or room >= self._max_datagram_size
            or any(space.loss_time is not None for space in loss.spaces)
        )

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if not self.behaviour.resends_handshake:
            for stream in self._crypto_streams.values():
                stream.sender.__class__ = FlightSentOnce


class QuicDistLink:
    """One connection of a :class:`QuicDistNode`."""

    def __init__(self, node: QuicDistNode, quic: Connection, role: Role, peer: str = "") -> None:
        self.node = node
        self.quic = quic
        self.role = role
        self.peer_name = peer
        self.up: asyncio.Future[None] = node.loop.create_future()
        self.over = asyncio.Event()
        #: The close of the peer, if there was one; or why this node closed.
        self.closed: events.ConnectionTerminated | None = None
        self.connection: DistConnection | None = None
        #: All messages that came, in order.
        self.messages: list[tuple[ControlMessage, Any]] = []
        self.on_message: Callable[[ControlMessage, Any], None] = node.answerer(self)
        framing = HandshakeFraming.BARE
        identity = node.identity
        self._machine: Initiator | Acceptor = (
            Initiator(identity, peer, node.cookie, framing)
            if role is Role.CLIENT
            else Acceptor(identity, framing, lambda name: node.cookie)
        )
        self._quic_up = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._acked_at = node.loop.time()
        self._acked = -1
        self._watch = node.loop.call_later(1.0, self._look)
        self._ping = node.loop.call_later(max(5.0, node.behaviour.net_ticktime / 4), self._send_ping)

    # -- QUIC ------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Endpoint) -> None:
        self._heard_at = self.node.loop.time()
        self.quic.receive_datagram(data, source, self._heard_at)

    def turn(self) -> None:
        control: list[bytes] = []
        while (event := self.quic.next_event()) is not None:
            match event:
                case events.HandshakeCompleted():
                    self._quic_up = True
                    self._send_handshake()
                case events.StreamDataReceived(stream_id=stream_id, data=data):
                    if stream_id == CONTROL and self.connection is None:
                        control.append(data)
                    elif self.connection is not None:
                        self._received(stream_id, data)
                case events.ConnectionTerminated():
                    self.closed = event
                    self.end()
        if control:
            # A reader takes all that lies there as one message.
            self._handshake(b"".join(control))
        self.transmit()

    def transmit(self) -> None:
        if self.over.is_set():
            return
        now = self.node.loop.time()
        for data, to in self.quic.datagrams_to_send(now):
            # A server's flight goes out as a datagram for each packet.
            packets = apart(data, len(self.quic._peer_cid.cid)) if self.role is Role.SERVER else [data]
            for packet in packets:
                self.node.send(packet, (to[0], to[1]))
        self.node.remember(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self.quic.get_timer()) is not None:
            self._timer = self.node.loop.call_at(max(at, now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.quic.handle_timer(self.node.loop.time())
        self.turn()

    def _send_ping(self) -> None:
        self.quic.send_ping(0)
        self._ping = self.node.loop.call_later(
            max(5.0, self.node.behaviour.net_ticktime / 4), self._send_ping
        )
        self.transmit()

    def _look(self) -> None:
        """Once a second: is the peer still there?"""
        now, behaviour = self.node.loop.time(), self.node.behaviour
        loss = self.quic._loss
        acked = sum(space.largest_acked_packet for space in loss.spaces)
        if acked != self._acked or not loss.bytes_in_flight:
            self._acked, self._acked_at = acked, now
        self._watch = self.node.loop.call_later(1.0, self._look)
        limit = behaviour.disconnect_timeout
        if limit is not None and now - self._acked_at >= limit:
            self.close("disconnect_timeout")
        elif now - self._heard_at > behaviour.net_ticktime * 1.25:
            self.close("net_tick_timeout")

    def close(self, reason: str = "") -> None:
        """The node ends the connection, in its own way."""
        if self.over.is_set():
            return
        self.closed = events.ConnectionTerminated(0, None, reason)
        if self.node.behaviour.tells_close:
            self.quic.close(0, reason_phrase=reason)
            for data, to in self.quic.datagrams_to_send(self.node.loop.time()):
                self.node.send(data, (to[0], to[1]))
        self.end()

    def end(self) -> None:
        """It is over, here; nothing is said."""
        for timer in (self._timer, self._watch, self._ping):
            if timer is not None:
                timer.cancel()
        self.over.set()
        if not self.up.done():
            self.up.set_exception(ConnectionError(str(self.closed)))
            self.up.exception()  # it may be that nobody asks
        self.node.forget(self)

    # -- the distribution ------------------------------------------------------------------------

    def _handshake(self, data: bytes) -> None:
        if self.role is Role.CLIENT and data[:1] == b"s" and data not in STATUSES:
            self._refused(f"two handshake messages together: {data!r}")
            return
        try:
            for event in self._machine.receive_data(data):
                match event:
                    case PeerNamed():
                        assert isinstance(self._machine, Acceptor)
                        self._machine.send_status(Status.OK)
                        self.peer_name = event.name
                    case Connected():
                        self._connected(event)
        except QuicDistError as error:
            self._refused(str(error))
        self._send_handshake()

    def _refused(self, reason: str) -> None:
        if self.node.behaviour.closes_refused:
            self.close(reason)

    def _send_handshake(self) -> None:
        if self._quic_up:
            for message in self._machine.data_to_send():
                self.quic.send_stream_data(CONTROL, message)

    def _connected(self, event: Connected) -> None:
        behaviour = self.node.behaviour
        count = behaviour.data_streams
        ids = range(4, 4 * count + 1, 4) if self.role is Role.CLIENT else range(1, 4 * count, 4)
        for stream_id in ids:
            self.quic._get_or_create_stream_for_send(stream_id)
        sending = tuple(ids)[-1:] if behaviour.one_buffer else tuple(ids)
        plan = StreamPlan(CONTROL, sending, count)
        self.connection = DistConnection(event.peer, event.local, codec=Codec(), streams=plan)
        self.node.link_up(event.peer.name, self)
        self.up.set_result(None)
        if event.leftover:
            self._received(CONTROL, event.leftover)

    def _received(self, stream_id: int, data: bytes) -> None:
        connection = self.connection
        assert connection is not None
        if stream_id > 4 * self.node.behaviour.data_streams:
            return  # of a stream that carries no messages here
        if self.node.behaviour.one_buffer and stream_id != CONTROL:
            stream_id = 4
        for control, payload in connection.receive(stream_id, data):
            self.messages.append((control, payload))
            self.on_message(control, payload)

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> None:
        """Send a message as a process of the node would: at once, in a datagram of its own."""
        assert self.connection is not None
        if not self.over.is_set():
            stream_id, parts = self.connection.send(control, payload)
            self.quic.send_stream_data(stream_id, b"".join(map(bytes, parts)))
            self.transmit()

    @property
    def overran(self) -> int:
        """How often it has exceeded a flow-control limit."""
        return sum(getattr(stream.sender, "overran", 0) for stream in self.quic._streams.values())

    def leave_hole(self, stream_id: int) -> None:
        """Of the next frame on a stream nothing is ever sent (a full send queue, before 2.0.2)."""
        self.quic._get_or_create_stream_for_send(stream_id).sender.holes = 1


class QuicDistNode:
    """A node of that kind at the host of a number; listens as long as it is open."""

    def __init__(
        self,
        network: Network,
        number: int,
        behaviour: Behaviour,
        *,
        key: Kind = "ed25519",
        cookie: str = COOKIE,
    ) -> None:
        self.network = network
        self.loop = network.loop
        self.behaviour = behaviour
        self.cookie = cookie
        self.name = name(number)
        self.creation = 1000
        #: By node.
        self.links: dict[str, QuicDistLink] = {}
        #: All that ever came in or went out.
        self.all_links: list[QuicDistLink] = []
        self._arrivals: dict[str, asyncio.Future[QuicDistLink]] = {}
        self._routes: dict[bytes, QuicDistLink] = {}
        self._tokens: dict[bytes, bytes] = {}
        self._tickets: dict[bytes, SessionTicket] = {}
        self._astray: dict[Endpoint, bool] = {}
        self._credentials = load_credentials(*certificate(key))
        self._socket = network.host(address(number))(socket.AF_INET, local=(address(number), PORT))
        self.loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def identity(self) -> LocalIdentity:
        return LocalIdentity(self.name, self.creation, self.behaviour.flags)

    def pid(self, number: int = 1) -> Pid:
        return Pid(self.name, number, 0, self.creation)

    # -- its life ----------------------------------------------------------------------------------

    async def connect(self, number: int) -> QuicDistLink:
        """Dial the node of a number. Raises ConnectionError or TimeoutError (7 s)."""
        quic = Connection(configuration=self._configuration(is_client=True))
        quic.behaviour = self.behaviour
        link = QuicDistLink(self, quic, Role.CLIENT, name(number))
        self.all_links.append(link)
        quic.connect((address(number), PORT), self.loop.time())
        link.transmit()
        try:
            async with asyncio.timeout(7.0):
                await link.up
        except TimeoutError:
            link.close("setup timeout")
            raise
        return link

    async def linked_to(self, number: int) -> QuicDistLink:
        """The link to a node, the last one that came up, or the first one that does."""
        async with asyncio.timeout(60):
            return await self._arrivals.setdefault(name(number), self.loop.create_future())

    def link_up(self, peer: str, link: QuicDistLink) -> None:
        self.links[peer] = link
        arrival = self._arrivals.setdefault(peer, self.loop.create_future())
        if arrival.done():
            arrival = self._arrivals[peer] = self.loop.create_future()
        arrival.set_result(link)

    def restart(self) -> None:
        """The node dies without a word, and is there again: nothing is known any more."""
        for link in set(self._routes.values()):
            link.end()
        self.links.clear()
        self._tokens.clear()
        self._tickets.clear()
        self.creation += 1

    def close(self) -> None:
        self.restart()
        self.loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def forget(self, link: QuicDistLink) -> None:
        """Nothing is known of a connection any more; its peer is not told."""
        for connection_id in [each for each, its in self._routes.items() if its is link]:
            del self._routes[connection_id]
        if self.links.get(link.peer_name) is link:
            del self.links[link.peer_name]

    # -- datagrams -----------------------------------------------------------------------------------

    def _configuration(self, *, is_client: bool) -> QuicConfiguration:
        configuration = QuicConfiguration(
            alpn_protocols=["erlang-dist"],
            is_client=is_client,
            idle_timeout=300.0,
            max_data=256 * 1024 * 1024,
            max_stream_data=4 * 1024 * 1024,
            verify_mode=ssl.CERT_NONE,
            server_name="quic_dist" if is_client else None,
        )
        if not is_client:
            configuration.certificate = self._credentials.certificate
            configuration.private_key = self._credentials.private_key
        return configuration

    def _readable(self) -> None:
        touched: dict[QuicDistLink, None] = {}
        while True:
            try:
                data, source = self._socket.recvfrom(65535)
            except BlockingIOError:
                break
            link = self._route(data, source)
            if link is not None:
                link.receive(data, source)
                touched[link] = None
        for link in touched:
            link.turn()

    def _route(self, data: bytes, source: Endpoint) -> QuicDistLink | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        except ValueError:
            return None
        link = self._routes.get(header.destination_cid)
        dialled = link is None or link.role is Role.SERVER
        if self.behaviour.second_socket and dialled and self._goes_astray(source):
            return None
        if link is None and header.packet_type is QuicPacketType.INITIAL and len(data) >= 1200:
            quic = Connection(
                configuration=self._configuration(is_client=False),
                original_destination_connection_id=header.destination_cid,
                session_ticket_handler=lambda ticket: self._tickets.update({ticket.ticket: ticket}),
                session_ticket_fetcher=lambda ticket: (
                    self._tickets.get(ticket) if self.behaviour.resumes else None
                ),
            )
            quic.behaviour = self.behaviour
            link = self._routes[header.destination_cid] = QuicDistLink(self, quic, Role.SERVER)
            self.all_links.append(link)
        elif link is None and header.packet_type is QuicPacketType.ONE_RTT and self.behaviour.resets:
            token = self._tokens.get(header.destination_cid)
            if token is not None and len(data) > 40:
                self.send(b"\x40" + self.network.random.randbytes(23) + token, source)
        return link

    def _goes_astray(self, source: Endpoint) -> bool:
        """Whether the kernel gives what comes from there to the other socket, which nobody reads."""
        if source not in self._astray:
            self._astray[source] = self.network.random.random() < 0.5
        return self._astray[source]

    def remember(self, link: QuicDistLink) -> None:
        for issued in link.quic._host_cids:
            self._routes[issued.cid] = link
            if issued.stateless_reset_token:
                self._tokens[issued.cid] = issued.stateless_reset_token

    def send(self, data: bytes, to: Endpoint) -> None:
        with contextlib.suppress(OSError):  # It is lost.
            self._socket.sendto(data, to)

    # -- what its processes answer -------------------------------------------------------------------

    def answerer(self, link: QuicDistLink) -> Callable[[ControlMessage, Any], None]:
        """Mirrors ``{Pid, Message}``, whoever it is sent to, as ``{self(), Message}``."""

        def answer(control: ControlMessage, payload: Any) -> None:
            match control, payload:
                case RegSend(), (tag, (Pid() as pid, reply_to), _) if tag == GEN_CALL:
                    if isinstance(reply_to, ImproperList):
                        link.send(AliasSend(self.pid(), reply_to.tail), (reply_to, Atom("yes")))
                    else:
                        link.send(Send(Atom(""), pid), (reply_to, Atom("yes")))
                case RegSend() | SendSender() | Send(), (Pid() as pid, message):
                    link.send(SendSender(self.pid(), pid), (self.pid(), message))
                case MonitorP(to_proc=Atom() as target), _ if target.name not in ("net_kernel", "mirror"):
                    link.send(PayloadMonitorPExit(target, control.from_pid, control.ref), Atom("noproc"))
                case UnlinkId(), _:
                    link.send(UnlinkIdAck(control.id, control.to_pid, control.from_pid))

        return answer


@contextmanager
def quic_dist(network: Network, number: int, behaviour: Behaviour, **options: Any) -> Iterator[QuicDistNode]:
    """A node with quic_dist, as long as the block lasts."""
    node = QuicDistNode(network, number, behaviour, **options)
    try:
        yield node
    finally:
        node.close()
