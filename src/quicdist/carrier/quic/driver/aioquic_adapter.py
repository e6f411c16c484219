"""The only place that touches what aioquic does not show: each function with its reason.

aioquic's sans-I/O connection tells an application what arrives, but not how full its own buffers
are, nor at once that the peer is gone. Its TLS asks for a client's certificate in tests only, and
knows PSKs as session tickets only. ``tests/carrier/test_aioquic_adapter.py`` fails where a new
aioquic changes what stands here.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import K_MINIMUM_WINDOW
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.connection import (
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.quic.packet import QuicFrameType, QuicPacketType, QuicStreamFrame, decode_packet_number
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder, QuicSentPacket
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec

from quicdist.carrier.quic.driver import wire
from quicdist.carrier.quic.driver.aioquic_early_packets import KeepsEarlyPackets
from quicdist.carrier.quic.driver.aioquic_overrun import Tolerant
from quicdist.carrier.quic.driver.aioquic_path_checks import CheckingPaths
from quicdist.carrier.quic.driver.aioquic_recovery import Recovering
from quicdist.carrier.quic.driver.aioquic_retransmission import PacketRoom, retransmit
from quicdist.carrier.quic.driver.aioquic_silence_probes import ProbesSilence
from quicdist.carrier.quic.driver.bounds import Bounded
from quicdist.carrier.quic.driver.key_limits import KeyLimited, Keys, Pair
from quicdist.carrier.quic.driver.parameters import (
    EARLY_DATA,
    JOINED_MESSAGES,
    LONG_DATAGRAMS,
    PACED,
    encoded,
)
from quicdist.carrier.quic.driver.path_mtu import BASE_SIZE
from quicdist.carrier.quic.driver.reassembly import NotTaken, Receiver
from quicdist.carrier.security.psk import ExternalPsk
from quicdist.carrier.security.verification import (
    ClientTrust,
    check_keys,
    check_server_use,
    check_size,
    refused_by_alert,
)
from quicdist.carrier.udp import Datagram
from quicdist.logs import CleanLogger

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


def authenticated(quic: QuicConnection) -> None:
    """The peer has been authenticated: its bounds are those of a link from now on."""
    if isinstance(quic, Connection):
        quic.authenticated()


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


def acknowledge_now(quic: QuicConnection, now: float) -> None:
    """Send an acknowledgement that is due later with the next packet: aioquic waits for more to
    acknowledge with it, or for something to send it with."""
    space = quic._spaces.get(Epoch.ONE_RTT)
    if space is not None and space.ack_at is not None:
        space.ack_at = min(space.ack_at, now)


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


# -- events ---------------------------------------------------------------------------------------


def take_events(quic: QuicConnection) -> list[QuicEvent]:
    """All events that wait. aioquic gives one at a time, and another thread could come between."""
    waiting = quic._events
    taken = list(waiting)
    waiting.clear()
    return taken


def events_waiting(quic: QuicConnection) -> int:
    """How many events wait to be taken."""
    return len(quic._events)


def join_events(quic: QuicConnection, start: int) -> None:
    """Join neighbouring pieces of one stream among the events that wait, from the one at ``start`` on: where
    nobody takes them for long, small pieces are to cost little more than their bytes."""
    waiting = quic._events
    fresh = [waiting.pop() for _ in range(len(waiting) - start)]
    run: list[StreamDataReceived] = []
    for event in reversed(fresh):
        if type(event) is StreamDataReceived and (not run or event.stream_id == run[-1].stream_id):
            run.append(event)
            continue
        _append_joined(waiting, run)
        run = []
        if type(event) is StreamDataReceived:
            run.append(event)
        else:
            waiting.append(event)
    _append_joined(waiting, run)


def _append_joined(waiting: deque[QuicEvent], run: list[StreamDataReceived]) -> None:
    if len(run) > 1:
        data = b"".join([event.data for event in run])
        last = run[-1]
        waiting.append(StreamDataReceived(data=data, end_stream=last.end_stream, stream_id=last.stream_id))
    else:
        waiting.extend(run)


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
    stream = quic._streams.get(stream_id)
    if stream is None:
        return window  # It is over already.
    granted = max(window, stream.max_stream_data_local)
    # In this order: another thread may look at the stream meanwhile.
    stream.granted = granted  # type: ignore[attr-defined]
    stream.__class__ = _GrantedStream
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
        if isinstance(stream.receiver, Receiver):
            stream.receiver.forget()
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
    """The shortest round-trip time of late, in seconds. None counts as less than a millisecond: event loops
    sleep no shorter."""
    return max(quic._loss._rtt_min, 0.001)


def in_flight(quic: QuicConnection) -> int:
    """Bytes sent and neither acknowledged nor lost."""
    return quic._loss.bytes_in_flight


# -- the size of datagrams ----------------------------------------------------------------------


def datagram_size(quic: QuicConnection) -> int:
    """The length up to which datagrams are built."""
    return quic._max_datagram_size


def set_datagram_size(quic: QuicConnection, size: int) -> None:
    """Build datagrams of up to ``size`` bytes from now on. aioquic reads the configuration's size only
    once, and its congestion control and its pacer keep it. The window is at least what RFC 9002
    (section 7.2) calls the minimum: a loss would raise it to that otherwise."""
    quic._max_datagram_size = size
    congestion = quic._loss._cc
    congestion._max_datagram_size = size  # type: ignore[attr-defined]  # either class of aioquic's has it
    if isinstance(congestion, CubicCongestionControl):
        congestion.additive_increase_factor = size
    congestion.congestion_window = max(congestion.congestion_window, K_MINIMUM_WINDOW * size)
    pacer = quic._loss._pacer
    pacer._max_datagram_size = size
    if pacer.packet_time is not None:
        pacer.update_rate(
            congestion_window=congestion.congestion_window, smoothed_rtt=quic._loss._rtt_smoothed
        )


def _tell(delivery: QuicDeliveryState, tell: Callable[[bool], None]) -> None:
    tell(delivery is QuicDeliveryState.ACKED)


def _tell_once(delivery: QuicDeliveryState, waiting: list[Callable[[bool], None]]) -> None:
    """A probe that counted as lost may be acknowledged after all, when another one is under way."""
    if waiting:
        waiting.pop()(delivery is QuicDeliveryState.ACKED)


def make_probe(quic: QuicConnection, size: int, now: float, tell: Callable[[bool], None]) -> Datagram:
    """A datagram of ``size`` bytes with a PING and padding in it, sent as far as aioquic is concerned;
    ``tell`` is called when it is acknowledged (True) or lost. aioquic makes none longer than its
    datagrams are. It is none of the congestion window's (RFC 9000, section 14.4)."""
    path = quic._network_paths[0]
    peer_cid = quic._peer_cid.cid
    builder = QuicPacketBuilder(
        host_cid=quic.host_cid,
        is_client=quic._is_client,
        max_datagram_size=size,
        packet_number=quic._packet_number,
        peer_cid=peer_cid,
        quic_logger=quic._quic_logger,
        spin_bit=quic._spin_bit,
        version=quic._version,  # type: ignore[arg-type]  # it is known once the handshake is over
    )
    builder.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
    builder.start_frame(QuicFrameType.PING, handler=_tell_once, handler_args=([tell],))
    builder._datagram_needs_padding = True
    (datagram,) = quic._flush_builder(builder=builder, network_path=path, peer_cid=peer_cid, now=now)
    packet = quic._spaces[Epoch.ONE_RTT].sent_packets[quic._packet_number - 1]
    quic._loss._cc.on_packets_expired(packets=[packet])
    packet.in_flight = False
    return datagram


