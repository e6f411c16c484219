"""The contract of a QUIC engine: one connection, sans-I/O.

Datagrams and the time go in, datagrams and events come out. The driver, the send scheduler, flow control and
links use an engine by these methods only. :mod:`quicdist.carrier.quic.engine.aioquic` implements it with
aioquic's connection.

Times are in seconds of any steady clock, and ``now`` never goes back. Sizes are in bytes, offsets are those
of a stream. One thread at a time may use an engine.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, Protocol

from quicdist.carrier.contract import TransportStats
from quicdist.carrier.datagram_socket import Datagram, SocketAddress
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.events import Event
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.engine.state import EngineState
from quicdist.carrier.quic.engine.wire.long_header import LongHeader

if TYPE_CHECKING:
    from cryptography import x509

#: An address that is not validated is sent at most this many times the bytes that came from it (RFC 9000,
#: section 8.1).
AMPLIFICATION: Final = 3
#: An offset beyond the end of any stream.
UNLIMITED: Final = 1 << 62


class Engine(Protocol):
    """One QUIC connection."""

    # -- datagrams and timers --------------------------------------------------------------------

    def connect(self, addr: SocketAddress, now: float) -> None:
        """Dial ``addr``. The first datagram can be sent then."""

    def receive_datagram(self, data: bytes, addr: SocketAddress, now: float) -> None:
        """Process a datagram that came from ``addr``."""

    def receive_datagrams(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Process datagrams, each with the address that it came from, in order."""

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The datagrams that can be sent now. They count as sent."""

    def get_timer(self) -> float | None:
        """When :meth:`handle_timer` is due, unless a datagram comes before; None: it is not."""

    def handle_timer(self, now: float) -> None:
        """The time of :meth:`get_timer` has come."""

    # -- events, and the end ---------------------------------------------------------------------

    def events_waiting(self) -> int:
        """The number of waiting events."""

    def take_events(self) -> list[Event]:
        """Remove and return all waiting events, in order."""

    def join_events(self, start: int) -> None:
        """Join neighbouring data of one stream among the waiting events, from index ``start`` on."""

    def authenticated(self) -> None:
        """The peer is authenticated: the small limits for unauthenticated peers no longer apply."""

    def close(self, error_code: int, *, reason_phrase: str) -> None:
        """Close the connection with an error of the application (RFC 9000, section 10.2)."""

    def state(self) -> EngineState:
        """The state of the connection (RFC 9000, section 10)."""

    def closing(self) -> Closing | None:
        """Why the connection ends, from the moment at which it is known; None before."""

    def release(self) -> None:
        """The connection is over: free its memory now."""

    # -- streams -----------------------------------------------------------------------------------

    def get_next_available_stream_id(self) -> int:
        """The id of the next bidirectional stream of this side."""

    def streams_allowed(self) -> int:
        """How many bidirectional streams this side may open in all (MAX_STREAMS)."""

    def stream_exists(self, stream_id: int) -> bool:
        """Whether a stream is open, in one direction at least."""

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Write ``data``, and the end, to a stream; a new one of this side is opened. Raises RuntimeError for
        a stream that is not :meth:`is_writable`."""

    def is_writable(self, stream_id: int) -> bool:
        """Whether data can be written to a stream: neither side has reset or stopped it."""

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Reset the sending part of a stream (RESET_STREAM)."""

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to reset its sending part of a stream (STOP_SENDING)."""

    def stop_receiving(self, stream_id: int) -> None:
        """End the receiving part of a stream, whether the peer answers STOP_SENDING or not."""

    # -- flow control (RFC 9000, section 4) ----------------------------------------------------------

    def keep_window(self, stream_id: int, window: int) -> int:
        """Set the limit of a stream by :meth:`grant` from now on. Returns the limit: ``window``, or what the
        peer was granted before if that is more."""

    def grant(self, stream_id: int, limit: int) -> None:
        """Let the peer send up to the offset ``limit`` on a stream of :meth:`keep_window`."""

    def limits_held(self) -> AbstractContextManager[None]:
        """A context in which no limit is raised, except by :meth:`grant`."""

    def stream_credit(self, stream_id: int) -> int:
        """Bytes that may be written to a stream before the peer's limit for it is reached."""

    def connection_credit(self) -> int:
        """Bytes that may be sent on all streams together before the peer's limit for the connection is
        reached."""

    # -- data in flight ---------------------------------------------------------------------------

    def written(self, stream_id: int) -> int:
        """Bytes ever written to a stream."""

    def unsent(self, stream_id: int) -> int:
        """Bytes written to a stream and never sent."""

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes written to a stream and not acknowledged, sent or not."""

    def total_unacknowledged(self) -> int:
        """Bytes written to all streams and not acknowledged, sent or not."""

    def acknowledged(self, stream_id: int) -> int:
        """The offset up to which a stream is acknowledged; :data:`UNLIMITED` if it is over."""

    def in_flight(self) -> int:
        """Bytes of packets sent and neither acknowledged nor lost."""

    def waiting_for(self) -> dict[int, int]:
        """The streams with data out of order, each with the offset at which its first gap begins."""

    def unacknowledged_from(self) -> dict[int, int]:
        """The streams with unacknowledged data in flight, each with the offset of the first such byte."""

    def stream_bytes_received(self) -> int:
        """Bytes received in order on the streams that exist. The number changes when more have come."""

    def stream_bytes_acknowledged(self) -> int:
        """Bytes acknowledged on the streams that exist. The number changes when more were."""

    # -- liveness and time ---------------------------------------------------------------------------------

    def packets_received(self) -> int:
        """A number that grows with each new packet of the established connection; 0 before."""

    def packets_sent(self) -> int:
        """The number of packets ever sent."""

    def transport_stats(self) -> TransportStats:
        """The measurements of the connection, now."""

    def send_ping(self, uid: int) -> None:
        """Send a PING: the peer has to acknowledge it."""

    def acknowledge_now(self, now: float) -> None:
        """Do not delay an acknowledgement that waits: send it with the next packet."""

    def acknowledge_apart(self, apart: bool) -> None:
        """From now on send acknowledgements in packets of their own, or no longer: a packet with data may be
        too long for the path."""

    def quickest_round_trip(self) -> float:
        """The shortest recent round-trip time in seconds; infinite before the first."""

    def probe_timeout(self) -> float:
        """The probe timeout, without backoff (RFC 9002, section 6.2.1)."""

    def rounds(self) -> tuple[int, float, int]:
        """The number of round trips of data so far, the shortest round-trip time of the last one, and the
        congestion window."""

    # -- paths and the size of datagrams -------------------------------------------------------------

    @property
    def host_cid(self) -> bytes:
        """The connection id of this side that the peer uses."""

    def reset_tokens(self) -> list[bytes]:
        """The tokens of a stateless reset by the peer (RFC 9000, section 10.3.1)."""

    def change_connection_id(self) -> None:
        """Use another connection id of the peer from now on."""

    def get_peer_address(self) -> SocketAddress | None:
        """The address that datagrams are sent to, None before it is known. The same object until it
        changes."""

    def path_is_valid(self) -> bool:
        """Whether that address is validated (RFC 9000, section 8)."""

    def unvalidated_credit(self) -> int | None:
        """Bytes that may still be sent to that address until it is validated; None: it is."""

    def longest_datagram(self) -> int:
        """The longest datagram that the settings allow."""

    def datagram_size(self) -> int:
        """The current maximum length of datagrams."""

    def set_datagram_size(self, size: int) -> None:
        """Build datagrams of up to ``size`` bytes from now on."""

    def make_probe(self, size: int, now: float, on_done: Callable[[bool], None]) -> Datagram:
        """A probe packet: a datagram of ``size`` bytes, which counts as sent and not against the congestion
        window (RFC 9000, section 14.4). ``on_done`` is called with True when it is acknowledged, with False
        when it is lost."""

    def forget_probe(self) -> None:
        """The probe packet just made was not sent."""

    def watch(self, count: int, on_done: Callable[[bool], None]) -> bool:
        """Call ``on_done`` with True when the first of the last ``count`` datagrams is acknowledged, with
        False when it is lost. Returns False if it is not ack-eliciting."""

    def watch_long_packets(
        self, size: int, after: int, on_acknowledged: Callable[[int], None]
    ) -> tuple[int, int]:
        """Call ``on_acknowledged`` with its size for each packet that is acknowledged, of those in flight
        from number ``after`` on with more than ``size`` bytes. Returns how many there are, and the size of
        the longest."""

    # -- TLS, and the peer's transport parameters ---------------------------------------------------

    def peer_certificates(self) -> tuple[x509.Certificate, ...]:
        """The peer's certificate and the chain that came with it; empty if it showed none."""

    def why_not_named(self, host: str) -> str | None:
        """Why the certificate of a dialling peer does not name ``host``; None if it does, or if none was
        shown or asked for."""

    def is_resumed(self) -> bool:
        """Whether the TLS session was resumed."""

    def can_send_early_data(self) -> bool:
        """Whether data written now are sent as early data (0-RTT)."""

    def early_data_refused(self, now: float) -> None:
        """The peer has rejected the early data: send them again at once."""

    def peer_is_quicdist(self) -> bool:
        """Whether the peer is quicdist, by its transport parameters; False before they have come."""

    def peer_says(self, parameter: int) -> bool:
        """Whether the peer has sent this transport parameter
        (:mod:`quicdist.carrier.quic.engine.own_parameters`)."""

    def peer_max_datagram(self) -> int:
        """The longest datagram that the peer takes (max_udp_payload_size, RFC 9000, section 18.2)."""


