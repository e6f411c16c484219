"""The carrier over QUIC, wire-compatible with erlang_quic's ``quic_dist``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, NamedTuple, TypeVar

from quicdist.carrier.addresses import Address, NetAddress
from quicdist.carrier.contract import Carrier, Incoming, Listener, LocalNode
from quicdist.carrier.errors import (
    AcceptError,
    CarrierError,
    CertificateError,
    ConnectError,
    HandshakeStalled,
    ListenError,
    PeerUnreachable,
    SetupTimeout,
    SimultaneousDropped,
    TicketRefused,
)
from quicdist.carrier.happy_eyeballs import Candidate, Claim, candidates, race
from quicdist.carrier.quic import DEFAULT_PORT
from quicdist.carrier.quic.close_codes import close_code, incoming_ended, told_reason
from quicdist.carrier.quic.connect_options import ConnectOptions
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.dial_endpoint import NO_WAY, DialEndpoint
from quicdist.carrier.quic.driver.endpoint import register
from quicdist.carrier.quic.driver.listen_endpoint import IncomingHandler, ListenEndpoint
from quicdist.carrier.quic.driver.stateless_reset import StatelessResets
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.contract import EngineFactory
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.quic.handshake import AcceptHandshake, DialHandshake, QuicHandshake
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.reset_secret import reset_secret
from quicdist.carrier.quic.resumption import Resumption
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.quic.simultaneous_connect import Attempts
from quicdist.carrier.quic.source_ports import MOST as MAX_EXTRA_DIALS
from quicdist.carrier.quic.source_ports import PATIENCE as EXTRA_DIAL_TIME
from quicdist.carrier.quic.source_ports import dial_from_several_ports
from quicdist.carrier.rate_limits import FailureDelay, source_of
from quicdist.carrier.refusal_log import RefusalLog
from quicdist.carrier.udp import DatagramSocket, OpenSocket, SocketBuffers, UdpSocket
from quicdist.errors import QuicDistError
from quicdist.logs import clean, get_logger
from quicdist.protocol import WrongCookie

log = get_logger("quicdist.carrier.quic")

#: Bytes kept of a peer that has connected and is not yet spoken to; a handshake begins with far less.
MAX_EARLY = 64 * 1024
#: Seconds from the first datagram of a connection until it must have been taken by
#: ``accept_connection``.
INCOMING_TIME = 10.0

#: A dial is begun so many times, each given its part of the time there is: a quic_dist, up to 1.8.1, that has
#: lost its part of a QUIC handshake does not send it again.
TRIES = 3
#: Where something was heard, it is begun anew after so many seconds of silence; the second time after twice
#: that, and so on: a peer that is slow is not to be begun with for ever.
STALL = 0.5
#: ... if there is so many times as much time left.
STALLS_LEFT = 4

T = TypeVar("T")


class QuicCarrier(Carrier):
    """Links over QUIC. One carrier can listen in several places and dial at the same time."""

    family: ClassVar[str] = "quic"

    def __init__(self, settings: QuicSettings | None = None) -> None:
        self.settings = settings or QuicSettings()
        #: Makes its connections.
        self.engines: EngineFactory = self.settings.engines or _aioquic()
        self.resumption = Resumption(self.settings)
        self._attempts = Attempts()
        self._stream_counts = StreamCounts()
        self._extra_dials = asyncio.Semaphore(MAX_EXTRA_DIALS)
        self._wrong_cookies = FailureDelay()
        #: How to dial single nodes, by their names; looked at with every dial.
        self.connect_options: dict[str, ConnectOptions] = {}

    def address(self) -> NetAddress:
        return NetAddress("", 0, self.family)

    # -- listening -------------------------------------------------------------------------

    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> QuicListener:
        """Listen on UDP ``port`` of ``host``; 0 lets the system choose, ``DEFAULT_PORT`` is
        quic_dist's own. Raises :class:`ListenError`, for want of a certificate too."""
        try:
            engine = self.settings.for_listening()
        except CertificateError as error:
            raise ListenError(host, port, str(error)) from error
        udp = UdpSocket(await _bind(self.settings.sockets, host, port))
        try:
            secret = reset_secret(self.settings.reset_secret, self.settings.tls, name, udp.local.port)
        except CertificateError as error:
            udp.close()
            raise ListenError(host, port, str(error)) from error
        listener = QuicListener(udp, host)
        resets = StatelessResets(secret)
        endpoint = ListenEndpoint(
            udp,
            self.engines.listen(
                engine, reset_token=resets.token, issued=self.resumption.for_listening(engine)
            ),
            lambda endpoint: QuicIncoming(endpoint, listener),
            admission=self.settings.admission,
            resets=resets,
        )
        listener.endpoint = endpoint
        await register(endpoint)
        log.info("%s listens at %s, buffers %s", name, listener.address, listener.buffers)
        return listener

    async def accept(self, listener: Listener) -> AsyncIterator[QuicIncoming]:
        arrived = _ours(listener, QuicListener).arrived
        while (incoming := await arrived.get()) is not None:
            if not incoming.closed:
                yield incoming
            del incoming
        arrived.put_nowait(None)  # for whoever else accepts here

    async def accept_connection(self, incoming: Incoming, local: LocalNode, *, setup_time: float) -> QuicLink:
        waiting = _ours(incoming, QuicIncoming)
        handshake = waiting.hand_over(local, self.settings, self._stream_counts, self._attempts)
        connection = waiting.connection
        try:
            link = await handshake.link(setup_time)
        except BaseException as raised:
            error = _meaning(raised, handshake, setup_time)
            try:
                if isinstance(error, WrongCookie):
                    await self._delay(incoming.remote_address)
            finally:
                _give_up(connection, handshake, error, self.settings.linger)
            reason = error.reason if isinstance(error, AcceptError) else error
            # That one of two attempts gives way is what is meant to be.
            level = logging.DEBUG if isinstance(error, SimultaneousDropped) else logging.WARNING
            waiting.refused(level, str(reason or "given up"))
            handshake.forget()
            try:
                raise error from (None if error is not raised else raised.__cause__)
            finally:
                del error, reason
        waiting.endpoint.half_open.leave(connection)
        return link

    async def _delay(self, where: Address) -> None:
        """Let a peer wait that had the wrong cookie, and has had others before. It keeps its place, unless
        that is needed for another."""
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self._wrong_cookies.failed(source_of(where.host), now))

    async def close(self, listener: Listener) -> None:
        _ours(listener, QuicListener).close()

    # -- dialling --------------------------------------------------------------------------

    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> QuicLink:
        if not self.select(node):
            raise ConnectError(node, address, "that is no node name (name@host)")
        deadline = asyncio.get_running_loop().time() + setup_time

        found = await self._resolve(node, address, setup_time)

        async def attempt(candidate: Candidate, claim: Claim) -> QuicLink:
            heard: list[UdpSocket] = []

            async def first(claim: Claim) -> QuicLink:
                dial = Dial(node, address, candidate, local, deadline, setup_time, claim, heard)
                alone = len(found) == 1
                share, stall = setup_time / TRIES, STALL
                while True:
                    left = deadline - asyncio.get_running_loop().time()
                    patience = share if left >= 1.5 * share else None
                    try:
                        return await self._dial(
                            dial,
                            alone=alone,
                            patience=patience,
                            stall=stall if left >= STALLS_LEFT * stall else None,
                        )
                    except (TicketRefused, HandshakeStalled) as error:
                        log.info("%s: once more, without early data", error)
                        alone = False
                        stall *= 2

            async def other(claim: Claim) -> QuicLink:
                log.debug("nothing came of %s at %s: once more, from another port", node, candidate)
                dial = Dial(node, address, candidate, local, deadline, setup_time, claim, heard)
                return await self._dial(dial, alone=False, patience=EXTRA_DIAL_TIME)

            def silent() -> bool:
                return not any(udp.datagrams_in for udp in heard)

            return await dial_from_several_ports(
                first, other, silent=silent, claim=claim, places=self._extra_dials
            )

        try:
            return await race(attempt, found, passing=(PeerUnreachable, SetupTimeout))
        except ExceptionGroup as group:
            raise _of_all(node, address, found, group) from group

    def _settings_for(self, node: str) -> QuicSettings:
        options = self.connect_options.get(node)
        return self.settings if options is None else options.applied_to(self.settings)

    async def _resolve(self, node: str, address: Address, setup_time: float) -> list[Candidate]:
        try:
            async with asyncio.timeout(setup_time):
                return await candidates(address, socket.SOCK_DGRAM)
        except TimeoutError:
            text = f"{address.host} was not resolved within {setup_time:g} s"
            raise SetupTimeout(node, address, text) from None
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise PeerUnreachable(node, address, f"{address.host} is not known: {why}") from error

    async def _dial(
        self, dial: Dial, *, alone: bool, patience: float | None, stall: float | None = None
    ) -> QuicLink:
        """``alone``: nobody else dials for the same link. Raises :class:`TicketRefused` too, and
        :class:`HandshakeStalled` where nothing was said within ``patience`` seconds, or for ``stall`` seconds
        after something was, if given."""
        loop = asyncio.get_running_loop()
        node, address, claim = dial.node, dial.address, dial.claim
        family, remote = dial.candidate
        settings = self._settings_for(node)
        try:
            engine = settings.for_dialling(node.partition("@")[2])
            udp = UdpSocket(settings.sockets(family, remote=remote))
        except OSError as refused:
            raise PeerUnreachable(node, address, f"{NO_WAY}: {refused.strerror}") from refused
        dial.sockets.append(udp)
        resuming = self.resumption.for_dialling(node, engine, alone=alone)
        handshake = DialHandshake(node, address, dial.local, settings, self._stream_counts, claim)
        quic = self.engines.dial(
            engine,
            ticket=resuming.ticket if resuming else None,
            on_ticket=resuming.keep if resuming else None,
        )
        endpoint = DialEndpoint(udp, remote, quic, handshake, sockets=settings.sockets)
        connection = handshake.connection = endpoint.connection
        try:
            if resuming is not None:
                resuming.engine = quic
                handshake.begin(resuming.ticket)
            connection.transmit()
            await register(endpoint)
            with self._attempts.under_way(node, handshake):
                begun = loop.time()
                if patience is not None or stall is not None:
                    given = dial.deadline - begun if patience is None else patience
                    if not await handshake.begun(given, stall) and loop.time() < dial.deadline:
                        text = f"no QUIC connection within {loop.time() - begun:.3g} s"
                        raise HandshakeStalled(node, address, text)
                return await handshake.link(dial.deadline - loop.time())
        except BaseException as raised:
            error = _meaning(raised, handshake, dial.setup_time)
            _give_up(connection, handshake, error, self.settings.linger)
            handshake.forget()
            if error is raised:
                del error  # It holds all that is here.
                raise
        # Not in the handler: as a context, a TimeoutError would be kept, and by its frames the task.
        try:
            raise error
        finally:
            del error


