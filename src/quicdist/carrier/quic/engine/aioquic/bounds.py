"""Limits for the memory and time that a peer can cost.

Until the peer is authenticated, the limits are small (:class:`Bounds`). They are enforced and not advertised:
quic_dist opens its streams and sends on them as soon as its own handshake is over, and does not send later
what a limit held back. A packet that exceeds them counts as lost, and its data come again when the link is
up. A peer that keeps exceeding them is closed.

Afterwards the memory of data out of order stays bounded, and each frame takes time linear in its bytes.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, NamedTuple

from aioquic import tls
from aioquic.buffer import (  # type: ignore[attr-defined]  # it is where the examples import it
    Buffer,
    BufferReadError,
)
from aioquic.quic.connection import QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import (
    NON_ACK_ELICITING_FRAME_TYPES,
    PROBING_FRAME_TYPES,
    QuicErrorCode,
    QuicFrameType,
)
from aioquic.quic.stream import StreamFinishedError
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.connection_ids import OwnConnectionIds
from quicdist.carrier.quic.engine.aioquic.ranges import Ranges
from quicdist.carrier.quic.engine.aioquic.reassembly import PacketDropped
from quicdist.carrier.quic.engine.aioquic.streams import OwnStreams, stream_frame_end
from quicdist.carrier.quic.engine.wire import frames as wire
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")


class Bounds(NamedTuple):
    """Limits of a connection whose peer is not authenticated."""

    #: Frames, PADDING excepted. A handshake takes a few dozen.
    frames: int = 4096
    #: Bytes on all streams: a few hundred of the handshake, those of an ``auth_callback`` (64 KiB), and those
    #: of a peer whose handshake is complete before ours.
    stream_bytes: int = 256 * 1024
    #: Open streams of the peer: quic_dist has one for control and 16 for messages.
    streams: int = 20
    #: The number of the highest stream, bidirectional and unidirectional.
    bidirectional: int = 32
    unidirectional: int = 2
    #: Packets that may exceed these limits, and count as lost, before the connection is closed.
    dropped_packets: int = 2048


BOUNDS: Final = Bounds()

#: The number of ACK frames of one packet that are processed. No known peer sends a second one.
_MAX_ACKS: Final = 8

_padding = re.compile(rb"\0*")


class _Buffers(dict[Epoch, Buffer]):
    """The buffers that TLS writes its messages to, each made on first use."""

    SIZE: Final = 16 * 1024

    def __missing__(self, epoch: Epoch) -> Buffer:
        buffer = self[epoch] = Buffer(capacity=self.SIZE)
        return buffer


class Bounded(OwnConnectionIds, OwnStreams):
    """A connection with the limits ``bounds`` until its peer is authenticated. Tests may replace them."""

    #: The peer is authenticated.
    is_authenticated = False
    bounds = BOUNDS

    #: By frame type: the name of aioquic's handler, and the epochs in which the frame may come.
    _handlers: ClassVar[dict[int, tuple[str, frozenset[Epoch]]]] = {}

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # aioquic keeps bound methods here, so each connection would be a reference cycle. It offers no other
        # way to them, hence the mangled name: the table is read once and emptied in each connection.
        handlers = self._QuicConnection__frame_handlers
        if not Bounded._handlers:
            Bounded._handlers = {
                kind: (handler.__name__, epochs) for kind, (handler, epochs) in handlers.items()
            }
        self._QuicConnection__frame_handlers: dict[int, Any] = {}
        self._frames = self._dropped_packets = 0

    def authenticated(self) -> None:
        """The peer is authenticated: these limits no longer apply."""
        self.is_authenticated = True
        super().authenticated()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        for space in self._spaces.values():
            space.ack_queue = Ranges()
        # aioquic's take 48 KiB of every connection, until its end.
        self._crypto_buffers = _Buffers()

    def _push_crypto_data(self) -> None:
        super()._push_crypto_data()
        self._crypto_buffers.clear()

    # -- packets -------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        try:
            super().receive_datagram(data, addr, now)
        except PacketDropped as error:
            self._packet_dropped(error)
        except Exception as error:
            # An error in aioquic, caused by what the peer sent: it costs the peer its connection.
            log.debug("cannot process a datagram", exc_info=error)
            text = f"cannot process a datagram: {type(error).__name__}"
            self._logger.warning(text)
            self.close(QuicErrorCode.INTERNAL_ERROR, QuicFrameType.PADDING, text)

    def _packet_dropped(self, error: PacketDropped) -> None:
        """A packet counts as lost: aioquic records a packet as received after the last of its frames."""
        self._logger.debug("Packet dropped: %s", error)
        self._dropped_packets += 1
        if not self.is_authenticated and self._dropped_packets > self.bounds.dropped_packets:
            self.close(
                QuicErrorCode.INTERNAL_ERROR, QuicFrameType.PADDING, f"too much before the handshake: {error}"
            )

    def _payload_received(
        self, context: QuicReceiveContext, plain: bytes, crypto_frame_required: bool = False
    ) -> tuple[bool, bool]:
        # The same loop as aioquic's, which reads the rest of a packet for each PADDING frame, and does not
        # catch what a handler raises.
        buf = Buffer(data=plain)
        epoch, size = context.epoch, len(plain)
        is_ack_eliciting, is_probing = False, True
        crypto_frame_found = False
        acks = 0
        at = 0
        while at < size:
            kind = plain[at]
            if kind == wire.PADDING and self._quic_logger is None:
                at = _padding.match(plain, at).end()  # type: ignore[union-attr]  # it matches anything
                continue
            try:
                kind, at = wire.read_uint(plain, at)
            except IndexError:
                raise QuicConnectionError(
                    QuicErrorCode.FRAME_ENCODING_ERROR, QuicFrameType.PADDING, "Malformed frame type"
                ) from None
            try:
                name, epochs = self._handlers[kind]
            except KeyError:
                raise QuicConnectionError(
                    QuicErrorCode.FRAME_ENCODING_ERROR, kind, "Unknown frame type"
                ) from None
            if epoch not in epochs:
                raise QuicConnectionError(QuicErrorCode.PROTOCOL_VIOLATION, kind, "Unexpected frame type")
            if not self.is_authenticated:
                self._count_frame(kind)
            if kind in (QuicFrameType.ACK, QuicFrameType.ACK_ECN):
                acks += 1
                at = self._receive_ack(context, kind, plain, at, ignore=acks > _MAX_ACKS)
            elif kind != QuicFrameType.PING or self._quic_logger is not None:
                buf.seek(at)
                self._handle_frame(name, context, kind, buf)
                at = buf.tell()
            if kind == QuicFrameType.CRYPTO:
                crypto_frame_found = True
            is_ack_eliciting |= kind not in NON_ACK_ELICITING_FRAME_TYPES
            is_probing &= kind in PROBING_FRAME_TYPES
        if not size:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.PADDING, "Packet contains no frames"
            )
        if crypto_frame_required and not crypto_frame_found:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.PADDING, "Packet contains no CRYPTO frame"
            )
        return is_ack_eliciting, is_probing

    def _count_frame(self, kind: int) -> None:
        self._frames += 1
        if self._frames > self.bounds.frames:
            raise QuicConnectionError(
                QuicErrorCode.INTERNAL_ERROR,
                kind,
                f"more than {self.bounds.frames} frames before the handshake was over",
            )

    def _handle_frame(self, name: str, context: QuicReceiveContext, kind: int, buf: Buffer) -> None:
        try:
            getattr(self, name)(context, kind, buf)
        except BufferReadError:
            raise QuicConnectionError(
                QuicErrorCode.FRAME_ENCODING_ERROR, kind, "Failed to parse frame"
            ) from None
        except StreamFinishedError:
            pass  # The stream is over.
        except (QuicConnectionError, PacketDropped):
            raise
        except Exception as error:
            raise self._fault(kind, error) from error

    def _fault(self, kind: int, error: Exception) -> QuicConnectionError:
        """The error that closes the connection when aioquic or TLS raise for what the peer sent."""
        what = "TLS message" if kind == QuicFrameType.CRYPTO else f"frame of type 0x{kind:x}"
        log.debug("cannot process a %s", what, exc_info=error)
        code: int = QuicErrorCode.PROTOCOL_VIOLATION
        if kind == QuicFrameType.CRYPTO:
            code = QuicErrorCode.CRYPTO_ERROR + tls.AlertDescription.internal_error
        return QuicConnectionError(code, kind, f"cannot process a {what}: {type(error).__name__}")

    # -- acknowledgements ----------------------------------------------------------------------

    def _receive_ack(
        self, context: QuicReceiveContext, kind: int, plain: bytes, at: int, *, ignore: bool
    ) -> int:
        """Process an ACK frame; where it ends."""
        try:
            ranges, delay, at = wire.read_ack(plain, at)
            if kind == QuicFrameType.ACK_ECN:
                for _ in range(3):
                    _, at = wire.read_uint(plain, at)
        except IndexError:
            raise QuicConnectionError(
                QuicErrorCode.FRAME_ENCODING_ERROR, kind, "Failed to parse frame"
            ) from None
        if not self._loss.peer_completed_address_validation and context.epoch in (
            Epoch.HANDSHAKE,
            Epoch.ONE_RTT,
        ):
            self._loss.peer_completed_address_validation = True
        if not ignore:
            self._loss.on_ack_received(
                ack_rangeset=ranges,  # type: ignore[arg-type]  # OwnRecovery takes any sequence of ranges
                ack_delay=(delay << self._remote_ack_delay_exponent) / 1_000_000,
                now=context.time,
                space=self._spaces[context.epoch],
            )
        return at

    # -- streams -------------------------------------------------------------------------------

    def _admit_stream(self, stream_id: int) -> None:
        if self.is_authenticated:
            return
        bounds = self.bounds
        highest = bounds.unidirectional if stream_id & 2 else bounds.bidirectional
        if stream_id >> 2 >= highest:
            raise PacketDropped(f"stream {stream_id} before the handshake was over")
        peers = sum(1 for other in self._streams if other & 1 == self._is_client)
        if peers >= bounds.streams:
            raise PacketDropped(f"more than {peers} streams before the handshake was over")

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        if not self.is_authenticated:
            stream_id, end = stream_frame_end(buf, frame_type)
            stream = self._streams.get(stream_id)
            # Data that fill a gap are still taken.
            new = end - (0 if stream is None else stream.receiver.highest_offset)
            if new > 0 and self._local_max_data.used >= self.bounds.stream_bytes:
                text = f"more than {self.bounds.stream_bytes} bytes before the handshake was over"
                if self._is_client:
                    # The handshake of the dialled side may be complete, and it may have much to send.
                    raise PacketDropped(text)
                raise QuicConnectionError(QuicErrorCode.INTERNAL_ERROR, frame_type, text)
        super()._handle_stream_frame(context, frame_type, buf)