class Ticket(Protocol):
    """A session ticket (RFC 8446, section 4.6.1), with the secret of its session."""

    @property
    def identity(self) -> bytes:
        """The ticket as it is sent to the peer."""

    @property
    def is_valid(self) -> bool:
        """Whether it has not expired."""

    @property
    def not_valid_after(self) -> datetime.datetime:
        """When it expires."""

    @property
    def takes_early_data(self) -> bool:
        """Whether its issuer has said that it processes early data."""

    def without_early_data(self) -> Ticket:
        """The same ticket, without permission for early data."""

    def bounded(self, *ends: datetime.datetime) -> Ticket:
        """The same ticket, valid until the earliest of ``ends`` at most, and for seven days at most."""


class TicketTable(Protocol):
    """The tickets that a listener has issued."""

    def put(self, key: bytes, ticket: Ticket) -> None:
        """Keep a ticket."""

    def take(self, key: bytes) -> Ticket | None:
        """Remove and return the ticket for ``key``; None if there is none, or it has expired."""


class StatelessPackets(Protocol):
    """The packets that a listener sends without a connection, each in answer to one with ``header``."""

    def connection_refused(self, header: LongHeader, reason: str) -> bytes:
        """CONNECTION_CLOSE with CONNECTION_REFUSED."""

    def invalid_token(self, header: LongHeader) -> bytes:
        """CONNECTION_CLOSE with INVALID_TOKEN: the token is ours, and has expired (RFC 9000, section
        8.1.3)."""

    def retry(self, header: LongHeader, retry_id: bytes, token: bytes) -> bytes:
        """Retry: the client begins again, with ``token`` and to the connection id ``retry_id``."""

    def version_negotiation(self, header: LongHeader) -> bytes:
        """Version Negotiation (RFC 9000, section 17.2.1)."""


class Acceptor(Protocol):
    """Makes the connections of one listener."""

    @property
    def id_length(self) -> int:
        """The length of this side's connection ids."""

    @property
    def versions(self) -> Sequence[int]:
        """The supported versions of QUIC."""

    @property
    def packets(self) -> StatelessPackets:
        """Makes the packets that are sent without a connection."""

    def accept(self, original_id: bytes, retry_id: bytes | None) -> Engine:
        """A connection for a client whose first packet went to the connection id ``original_id``;
        ``retry_id`` is that of our Retry packet, if there was one."""


class EngineFactory(Protocol):
    """Makes connections."""

    def dial(
        self, settings: EngineSettings, *, ticket: Ticket | None, on_ticket: Callable[[Ticket], None] | None
    ) -> Engine:
        """A connection to dial with. It shows ``ticket``, and calls ``on_ticket`` with those that the peer
        issues."""

    def listen(
        self,
        settings: EngineSettings,
        *,
        reset_token: Callable[[bytes], bytes],
        issued: TicketTable | None,
    ) -> Acceptor:
        """The acceptor of a listener. ``reset_token`` makes the stateless reset token of a connection id.
        ``issued`` keeps the tickets that are issued; None: none are."""