def _aioquic() -> EngineFactory:
    # Loaded only where it is used: a carrier with another engine does without it.
    from quicdist.carrier.quic.engine.aioquic.factory import AioquicFactory

    return AioquicFactory()


class Dial(NamedTuple):
    """What one attempt at a link is about."""

    node: str
    address: Address
    candidate: Candidate
    local: LocalNode
    #: The loop's time at which it is over.
    deadline: float
    #: The seconds it was given in all, for its error.
    setup_time: float
    claim: Claim
    #: The sockets of all attempts at this address.
    sockets: list[UdpSocket]


def _meaning(raised: BaseException, handshake: QuicHandshake, seconds: float) -> BaseException:
    """What a handshake raised, or what it means that its time ran out."""
    return handshake.timed_out(seconds) if isinstance(raised, TimeoutError) else raised


def _give_up(
    connection: QuicConnection, handshake: QuicHandshake, error: BaseException, linger: float
) -> None:
    """Nothing half made is to stay: neither the connection nor a link that came too late."""
    done = handshake.done
    if done.done() and not done.cancelled() and done.exception() is None:
        done.result().close("given up")
        return
    reason = told_reason(error) if isinstance(error, QuicDistError) else "given up"
    connection.close(close_code(error, quicdist=connection.engine.peer_is_quicdist()), reason, linger=linger)


