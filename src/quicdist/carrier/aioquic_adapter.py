"""The only place that touches what aioquic does not show: each function with its reason.

aioquic's sans-I/O connection tells an application what arrives, but not how full its own buffers
are, nor at once that the peer is gone. Its TLS asks for a client's certificate in tests only, and
knows PSKs as session tickets only. ``tests/carrier/test_aioquic_adapter.py`` fails where a new
aioquic changes what stands here.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch
from cryptography import x509

from quicdist.carrier.parameters import EARLY_DATA, JOINED_MESSAGES, encoded
from quicdist.carrier.psk import ExternalPsk
from quicdist.carrier.verification import ClientTrust, check_server_use

#: QUIC's transport error codes for TLS alerts start here (RFC 9001, section 4.8).
CRYPTO_ERROR: Final = 0x100


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a connection ends: the content of its CONNECTION_CLOSE, or what stands in its place.

    ``by_peer``: the peer sent it; otherwise aioquic decided so itself. ``is_application``: the
    code is the application's, not QUIC's.
    """

    code: int
    reason: str
    by_peer: bool = False
    is_application: bool = False
    #: The network says that nobody is there: not aioquic's word but the kernel's.
    unreachable: bool = False

    @property
    def tls_alert(self) -> int | None:
        """The TLS alert in a transport error code (RFC 8446, section 6.2), or None."""
        if not self.is_application and CRYPTO_ERROR <= self.code < CRYPTO_ERROR + 256:
            return self.code - CRYPTO_ERROR
        return None

    def __str__(self) -> str:
        kind = "application" if self.is_application else "QUIC"
        reason = f" ({self.reason})" if self.reason else ""
        if self.code:
            return f"{kind} error 0x{self.code:x}{reason}"
        return self.reason or "no error"


def closing(quic: QuicConnection) -> Closing | None:
    """Why the connection is ending, or None while it is not.

    aioquic's event ConnectionTerminated comes only after the draining period of three probe
    timeouts (RFC 9000, section 10.2), too late for a node that wants to know at once.
    """
    event = quic._close_event
    if event is None:
        return None
    return Closing(
        event.error_code,
        event.reason_phrase,
        by_peer=quic._state is QuicConnectionState.DRAINING,
        is_application=event.frame_type is None,
    )


def is_fresh(quic: QuicConnection) -> bool:
    """Whether no packet has been understood yet: a listener forgets such a connection, which
    aioquic has no way to tell from one in its handshake."""
    return quic._state is QuicConnectionState.FIRSTFLIGHT


def packets_received(quic: QuicConnection) -> int:
    """A number that grows with every authenticated packet of the established connection that
    brings news. Any such packet is a sign of life, even one that holds nothing for the application,
    of which aioquic has no event."""
    space = quic._spaces.get(Epoch.ONE_RTT)
    return space.largest_received_packet + 1 if space is not None else 0


def unsent(quic: QuicConnection, stream_id: int) -> int:
    """Bytes of a stream that were never sent. aioquic buffers without bound and does not tell."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop - stream.sender.highest_offset if stream is not None else 0


def unacknowledged(quic: QuicConnection, stream_id: int) -> int:
    """Bytes of a stream that the peer has not acknowledged, sent or not."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop - stream.sender._buffer_start if stream is not None else 0


def total_unacknowledged(quic: QuicConnection) -> int:
    """Bytes of all streams that the peer has not acknowledged."""
    return sum(stream.sender._buffer_stop - stream.sender._buffer_start for stream in quic._streams.values())


# -- streams: windows and what is under way ------------------------------------------------------


#: An offset beyond all that a stream can have.
UNLIMITED: Final = 1 << 62


class _GrantedStream(QuicStream):
    """A stream whose peer may send as much as it was granted: aioquic's own way is to double the
    limit whenever half of it has arrived, read or not."""

    granted: int

    @property
    def max_stream_data_local(self) -> int:
        return self.granted

    @max_stream_data_local.setter
    def max_stream_data_local(self, value: int) -> None:
        pass


def keep_window(quic: QuicConnection, stream_id: int, window: int) -> int:
    """From now on the peer may send on a stream what :func:`grant` says, to begin with ``window``
    bytes, or what was promised already; the limit."""
    stream = quic._streams[stream_id]
    granted = max(window, stream.max_stream_data_local)
    stream.__class__ = _GrantedStream
    stream.granted = granted  # type: ignore[attr-defined]
    return granted


def grant(quic: QuicConnection, stream_id: int, limit: int) -> None:
    """Let the peer send a stream of :func:`keep_window` up to the offset ``limit``."""
    stream = quic._streams.get(stream_id)
    if isinstance(stream, _GrantedStream):
        stream.granted = max(limit, stream.granted)


def stream_exists(quic: QuicConnection, stream_id: int) -> bool:
    """Whether aioquic still has the stream: it drops one whose both ends are over, and raises for
    whatever is done to it afterwards."""
    return stream_id in quic._streams