def forget_probe(quic: QuicConnection) -> None:
    """The probe just made was not sent, and nobody is told what became of it."""
    space = quic._spaces[Epoch.ONE_RTT]
    del space.sent_packets[quic._packet_number - 1]
    space.ack_eliciting_in_flight -= 1


def watch(quic: QuicConnection, count: int, tell: Callable[[bool], None]) -> bool:
    """Have ``tell`` called when the first of the ``count`` datagrams just built is acknowledged (True) or
    lost, of which aioquic has no event; False if there is nothing in it to acknowledge."""
    packet = quic._spaces[Epoch.ONE_RTT].sent_packets.get(quic._packet_number - count)
    if packet is None or not packet.is_ack_eliciting:
        return False
    packet.delivery_handlers.append((_tell, (tell,)))
    return True


def timeouts(quic: QuicConnection) -> int:
    """How many probe timeouts (RFC 9002, section 6.2) there were with nothing acknowledged since."""
    return quic._loss._pto_count


def path_is_valid(quic: QuicConnection) -> bool:
    """Whether the peer is known to be where datagrams are sent to: until it is, one that has changed its
    address is sent no more than a few times what came from there."""
    return quic._network_paths[0].is_validated


# -- the packets of an established connection ----------------------------------------------------


#: The tag at the end of a packet (RFC 9001, section 5.3).
TAG: Final = 16
#: A short header without its connection id, the packet's number in the two bytes aioquic gives it.
SHORT_HEADER: Final = 3
#: Up to where a short header's number begins there is the rest of it; after that a packet has a number of up
#: to four bytes and the sample that protects it (RFC 9001, section 5.4.2).
SHORTEST: Final = 20