class QuicListener(Listener):
    """Where a carrier listens, and what has come in there."""

    endpoint: ListenEndpoint

    def __init__(self, udp: UdpSocket, host: str | None) -> None:
        self._local = udp.local
        self._family = "inet6" if ":" in udp.local.host else "inet"
        #: The socket buffers the system granted.
        self.buffers: SocketBuffers = udp.buffers
        #: Connections to be accepted; None at the end. Bounded by the endpoint's ``max_half_open``.
        self.arrived: asyncio.Queue[QuicIncoming | None] = asyncio.Queue()
        #: Lines about connections refused.
        self.refused = RefusalLog()

    @property
    def address(self) -> NetAddress:
        return NetAddress(self._local.host, self._local.port, QuicCarrier.family, self._family)

    def close(self) -> None:
        """Stop listening; what is still in its handshake is closed."""
        for connection in tuple(self.endpoint.half_open):
            connection.break_off("no longer listening")
        self.endpoint.stop_accepting()
        self.arrived.put_nowait(None)


class QuicIncoming(Incoming, IncomingHandler):
    """A QUIC connection that came in, from its first datagram until ``accept_connection``."""

    def __init__(self, endpoint: ListenEndpoint, listener: QuicListener) -> None:
        self.endpoint = endpoint
        self.connection: QuicConnection
        self.closed = False
        self._listener = listener
        self._early: list[tuple[int, bytes, bool]] = []
        self._early_size = 0
        self._arrived = False
        self._closing: Closing | None = None
        self._timer = asyncio.get_running_loop().call_later(INCOMING_TIME, self._too_late)

    @property
    def remote_address(self) -> Address:
        return self.connection.remote_address

    def opened(self, connection: QuicConnection) -> None:
        self.connection = connection

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        self._arrive()

    def _arrive(self) -> None:
        if not self._arrived:
            self._arrived = True
            self._listener.arrived.put_nowait(self)

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        self._early.append((stream_id, data, end))
        self._early_size += len(data)
        # Early data: the name is there before the QUIC handshake is over, and may be answered.
        self._arrive()
        if self._early_size > MAX_EARLY:
            self._drop(f"it sent more than {MAX_EARLY} bytes before its handshake was answered")

    def stream_reset(self, stream_id: int, code: int) -> None:
        self._drop(f"it reset stream {stream_id} before the handshake")

    def turn_ended(self) -> None:
        """Nothing waits for acknowledgements here."""

    def connection_closed(self, closing: Closing) -> None:
        self._end()
        self._closing = closing
        known = closing.by_peer or closing.tls_alert is not None
        self.refused(logging.WARNING if known else logging.DEBUG, incoming_ended(closing))

    def _too_late(self) -> None:
        self._drop(f"no handshake within {INCOMING_TIME:g} s")

    def _drop(self, reason: str) -> None:
        self.refused(logging.WARNING, reason)
        self.close(reason)

    def refused(self, level: int, reason: str) -> None:
        """Log why it is no link, a few times a minute."""
        where = self.remote_address
        if not log.isEnabledFor(level):
            return
        note = self._listener.refused.admit(where.host, level)
        if note is not None:
            log.log(level, "connection from %s refused: %s%s", where, clean(reason, 1000), note)

    def close(self, reason: str = "not accepted") -> None:
        self._end()
        self.connection.close(reason=reason)

    def _end(self) -> None:
        self.closed = True
        self._timer.cancel()

    def hand_over(
        self, local: LocalNode, settings: QuicSettings, stream_counts: StreamCounts, attempts: Attempts
    ) -> AcceptHandshake:
        """Begin the handshake; what has come so far is its beginning. ``attempts`` are those of this
        node. Raises AcceptError."""
        if self.closed:
            raise AcceptError(self.remote_address, f"it is gone: {self._closing or 'it was closed'}")
        self._end()
        handshake = AcceptHandshake(self.connection, local, settings, stream_counts, attempts)
        self.connection.handler = handshake
        early, self._early = self._early, []
        for stream_id, data, end in early:
            handshake.stream_data(stream_id, data, end)
        return handshake