def stop_receiving(quic: QuicConnection, stream_id: int) -> None:
    """Take nothing more of a stream: its receiving part is over, whether the peer says so or not.
    quic_dist answers STOP_SENDING with nothing, and the stream would be kept for good. What the
    peer may still send of it is made good to the connection's window."""
    stream = quic._streams.get(stream_id)
    if stream is not None and not stream.receiver.is_finished:
        stream.receiver.is_finished = True
        quic._local_max_data.value += max(0, stream.max_stream_data_local - stream.receiver.highest_offset)


def streams_allowed(quic: QuicConnection) -> int:
    """How many bidirectional streams the peer lets us open in all. aioquic lets one open more, and
    then holds back their data without saying so."""
    return quic._remote_max_streams_bidi


def stream_credit(quic: QuicConnection, stream_id: int) -> int:
    """How many bytes the peer takes on a stream beyond those aioquic has been given."""
    stream = quic._streams[stream_id]
    if stream.is_blocked:
        return 0
    return stream.max_stream_data_remote - stream.sender._buffer_stop


def connection_credit(quic: QuicConnection) -> int:
    """How many bytes the peer takes on all streams beyond those that were sent."""
    return quic._remote_max_data - quic._remote_max_data_used


def written(quic: QuicConnection, stream_id: int) -> int:
    """How many bytes aioquic was ever given for a stream."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop if stream is not None else 0


def acknowledged(quic: QuicConnection, stream_id: int) -> int:
    """Up to where the peer has acknowledged a stream; all of it, if it is over."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_start if stream is not None else UNLIMITED


def is_writable(quic: QuicConnection, stream_id: int) -> bool:
    """Whether a stream takes data: aioquic raises for one that was reset, by STOP_SENDING too."""
    stream = quic._streams.get(stream_id)
    return stream is not None and stream.sender._reset_error_code is None


def quickest_round_trip(quic: QuicConnection) -> float:
    """The shortest round-trip time seen, in seconds; aioquic counts none as less than a millisecond."""
    return quic._loss._rtt_min


def in_flight(quic: QuicConnection) -> int:
    """Bytes sent and neither acknowledged nor lost."""
    return quic._loss.bytes_in_flight


def limit_datagram_size(quic: QuicConnection, size: int) -> bool:
    """Build no datagrams longer than ``size`` from now on; whether that is a change. The
    configuration's size is read only once, and the path may turn out narrower (EMSGSIZE)."""
    if quic._max_datagram_size <= size:
        return False
    quic._max_datagram_size = size
    return True


# -- TLS: certificates of clients, and pre-shared keys -----------------------------------------


@dataclass
class Configuration(QuicConfiguration):
    """aioquic's configuration, with what cannot be said in it. Sessions are not resumed where
    ``clients`` is set: a ticket says nothing of whose certificate was shown for it."""

    #: Dialling: a certificate has to be one for servers.
    check_use: bool = False
    #: Dialling: the PSK to show; a peer that does not take it is refused.
    external_psk: ExternalPsk | None = None
    #: Listening: ask for certificates, and believe these.
    clients: ClientTrust | None = None
    #: Listening: the secret of a PSK identity, or None.
    find_psk: Callable[[bytes], bytes | None] | None = None
    #: Listening: there is no certificate to show to those without a PSK.
    psk_only: bool = False


class Connection(QuicConnection):
    """A connection that heeds all of a :class:`Configuration`."""

    def _initialize(self, peer_cid: bytes) -> None:
        # Here aioquic makes its TLS context, anew for each version of QUIC tried, and it asks nobody
        # which class to make it of.
        super()._initialize(peer_cid)
        if isinstance(self.configuration, Configuration):
            self.tls.__class__ = TlsContext
            assert isinstance(self.tls, TlsContext)
            self.tls.heed(self.configuration)

    def _serialize_transport_parameters(self) -> bytes:
        # There is no public way to add one.
        parameters = super()._serialize_transport_parameters()
        if self._is_client:
            return parameters + encoded(JOINED_MESSAGES)
        return parameters if self._session_ticket_handler is None else parameters + encoded(EARLY_DATA)


def can_send_early_data(quic: QuicConnection) -> bool:
    """Whether what is written now goes as early data: the ticket shown allows it."""
    return quic._cryptos[Epoch.ZERO_RTT].send.is_valid()


def early_data_refused(quic: QuicConnection, now: float) -> None:
    """Have the early data sent again at once. aioquic takes their packets for ones that may still be
    acknowledged, and waits for a probe timeout before it sends them again."""
    space = quic._spaces[Epoch.ONE_RTT]
    refused = [sent for sent in space.sent_packets.values() if sent.packet_type is QuicPacketType.ZERO_RTT]
    quic._loss._on_packets_lost(congestion_event=False, now=now, packets=refused, space=space)