#: Seconds at least between acknowledgements of packets that ask for none.
NEWS_INTERVAL: Final = 0.025


class _Direct(KeepsEarlyPackets, Bounded, Tolerant, KeyLimited, CheckingPaths):
    """The ordinary packets of an established connection, taken in and built straight away. aioquic asks
    every open stream about every packet, and takes each apart, or puts it together, in many small steps.

    What is not ordinary is aioquic's, either before anything was changed or for what is left of the packet;
    all private state that stands here is left as aioquic itself would have left it.
    """

    #: Keys of the established connection; None until it is one.
    _keys: Pair | None = None
    _packets: QuicPacketSpace
    _room: PacketRoom
    #: When the last packet came.
    _received_at = -1.0
    #: The largest number that an acknowledgement has told of, and when it did.
    _told, _told_at = -1, 0.0

    # -- in ------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        keys = self._keys
        if keys is None:
            super().receive_datagram(data, addr, now)
            self._look_for_keys()
        elif not self._receive(keys.recv, data, addr, now):
            super().receive_datagram(data, addr, now)

    def authenticated(self) -> None:
        super().authenticated()
        self._look_for_keys()

    def _look_for_keys(self) -> None:
        # Only what is not bounded more closely goes straight. aioquic's log is of every frame. A server drops
        # the keys of early data with the first packet that comes after them.
        if (
            self.is_authenticated
            and self._handshake_confirmed
            and self._quic_logger is None
            and not self._cryptos[Epoch.ZERO_RTT].recv.is_valid()
        ):
            keys = self._cryptos[Epoch.ONE_RTT]
            assert isinstance(keys, Pair)
            self._keys, self._packets = keys, self._spaces[Epoch.ONE_RTT]

    def _receive(self, keys: Keys, data: bytes, addr: Any, now: float) -> bool:
        """Take in a datagram if it is a packet with a short header, by the path in use and with the
        current keys; whether it was."""
        path = self._network_paths[0]
        start = 1 + len(self.host_cid)
        host_cid = data[1:start]
        if (
            len(data) < start + SHORTEST
            or data[0] & 0xC0 != 0x40
            or not self._is_current(host_cid)
            or path.addr != addr
            or not path.is_validated
            or self._state is not QuicConnectionState.CONNECTED
            or self._close_pending
        ):
            return False
        assert keys.hp is not None
        assert keys.aead is not None
        # aioquic copies the whole packet to take the protection off a few bytes (RFC 9001, section 5.4).
        mask = keys.hp._mask(data[start + 4 : start + 20])
        first = data[0] ^ mask[0] & 0x1F
        if first & 0x18 or first >> 2 & 1 != keys.key_phase:
            return False
        size = (first & 3) + 1
        end = start + size
        number = int.from_bytes(data[start:end]) ^ int.from_bytes(mask[1 : 1 + size])
        header = b"%c%b%b" % (first, host_cid, number.to_bytes(size))
        space = self._packets
        number = decode_packet_number(number, 8 * size, space.expected_packet_number)
        try:
            aead = keys.aead
            payload = aead._aead.decrypt((aead._iv ^ number).to_bytes(12), data[end:], header)
        except InvalidTag:
            keys.forgeries += 1  # Not the peer's.
            self._forged(self._cryptos[Epoch.ONE_RTT])
            return True
        if number in space.received_packets:
            return True
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_bit = bool(first & 0x20) is not self._is_client
            self._spin_highest_pn = number
        is_ack_eliciting = False
        try:
            is_ack_eliciting = self._receive_frames(payload, host_cid, now)
        except QuicConnectionError as error:
            self._logger.warning(error)
            self.close(error.error_code, error.frame_type, error.reason_phrase)
        except NotTaken as error:
            self._not_taken(error)
            return True
        if self._close_pending or self._state is not QuicConnectionState.CONNECTED:
            return True
        if now != self._received_at:
            self._received_at = now
            self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        space.received_packets.add(number)
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
            # aioquic looks for its place from the other end.
            ranges = space.ack_queue._RangeSet__ranges  # type: ignore[attr-defined]
            if ranges and ranges[-1].stop == number:
                ranges[-1] = range(ranges[-1].start, number + 1)
            else:
                ranges.append(range(number, number + 1))
        else:
            space.ack_queue.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay
        return True

    def _is_current(self, host_cid: bytes) -> bool:
        """Whether a packet to this connection id changes nothing about which ones are in use."""
        if not self._is_client:
            return host_cid == self.host_cid
        # A client of aioquic does not follow its server to another, and may keep one that was retired.
        return any(host_cid == issued.cid for issued in self._host_cids)

    def _receive_frames(self, payload: bytes, host_cid: bytes, now: float) -> bool:
        """Take in what a packet holds; whether it asks for an acknowledgement."""
        is_ack_eliciting = False
        at, size, acks = 0, len(payload), 0
        try:
            while at < size:
                kind = payload[at]
                if kind & 0xF8 == wire.STREAM:
                    end = self._receive_stream(payload, at, size)
                    if not end:
                        break
                    at = end
                    is_ack_eliciting = True
                elif kind == wire.ACK:
                    start = at
                    ranges, delay, at = wire.read_ack(payload, at + 1)
                    acks += 1
                    if acks > 1:
                        # More than one is aioquic's business, which bounds them.
                        at = start
                        break
                    self._acknowledged(ranges, delay, self._packets, now)
                elif kind == wire.PING:
                    at += 1
                    is_ack_eliciting = True
                elif kind == wire.PADDING and payload.count(0, at) == size - at:
                    return is_ack_eliciting
                else:
                    break
        except IndexError:
            pass  # A frame that is cut short: aioquic finds that for itself.
        if at < size or not size:
            context = QuicReceiveContext(
                epoch=Epoch.ONE_RTT,
                host_cid=host_cid,
                network_path=self._network_paths[0],
                quic_logger_frames=None,
                time=now,
                version=None,
            )
            is_ack_eliciting |= self._payload_received(context, payload[at:])[0]
        return is_ack_eliciting

    def _receive_stream(self, payload: bytes, at: int, size: int) -> int:
        """Take in the STREAM frame at ``at`` if it is an ordinary one; where it ends, or 0."""
        kind = payload[at]
        stream_id = payload[at + 1]
        at += 2
        if stream_id > wire.ONE_BYTE:
            stream_id, at = wire.read_uint(payload, at - 1)
        offset = 0
        if kind & wire.OFFSET:
            offset, at = wire.read_uint(payload, at)
        length = size - at
        if kind & wire.LENGTH:
            length, at = wire.read_uint(payload, at)
        end = at + length
        stream = self._streams.get(stream_id)
        if stream is None or kind & wire.FIN or not length or end > size:
            return 0
        receiver = stream.receiver
        limit = self._local_max_data
        stop = offset + length
        highest = receiver.highest_offset
        new = max(0, stop - highest)
        if (
            receiver.is_finished
            or receiver._final_size is not None
            or stop > stream.max_stream_data_local
            or limit.used + new > limit.value
        ):
            return 0
        if not offset == receiver._buffer_start == highest:
            # Out of order, or here already.
            event = receiver.handle_frame(QuicStreamFrame(data=payload[at:end], fin=False, offset=offset))
            limit.used += new
            if event is not None:
                self._events.append(event)
            return end
        limit.used += new
        receiver._buffer_start = receiver.highest_offset = stop
        self._events.append(StreamDataReceived(data=payload[at:end], end_stream=False, stream_id=stream_id))
        return end

    # -- out -----------------------------------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        keys = self._keys
        if self._packet_number >= self._watch.due:
            self._look_at_keys()
        waiting = None if keys is None else self._waiting(keys)
        if keys is not None and waiting is not None:
            return self._build(keys, waiting, now)
        if (self._ping_pending or self._probe_pending) and self._has_news(now):
            self._packets.ack_at = now
        room = self._room
        room.size = self._max_datagram_size - SHORT_HEADER - len(self._peer_cid.cid) - TAG
        room.declined = False
        datagrams = more = super().datagrams_to_send(now)
        while more and room.declined:
            # aioquic goes on to the next packet only if it has put something into this one.
            room.declined = False
            more = super().datagrams_to_send(now)
            datagrams += more
        return datagrams

    def _has_news(self, now: float) -> bool:
        """Whether what is sent now is to take an acknowledgement along, of packets that ask for none: no more
        than one a round trip (RFC 9000, section 13.2.1). aioquic sends none. But from these the peer learns
        what it has lost, and up to 1.8.2 quic_dist never learns it otherwise while its window is full: its
        probes wait for the window, too."""
        if self._keys is None:
            return False
        space = self._packets
        return (
            space.ack_at is None
            and space.largest_received_packet > self._told
            and now - self._told_at >= max(self._loss._rtt_smoothed, NEWS_INTERVAL)
        )

    def _write_ack_frame(self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float) -> None:
        super()._write_ack_frame(builder, space, now)
        if self._keys is not None and space is self._packets:
            self._told, self._told_at = space.largest_received_packet, now

    def _waiting(self, keys: CryptoPair) -> list[QuicStream] | None:
        """The streams with something to send; None if there may be other frames to send than theirs and
        those that acknowledge."""
        path, *others = self._network_paths
        data = self._local_max_data
        if (
            self._state is not QuicConnectionState.CONNECTED
            or self._close_pending
            or keys._update_key_requested
            or not path.is_validated
            or path.remote_challenges
            or self._remote_preferred_address is not None
            or self._handshake_done_pending
            or self._ping_pending
            or self._probe_pending
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or self._datagrams_pending
            or not self._crypto_streams[Epoch.ONE_RTT].sender.buffer_is_empty
            or data.value != data.sent
            or data.used * 2 > data.value
        ):
            return None
        for other in others:
            if other.remote_challenges or not (other.is_validated or other.local_challenge_sent):
                return None
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            if limit.value != limit.sent and limit.sent - limit.used < limit.value - limit.sent:
                return None
        for issued in self._host_cids:
            if not issued.was_sent:
                return None
        waiting = []
        for stream in self._streams_queue:
            sender, receiver = stream.sender, stream.receiver
            window = stream.max_stream_data_local
            if (
                sender.reset_pending
                or receiver.stop_pending
                or (receiver.is_finished and sender.is_finished)
                or stream.max_stream_data_local_sent != window
                or (receiver.highest_offset * 2 > window > 0 and type(stream) is QuicStream)
            ):
                return None
            if not sender.buffer_is_empty and not stream.is_blocked:
                waiting.append(stream)
        return waiting

    def _build(self, keys: CryptoPair, waiting: list[QuicStream], now: float) -> list[tuple[bytes, Any]]:
        """As many packets as may be sent now of what waits on streams. With the first goes an
        acknowledgement, due or not: aioquic would send a packet of its own for it a little later. If it is
        due, it goes alone, too. See also :meth:`_has_news`."""
        space, loss = self._packets, self._loss
        overhead = SHORT_HEADER + len(self._peer_cid.cid) + TAG
        self._room.size = self._max_datagram_size - overhead
        datagrams: list[tuple[bytes, Any]] = []
        self._pacing_at = None
        news = bool(waiting) and self._has_news(now)
        while waiting or space.ack_at is not None:
            if space.ack_at is None or space.ack_at >= now:
                self._pacing_at = loss._pacer.next_send_time(now=now)
                if self._pacing_at is not None:
                    break
            packet = QuicSentPacket(
                epoch=Epoch.ONE_RTT,
                in_flight=False,
                is_ack_eliciting=False,
                is_crypto_packet=False,
                packet_number=self._packet_number,
                packet_type=QuicPacketType.ONE_RTT,
                sent_time=now,
            )
            # Acknowledgements are not held to the congestion window (RFC 9002, section 7).
            window = loss.congestion_window - loss.bytes_in_flight
            room = self._max_datagram_size - overhead
            tells = news or space.ack_at is not None
            acknowledgement = self._acknowledgement(room, now) if tells else b""
            room = min(room, window - overhead) - len(acknowledgement)
            frames = self._stream_frames(waiting, room, packet)
            if waiting and acknowledgement and not frames:
                # A frame that is sent again as it was may not fit beside it.
                frames = self._stream_frames(waiting, room + len(acknowledgement), packet)
                acknowledgement = b"" if frames else acknowledgement
            if acknowledgement and (frames or (space.ack_at is not None and space.ack_at <= now)):
                space.ack_at = None
                news = False
                self._told, self._told_at = space.largest_received_packet, now
                handler = self._on_ack_delivery, (space, space.largest_received_packet)
                packet.delivery_handlers.insert(0, handler)
                if len(space.ack_queue) > 1 and not packet.packet_number % 8 and room > sum(map(len, frames)):
                    # So that these ranges are known to have arrived, and need not be told again.
                    packet.in_flight = packet.is_ack_eliciting = True
                    packet.delivery_handlers.append((self._on_ping_delivery, ((),)))
                    frames.append(b"\x01")
                frames.insert(0, acknowledgement)
            if not frames:
                break
            datagrams.append(self._send(keys, packet, b"".join(frames), now))
        if waiting:
            # Their turn the next time is after that of streams that are idle now.
            idle = [stream for stream in self._streams_queue if stream not in waiting]
            self._streams_queue = idle + waiting
        return datagrams

    def _acknowledgement(self, room: int, now: float) -> bytes:
        space = self._packets
        assert space.largest_received_time is not None
        delay = int((now - space.largest_received_time) * 1_000_000) >> self._local_ack_delay_exponent
        return wire.ack(space.ack_queue, delay, room)

    def _stream_frames(self, waiting: list[QuicStream], room: int, packet: QuicSentPacket) -> list[bytes]:
        """STREAM frames of up to ``room`` bytes, a frame of each stream in turn. Streams that have sent all
        leave ``waiting``; those that have sent what is new, and have more, go to its end."""
        frames = []
        for stream in waiting[:]:
            sender = stream.sender
            offset = sender.next_offset
            assert stream.stream_id is not None
            head = wire.uint(stream.stream_id) + (wire.uint(offset) if offset else b"")
            before = sender.highest_offset
            frame = sender.get_frame(
                room - 3 - len(head),
                min(
                    before + self._remote_max_data - self._remote_max_data_used, stream.max_stream_data_remote
                ),
            )
            if frame is not None:
                size = len(frame.data)
                kind = wire.STREAM | wire.LENGTH | (wire.OFFSET if offset else 0) | frame.fin
                frames.append(b"%c%b%b" % (kind, head, (size | wire.TWO_BYTES).to_bytes(2)))
                frames.append(frame.data)
                room -= 3 + len(head) + size
                self._remote_max_data_used += sender.highest_offset - before
                packet.in_flight = packet.is_ack_eliciting = True
                packet.delivery_handlers.append((sender.on_data_delivery, (offset, offset + size, frame.fin)))
                if not (len(sender._pending) or sender._pending_eof):
                    sender.buffer_is_empty = True
                elif sender.highest_offset > before:
                    waiting.remove(stream)
                    waiting.append(stream)
            if sender.buffer_is_empty:
                waiting.remove(stream)
        return frames

    def _send(
        self, keys: CryptoPair, packet: QuicSentPacket, payload: bytes, now: float
    ) -> tuple[bytes, Any]:
        """Seal a packet and take note of it."""
        crypto, path, peer_cid = keys.send, self._network_paths[0], self._peer_cid.cid
        assert crypto.hp is not None
        assert crypto.aead is not None
        first = 0x41 | self._spin_bit << 5 | keys.key_phase << 2
        number = packet.packet_number & 0xFFFF
        header = b"%c%b%b" % (first, peer_cid, number.to_bytes(2))
        sealed = crypto.aead.encrypt(payload, header, packet.packet_number)
        mask = crypto.hp._mask(sealed[2:18])
        number ^= int.from_bytes(mask[1:3])
        data = b"%c%b%b%b" % (first ^ mask[0] & 0x1F, peer_cid, number.to_bytes(2), sealed)
        packet.sent_bytes = len(data)
        self._packet_number += 1
        self._loss.on_packet_sent(packet=packet, space=self._packets)
        if packet.is_ack_eliciting and not self._ack_eliciting_sent_since_receipt:
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        path.bytes_sent += len(data)
        return data, path.addr