# -- addresses ---------------------------------------------------------------------------------


def _of_all(
    node: str, address: Address, found: Sequence[Candidate], group: ExceptionGroup[Exception]
) -> ConnectError:
    """One error that says what came of each address."""
    reasons = [getattr(error, "reason", str(error)) for error in group.exceptions]
    kind = SetupTimeout if isinstance(group.exceptions[-1], SetupTimeout) else PeerUnreachable
    text = "; ".join(f"{where}: {reason}" for where, reason in zip(found, reasons, strict=True))
    return kind(node, address, text)


async def _bind(open_socket: OpenSocket, host: str | None, port: int) -> DatagramSocket:
    """A socket bound to ``host``, or to every address of both families. Raises ListenError."""
    loop = asyncio.get_running_loop()
    try:
        if host is None:
            with contextlib.suppress(OSError):
                return open_socket(socket.AF_INET6, local=("::", port))
            return open_socket(socket.AF_INET, local=("0.0.0.0", port))
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, _, _, _, local = found[0]
        return open_socket(family, local=local)
    except OSError as error:
        raise ListenError(host, port, error.strerror or str(error)) from error


def _ours(thing: object, kind: type[T]) -> T:
    if not isinstance(thing, kind):
        raise CarrierError(f"{thing!r} does not come from the QUIC carrier")
    return thing


__all__ = ["DEFAULT_PORT", "QuicCarrier", "QuicIncoming", "QuicListener", "QuicSettings"]
