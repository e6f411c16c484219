"""The contract of a QUIC engine: one connection, sans-I/O.

Datagrams and the time go in, datagrams and events come out. The driver, the send scheduler, flow control and
links know an engine by this and by nothing else; aioquic's connection is one
(:mod:`quicdist.carrier.quic.engine.aioquic`).

Times are in seconds of any steady clock, sizes in bytes, offsets are those of a stream. A method that is told
``now`` is never told less than the one before. An engine may be used by one thread at a time.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, Protocol

from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.events import Event
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.engine.state import EngineState
from quicdist.carrier.quic.engine.wire.long_header import LongHeader
from quicdist.carrier.udp import Datagram, SocketAddress

if TYPE_CHECKING:
    from cryptography import x509

#: An address that is not validated is sent at most so many times the bytes that came from there (RFC 9000,
#: section 8.1).
AMPLIFICATION: Final = 3
#: An offset beyond all that a stream can have.
UNLIMITED: Final = 1 << 62


class Engine(Protocol):
    """One QUIC connection."""

    # -- datagrams and timers --------------------------------------------------------------------

    def connect(self, addr: SocketAddress, now: float) -> None:
        """Dial ``addr``: the first datagram can be sent."""

    def receive_datagram(self, data: bytes, addr: SocketAddress, now: float) -> None:
        """Take in a datagram that came from ``addr``."""

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """All that can be sent now: it counts as sent."""

    def get_timer(self) -> float | None:
        """When :meth:`handle_timer` is due, if nothing comes before; None if it is not."""

    def handle_timer(self, now: float) -> None:
        """Do what is due at :meth:`get_timer`."""

    # -- events, and the end ---------------------------------------------------------------------

    def events_waiting(self) -> int:
        """How many events wait to be taken."""

    def take_events(self) -> list[Event]:
        """All events that wait, in their order."""

    def join_events(self, start: int) -> None:
        """Join neighbouring pieces of one stream among the events that wait, from the one at ``start`` on."""

    def authenticated(self) -> None:
        """The peer is authenticated: the bounds on what it may cost are those of a link from now on."""

    def close(self, error_code: int, *, reason_phrase: str) -> None:
        """Close the connection with an error of the application (RFC 9000, section 10.2)."""

    def state(self) -> EngineState:
        """The state of the connection (RFC 9000, section 10)."""

    def closing(self) -> Closing | None:
        """Why the connection ends, from the moment at which it is known; None before."""

    def release(self) -> None:
        """The connection is over: let go of all that holds its memory."""

    # -- streams -----------------------------------------------------------------------------------

    def get_next_available_stream_id(self) -> int:
        """The id of the next bidirectional stream that this side opens."""

    def streams_allowed(self) -> int:
        """How many bidirectional streams the peer lets this side open in all."""

    def stream_exists(self, stream_id: int) -> bool:
        """Whether a stream is open and not over in both directions."""

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Hand on ``data`` on a stream, which is opened if it is a new one of this side, and its end. Raises
        RuntimeError for a stream that is not :meth:`is_writable`."""

    def is_writable(self, stream_id: int) -> bool:
        """Whether a stream takes data: neither side has broken it off."""

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Break off what is sent on a stream (RESET_STREAM)."""

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to break off what it sends on a stream (STOP_SENDING)."""

    def stop_receiving(self, stream_id: int) -> None:
        """Take nothing more of a stream, whether the peer answers STOP_SENDING or not."""

    # -- flow control (RFC 9000, section 4) ----------------------------------------------------------

    def keep_window(self, stream_id: int, window: int) -> int:
        """From now on the peer may send on a stream what :meth:`grant` says, to begin with ``window`` bytes,
        or what was promised already; the limit."""

    def grant(self, stream_id: int, limit: int) -> None:
        """Let the peer send a stream of :meth:`keep_window` up to the offset ``limit``."""

    def limits_held(self) -> AbstractContextManager[None]:
        """Grant the peer nothing more meanwhile, except by :meth:`grant`."""

    def stream_credit(self, stream_id: int) -> int:
        """How many bytes the peer takes on a stream beyond those that were handed on."""

    def connection_credit(self) -> int:
        """How many bytes the peer takes on all streams beyond those that were sent."""

    # -- what is under way ---------------------------------------------------------------------------

    def written(self, stream_id: int) -> int:
        """How many bytes were ever handed on on a stream."""

    def unsent(self, stream_id: int) -> int:
        """Bytes of a stream that were handed on and never sent."""

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes of a stream that were handed on and not acknowledged, sent or not."""

    def total_unacknowledged(self) -> int:
        """The same of all streams."""

    def acknowledged(self, stream_id: int) -> int:
        """Up to where the peer has acknowledged a stream; :data:`UNLIMITED` if it is over."""

    def in_flight(self) -> int:
        """Bytes of packets that were sent and are neither acknowledged nor lost."""

    def waiting_for(self) -> dict[int, int]:
        """The streams that have received bytes beyond a gap, and the offset at which the gap begins."""

    def unacknowledged_from(self) -> dict[int, int]:
        """The streams that have sent what is not acknowledged, and the offset of the first of it."""

    def stream_bytes_received(self) -> int:
        """How many bytes of the streams there are have come in order: another number where more have."""

    def stream_bytes_acknowledged(self) -> int:
        """How many bytes of the streams there are were acknowledged: another number where more were."""

    # -- life and time ---------------------------------------------------------------------------------

    def packets_received(self) -> int:
        """A number that grows with every packet of the established connection that brings news."""

    def packets_sent(self) -> int:
        """How many packets were ever sent."""

    def send_ping(self, uid: int) -> None:
        """Ask the peer for an acknowledgement."""

    def acknowledge_now(self, now: float) -> None:
        """Send an acknowledgement that is due later with the next packet."""

    def quickest_round_trip(self) -> float:
        """The shortest round-trip time of late, at least a millisecond; infinite if there was none yet."""

    def probe_timeout(self) -> float:
        """After how long a packet that is not acknowledged is asked after (RFC 9002, section 6.2.1)."""

    def rounds(self) -> tuple[int, float, int]:
        """How many round trips of data there were, the shortest round-trip time of the last one, and the
        congestion window."""

    # -- paths and the size of datagrams -------------------------------------------------------------

    @property
    def host_cid(self) -> bytes:
        """The connection id of this side that the peer uses."""

    def reset_tokens(self) -> list[bytes]:
        """The tokens by which a peer that has lost the connection shows that (RFC 9000, section 10.3.1)."""

    def change_connection_id(self) -> None:
        """Send to another connection id of the peer's from now on."""

    def get_peer_address(self) -> SocketAddress | None:
        """Where datagrams are sent to; None before that is known. The same object while it is the same."""

    def path_is_valid(self) -> bool:
        """Whether the peer is known to be at that address (RFC 9000, section 8)."""

    def unvalidated_credit(self) -> int | None:
        """The bytes that may still be sent to that address while it is not validated; None if it is."""

    def longest_datagram(self) -> int:
        """The longest datagram that this side is ready to build."""

    def datagram_size(self) -> int:
        """The length up to which datagrams are built now."""

    def set_datagram_size(self, size: int) -> None:
        """Build datagrams of up to ``size`` bytes from now on."""

    def make_probe(self, size: int, now: float, tell: Callable[[bool], None]) -> Datagram:
        """A datagram of ``size`` bytes with nothing to say, which counts as sent; ``tell`` is called when it
        is acknowledged (True) or lost (False). It takes nothing of the congestion window (RFC 9000, section
        14.4)."""

    def forget_probe(self) -> None:
        """The probe that was just made was not sent."""

    def watch(self, count: int, tell: Callable[[bool], None]) -> bool:
        """Have ``tell`` called when the first of the ``count`` datagrams just built is acknowledged (True) or
        lost (False); whether there is anything in it to acknowledge."""

    def watch_long_packets(self, size: int, after: int, tell: Callable[[int], None]) -> tuple[int, int]:
        """Have ``tell`` called with its size when one of the packets from number ``after`` on is acknowledged
        that have more than ``size`` bytes and are in flight. How many there are, and the size of the
        longest."""

    # -- TLS, and what the peer has said of itself ---------------------------------------------------

    def peer_certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificate the peer has shown, and those that came with it; empty if it showed none."""

    def why_not_named(self, host: str) -> str | None:
        """Why the certificate that a dialling peer has shown does not name ``host``; None if it does, or if
        none was shown or asked for."""

    def is_resumed(self) -> bool:
        """Whether the session is a resumed one."""

    def can_send_early_data(self) -> bool:
        """Whether what is written now goes as early data."""

    def early_data_refused(self, now: float) -> None:
        """Have the early data sent again at once."""

    def peer_is_quicdist(self) -> bool:
        """Whether the peer has said that it is quicdist; False while nothing is known of it."""

    def peer_says(self, parameter: int) -> bool:
        """Whether the peer has sent a transport parameter
        (:mod:`quicdist.carrier.quic.engine.own_parameters`)."""

    def peer_max_datagram(self) -> int:
        """The longest datagram that the peer takes (RFC 9000, section 18.2)."""


class Ticket(Protocol):
    """A session ticket (RFC 8446, section 4.6.1), with what it takes to resume the session."""

    @property
    def identity(self) -> bytes:
        """The ticket itself, as it is shown."""

    @property
    def is_valid(self) -> bool:
        """Whether it has not expired."""

    @property
    def not_valid_after(self) -> datetime.datetime:
        """When it expires."""

    @property
    def takes_early_data(self) -> bool:
        """Whether its issuer has said that it takes early data for what they are."""

    def without_early_data(self) -> Ticket:
        """The same, to resume with and not to send early data."""

    def bounded(self, *ends: datetime.datetime) -> Ticket:
        """The same, valid no longer than any of ``ends``, nor than seven days."""


class TicketTable(Protocol):
    """Where a listener keeps the tickets that it has issued."""

    def put(self, key: bytes, ticket: Ticket) -> None:
        """Keep a ticket."""

    def take(self, key: bytes) -> Ticket | None:
        """The ticket for ``key``, which is then no longer there; None if there is none, or it has expired."""


class StatelessPackets(Protocol):
    """The packets that a listener sends without a connection, in answer to one with ``header``."""

    def connection_refused(self, header: LongHeader, reason: str) -> bytes:
        """CONNECTION_CLOSE: no connection is wanted."""

    def invalid_token(self, header: LongHeader) -> bytes:
        """CONNECTION_CLOSE: the token is one of ours, and not good any more (RFC 9000, section 8.1.3)."""

    def retry(self, header: LongHeader, retry_id: bytes, token: bytes) -> bytes:
        """Retry: the client is to begin anew, with ``token`` and to the connection id ``retry_id``."""

    def version_negotiation(self, header: LongHeader) -> bytes:
        """Version Negotiation (RFC 9000, section 17.2.1)."""


class Acceptor(Protocol):
    """Makes the connections of one listener."""

    @property
    def id_length(self) -> int:
        """The length of this side's connection ids."""

    @property
    def versions(self) -> Sequence[int]:
        """The versions of QUIC that are taken."""

    @property
    def packets(self) -> StatelessPackets:
        """What is sent without a connection."""

    def accept(self, original_id: bytes, retry_id: bytes | None) -> Engine:
        """A connection for a client whose very first packet went to ``original_id``; ``retry_id`` is that of
        our Retry, if there was one."""


class EngineFactory(Protocol):
    """Makes connections."""

    def dial(
        self, settings: EngineSettings, *, ticket: Ticket | None, on_ticket: Callable[[Ticket], None] | None
    ) -> Engine:
        """A connection to dial with. ``ticket`` is shown; ``on_ticket`` is told of those that the peer
        issues."""

    def listen(
        self,
        settings: EngineSettings,
        *,
        reset_token: Callable[[bytes], bytes],
        issued: TicketTable | None,
    ) -> Acceptor:
        """What makes the connections of a listener. ``reset_token`` makes the stateless reset token of a
        connection id. ``issued`` keeps the tickets given out; with None there are none."""