# -- TLS: certificates of clients, and pre-shared keys -----------------------------------------


@dataclass
class Configuration(QuicConfiguration):
    """aioquic's configuration, with what cannot be said in it. Sessions are not resumed where
    ``clients`` is set: a ticket says nothing of whose certificate was shown for it."""

    #: Dialling: a certificate has to be one for servers.
    check_use: bool = False
    #: Dialling: the PSK to show; a peer that does not take it is refused.
    external_psk: ExternalPsk | None = None
    #: The longest datagrams to build where peer and path take them; ``max_datagram_size`` is where it begins.
    longest_datagram: int = 0
    #: Listening: ask for certificates, and believe these.
    clients: ClientTrust | None = None
    #: Listening: the secret of a PSK identity, or None.
    find_psk: Callable[[bytes], bytes | None] | None = None
    #: Listening: there is no certificate to show to those without a PSK.
    psk_only: bool = False


class Connection(ProbesSilence, Recovering, _Direct):
    """A connection that heeds all of a :class:`Configuration`."""

    def __init__(self, **arguments: Any) -> None:
        self._room = PacketRoom()
        super().__init__(**arguments)
        # aioquic logs in the middle of its work, and a handler that raises must not end it there.
        self._logger.logger = CleanLogger(logging.getLogger("quic"))

    def _initialize(self, peer_cid: bytes) -> None:
        # Here aioquic makes its TLS context, anew for each version of QUIC tried, and it asks nobody
        # which class to make it of.
        super()._initialize(peer_cid)
        retransmit(self._crypto_streams.values(), self._room, crypto=True)
        if isinstance(self.configuration, Configuration):
            self.tls.__class__ = TlsContext
            assert isinstance(self.tls, TlsContext)
            self.tls.heed(self.configuration)

    #: See :func:`limits_held`.
    holds_limits = False

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        if not self.holds_limits:
            super()._write_connection_limits(builder, space)

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        if not self.holds_limits or isinstance(stream, _GrantedStream):
            super()._write_stream_limits(builder, space, stream)

    def _stream_made(self, stream: QuicStream) -> None:
        super()._stream_made(stream)
        retransmit([stream], self._room)

    def _serialize_transport_parameters(self) -> bytes:
        # There is no public way to add one.
        parameters = super()._serialize_transport_parameters() + encoded(PACED)
        if longest_datagram(self) > BASE_SIZE:
            parameters += encoded(LONG_DATAGRAMS)
        if self._is_client:
            return parameters + encoded(JOINED_MESSAGES)
        return parameters if self._session_ticket_handler is None else parameters + encoded(EARLY_DATA)