def is_resumed(quic: QuicConnection) -> bool:
    """Whether the session is a resumed one. aioquic's event says so, but only after the ticket for
    the next one may have come."""
    return quic.tls.session_resumed


def peer_certificates(quic: QuicConnection) -> tuple[x509.Certificate, ...]:
    """The certificate the peer has shown and those that came with it; empty if it showed none (a
    client that was not asked, a PSK, a resumed session). aioquic keeps them to itself."""
    context = quic.tls
    certificate = context._peer_certificate
    return () if certificate is None else (certificate, *context._peer_certificate_chain)


#: PSKs without a hash are for SHA-256 (RFC 8446, section 4.2.11). This is the suite of it that TLS
#: must have, and the only one quic_dist offers with a PSK.
PSK_CIPHER_SUITE: Final = tls.CipherSuite.AES_128_GCM_SHA256


class UnknownPskIdentity(tls.Alert):
    """No PSK that can be used was shown, or taken."""

    description = tls.AlertDescription.unknown_psk_identity


class _Ticket(tls.SessionTicket):
    """An external PSK in the clothes of a session ticket, the one kind of PSK that aioquic knows."""

    @classmethod
    def of(cls, identity: bytes, secret: bytes) -> _Ticket:
        now = datetime.datetime.now(datetime.UTC)
        return cls(
            age_add=0,
            cipher_suite=PSK_CIPHER_SUITE,
            not_valid_after=now,
            not_valid_before=now,
            resumption_secret=secret,
            server_name="",
            ticket=identity,
        )

    @property
    def is_valid(self) -> bool:
        return True

    @property
    def obfuscated_age(self) -> int:
        return 0  # RFC 8446, section 4.2.11


class _ExternalKeySchedule(tls.KeySchedule):
    """The key schedule of an external PSK: all that differs is a label (RFC 8446, section 7.1)."""

    def derive_secret(self, label: bytes) -> bytes:
        return super().derive_secret(b"ext binder" if label == b"res binder" else label)


class TlsContext(tls.Context):
    """aioquic's TLS, with checked certificates of clients and with external PSKs."""

    _settings: Configuration
    #: The PSK in play is an external one.
    _external = False
    _tickets: tls.SessionTicketFetcher | None = None

    def heed(self, settings: Configuration) -> None:
        self._settings = settings
        if self._is_client:
            if settings.external_psk is not None:
                psk = settings.external_psk
                self._external = True
                self.session_ticket = _Ticket.of(psk.identity, psk.secret)
            return
        # "For test purposes only": with it aioquic asks, and checks that the client has the key.
        self._request_client_certificate = settings.clients is not None
        self._tickets = None if settings.clients is not None else self.get_session_ticket_cb
        self.get_session_ticket_cb = self._find_ticket

    def __setattr__(self, name: str, value: Any) -> None:
        # aioquic makes its key schedules where they are needed, by name of the class.
        if type(value) is tls.KeySchedule and self._external:
            value = _ExternalKeySchedule(value.cipher_suite)
        super().__setattr__(name, value)

    # -- a client ----------------------------------------------------------------------------

    def _client_handle_hello(self, input_buf: Buffer, output_buf: Buffer) -> None:
        super()._client_handle_hello(input_buf, output_buf)
        if self._external and not self._session_resumed:
            # To go on would be to believe a certificate where a secret was asked for.
            raise UnknownPskIdentity("it goes on without it")

    def _client_handle_certificate_verify(self, input_buf: Buffer) -> None:
        super()._client_handle_certificate_verify(input_buf)
        if self._settings.check_use and self._peer_certificate is not None:
            check_server_use(self._peer_certificate)

    # -- a server ----------------------------------------------------------------------------

    def _find_ticket(self, identity: bytes) -> tls.SessionTicket | None:
        find = self._settings.find_psk
        secret = None if find is None else find(identity)
        if secret is not None:
            self._external = True
            return _Ticket.of(identity, secret)
        return None if self._tickets is None else self._tickets(identity)

    def _server_handle_hello(self, input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
        try:
            super()._server_handle_hello(input_buf, initial_buf, handshake_buf)
        except tls.AlertHandshakeFailure as failure:
            if self._external and not self._session_resumed:
                raise tls.AlertDecryptError("another secret than the one known here") from failure
            raise
        if self._session_resumed:
            if self._request_client_certificate:
                # With a PSK no certificate was asked for, but aioquic would wait for one.
                self._server_expect_finished()
        elif self._settings.psk_only:
            # What was written to the buffers is not sent.
            raise UnknownPskIdentity("a pre-shared key that is known here is required")

    def _server_handle_certificate(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate(input_buf)
        if self._peer_certificate is None:
            self._check_client()

    def _server_handle_certificate_verify(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate_verify(input_buf)
        self._check_client()

    def _check_client(self) -> None:
        if self._settings.clients is not None:
            self._settings.clients.check(self._peer_certificate, self._peer_certificate_chain)