@contextlib.contextmanager
def limits_held(quic: QuicConnection) -> Iterator[None]:
    """Grant the peer nothing more meanwhile, except by :func:`grant`: aioquic doubles its limits whenever
    half of what they allow has arrived, taken or not."""
    assert isinstance(quic, Connection)
    quic.holds_limits = True
    try:
        yield
    finally:
        quic.holds_limits = False


def longest_datagram(quic: QuicConnection) -> int:
    """The longest datagram that may be built by a connection's configuration."""
    configuration = quic.configuration
    longest = configuration.longest_datagram if isinstance(configuration, Configuration) else 0
    return max(longest, configuration.max_datagram_size)


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
        # aioquic can check it, and offers it to nobody.
        self._signature_algorithms.append(tls.SignatureAlgorithm.ECDSA_SECP521R1_SHA512)
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

    def _signature_algorithms_for_private_key(self) -> list[tls.SignatureAlgorithm]:
        key = self.certificate_private_key
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP521R1):
            return [tls.SignatureAlgorithm.ECDSA_SECP521R1_SHA512]
        return super()._signature_algorithms_for_private_key()

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

    def _client_handle_certificate(self, input_buf: Buffer) -> None:
        check_size(input_buf.capacity)
        with refused_by_alert():
            super()._client_handle_certificate(input_buf)
        self._check_keys()

    def _client_handle_certificate_verify(self, input_buf: Buffer) -> None:
        with refused_by_alert():
            super()._client_handle_certificate_verify(input_buf)
        if self._settings.check_use and self._peer_certificate is not None:
            check_server_use(self._peer_certificate)

    def _check_keys(self) -> None:
        """Before anything is computed with what the peer has shown."""
        if self._peer_certificate is not None:
            check_keys([self._peer_certificate, *self._peer_certificate_chain])

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
        check_size(input_buf.capacity)
        with refused_by_alert():
            super()._server_handle_certificate(input_buf)
        self._check_keys()
        if self._peer_certificate is None:
            self._check_client()

    def _server_handle_certificate_verify(self, input_buf: Buffer) -> None:
        with refused_by_alert():
            super()._server_handle_certificate_verify(input_buf)
        self._check_client()

    def _check_client(self) -> None:
        if self._settings.clients is not None:
            self._settings.clients.check(self._peer_certificate, self._peer_certificate_chain)
