"""The fast path in: processes ordinary packets of an established connection directly. aioquic does it in many
small steps.

All else is left to aioquic: the whole packet before anything has changed, or the rest of its frames. The
private state is left as aioquic would have left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from aioquic.quic.connection import QuicConnectionError, QuicConnectionState, QuicReceiveContext
from aioquic.quic.packet import QuicStreamFrame, decode_packet_number
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.tls import Epoch
from cryptography.exceptions import InvalidTag

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.engine.aioquic.bounds import Bounded
from quicdist.carrier.quic.engine.aioquic.flow_control import OwnFlowControl
from quicdist.carrier.quic.engine.aioquic.key_limits import KeyLimited, KeyPair, ReceiveKeys
from quicdist.carrier.quic.engine.aioquic.path_validation import ValidatesPaths
from quicdist.carrier.quic.engine.aioquic.ranges import Ranges
from quicdist.carrier.quic.engine.aioquic.reassembly import PacketDropped
from quicdist.carrier.quic.engine.aioquic.recovery import Recovery
from quicdist.carrier.quic.engine.aioquic.undecryptable_packets import BuffersPackets
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.quic.engine.wire import frames as wire

#: The bytes after the connection id of a short header, at least: four for the packet number, and the sample
#: for header protection (RFC 9001, section 5.4.2).
SHORTEST: Final = 20
#: The fewest datagrams that are worth :mod:`~quicdist.carrier.quic.engine.aioquic.receive_run`.
BATCH: Final = 4


class Space(QuicPacketSpace):
    """A packet number space with our set of ranges."""

    ack_queue: Ranges


class FastReceive(BuffersPackets, Bounded, OwnFlowControl, KeyLimited, ValidatesPaths):
    """A connection with the fast path in."""

    #: The 1-RTT keys; None until the fast path may be used.
    _keys: KeyPair | None = None
    _space: Space
    _loss: Recovery  # type: ignore[assignment]
    #: When the last packet was received.
    _received_at = -1.0
    #: The idle timeout that both ends have agreed on, in seconds (RFC 9000, section 10.1); 0 until the fast
    #: path may be used.
    _idle = 0.0

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        keys = self._keys
        if keys is None:
            super().receive_datagram(data, addr, now)
            self._enable_fast_path()
        elif not self._receive(keys.recv, data, addr, now):
            super().receive_datagram(data, addr, now)
            self._changed.every = True

    def receive_datagrams(self, datagrams: Sequence[Datagram], now: float) -> None:
        if self._keys is not None and len(datagrams) >= BATCH:
            self._receive_batch(datagrams, now)
        else:
            for data, addr in datagrams:
                self.receive_datagram(data, addr, now)

    def _receive_batch(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Process many datagrams."""
        raise NotImplementedError

    def authenticated(self) -> None:
        super().authenticated()
        self._enable_fast_path()

    def _enable_fast_path(self) -> None:
        # Before the peer is authenticated, each frame is counted. aioquic's qlog has every frame. A server
        # drops the 0-RTT keys with the first 1-RTT packet.
        if (
            self.is_authenticated
            and self._handshake_confirmed
            and self._quic_logger is None
            and not self._cryptos[Epoch.ZERO_RTT].recv.is_valid()
        ):
            keys = self._cryptos[Epoch.ONE_RTT]
            assert isinstance(keys, KeyPair)
            self._keys, self._space = keys, cast(Space, self._spaces[Epoch.ONE_RTT])
            self._idle = self.configuration.idle_timeout
            if self._remote_max_idle_timeout is not None:
                self._idle = min(self._idle, self._remote_max_idle_timeout)

    def _receive(self, keys: ReceiveKeys, data: bytes, addr: Any, now: float) -> bool:
        """Process a datagram if it is a packet with a short header on the path in use, with the current keys;
        whether it was."""
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
        # aioquic copies the whole packet to remove header protection (RFC 9001, section 5.4).
        mask = keys.hp._mask(data[start + 4 : start + 20])
        first = data[0] ^ mask[0] & 0x1F
        if first & 0x18 or first >> 2 & 1 != keys.key_phase:
            return False
        size = (first & 3) + 1
        end = start + size
        number = int.from_bytes(data[start:end]) ^ int.from_bytes(mask[1 : 1 + size])
        header = b"%c%b%b" % (first, host_cid, number.to_bytes(size))
        space = self._space
        expected = space.expected_packet_number
        if number == expected & (1 << 8 * size) - 1:
            number = expected
        else:
            number = decode_packet_number(number, 8 * size, expected)
        try:
            aead = keys.aead
            payload = aead._aead.decrypt((aead._iv ^ number).to_bytes(12), data[end:], header)
        except InvalidTag:
            keys.forgeries += 1
            self._forged(self._cryptos[Epoch.ONE_RTT])
            return True
        self._process(number, first, payload, host_cid, now)
        return True

    def _process(self, number: int, first: int, payload: bytes, host_cid: bytes, now: float) -> None:
        """Process a packet whose protection is removed; ``first`` is its first byte."""
        space = self._space
        if number in space.received_packets:
            return
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        is_ack_eliciting = False
        try:
            is_ack_eliciting = self._receive_frames(payload, host_cid, now)
        except QuicConnectionError as error:
            self._logger.warning(error)
            self.close(error.error_code, error.frame_type, error.reason_phrase)
        except PacketDropped as error:
            self._packet_dropped(error)
            return
        if self._close_pending or self._state is not QuicConnectionState.CONNECTED:
            return
        if number > space.largest_received_packet:
            self._note_packets(number, number + 1, first, now)
        else:
            self._heard(now)
            space.received_packets.add(number)
            space.ack_queue.add(number)
            if len(space.ack_queue.ranges) > MAX_ACK_RANGES:
                space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay

    def _idle_timeout(self) -> float:
        # As aioquic does, but the transport parameters are compared once.
        idle = self._idle
        if not idle:
            return super()._idle_timeout()
        probes = 3 * self._loss.get_probe_timeout()
        return idle if idle > probes else probes

    def _heard(self, now: float) -> None:
        """A packet was received: the idle timeout begins anew."""
        if now != self._received_at:
            self._received_at = now
            self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False

    def _note_packets(self, begin: int, end: int, first: int, now: float) -> None:
        """The packets from ``begin`` up to ``end``, after all before, were received; ``first`` is the first
        byte of the last one; header protection leaves its spin bit."""
        self._heard(now)
        space, last = self._space, end - 1
        if last > self._spin_highest_pn:
            self._spin_bit = bool(first & 0x20) is not self._is_client
            self._spin_highest_pn = last
        if begin == last:
            space.received_packets.add(last)
        else:
            # Those that a window of numbers keeps; the others count as received.
            for number in range(max(begin, end - 2 * MAX_ACK_RANGES), end):
                space.received_packets.add(number)
        space.largest_received_packet = last
        space.largest_received_time = now
        # aioquic searches from the other end.
        ranges = space.ack_queue.ranges
        if ranges and ranges[-1].stop == begin:
            ranges[-1] = range(ranges[-1].start, end)
        else:
            ranges.append(range(begin, end))
            if len(ranges) > MAX_ACK_RANGES:
                space.ack_queue.shift()

    def _is_current(self, host_cid: bytes) -> bool:
        """Whether this connection id is the one in use."""
        if not self._is_client:
            return host_cid == self.host_cid
        # A client of aioquic does not change ``host_cid`` when its server does, and may keep a retired one.
        return any(host_cid == issued.cid for issued in self._host_cids)

    def _receive_frames(self, payload: bytes, host_cid: bytes, now: float) -> bool:
        """Process the frames of a packet; whether it is ack-eliciting."""
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
                        # Several in one packet are counted by the slow path.
                        at = start
                        break
                    self._loss.on_ack_received(
                        ack_rangeset=ranges,
                        ack_delay=(delay << self._remote_ack_delay_exponent) / 1_000_000,
                        now=now,
                        space=self._space,
                    )
                elif kind == wire.PING:
                    at += 1
                    is_ack_eliciting = True
                elif kind == wire.MAX_DATA or kind == wire.MAX_STREAM_DATA:
                    end = self._receive_limit(payload, at)
                    if not end:
                        break
                    at = end
                    is_ack_eliciting = True
                elif kind == wire.PADDING and payload.count(0, at) == size - at:
                    return is_ack_eliciting
                else:
                    break
        except IndexError:
            pass  # A frame that is cut short: the slow path raises the error.
        if at < size or not size:
            context = QuicReceiveContext(
                epoch=Epoch.ONE_RTT,
                host_cid=host_cid,
                network_path=self._network_paths[0],
                quic_logger_frames=None,
                time=now,
                version=None,
            )
            self._changed.every = True
            is_ack_eliciting |= self._payload_received(context, payload[at:])[0]
        return is_ack_eliciting

    def _receive_limit(self, payload: bytes, at: int) -> int:
        """Process the MAX_DATA or MAX_STREAM_DATA frame at ``at`` (RFC 9000, sections 19.9 and 19.10) if it
        is an ordinary one; where it ends, or 0. Raises IndexError if it is cut short. quic_dist sends a
        MAX_DATA frame for each STREAM frame once 128 MiB have been sent to it."""
        kind = payload[at]
        at += 1
        if kind == wire.MAX_DATA:
            limit, at = wire.read_uint(payload, at)
            if limit > self._remote_max_data:
                self._remote_max_data = limit
            return at
        stream_id, at = wire.read_uint(payload, at)
        limit, at = wire.read_uint(payload, at)
        stream = self._streams.get(stream_id)
        if stream is None or stream_id & 2:  # the bit of unidirectional streams
            return 0
        if limit > stream.max_stream_data_remote:
            stream.max_stream_data_remote = limit
        return at

    def _receive_stream(self, payload: bytes, at: int, size: int) -> int:
        """Process the STREAM frame at ``at`` if it is an ordinary one; where it ends, or 0."""
        # The integers are read here, without calls; one that is cut short gives an end after the payload.
        kind = payload[at]
        stream_id = payload[at + 1]
        at += 2
        if stream_id > wire.ONE_BYTE:
            stream_id, at = wire.read_uint(payload, at - 1)
        offset = 0
        if kind & wire.OFFSET:
            prefix = payload[at] >> 6
            stop = at + (1 << prefix)
            offset = int.from_bytes(payload[at:stop]) & wire.VALUES[prefix]
            at = stop
        length = size - at
        if kind & wire.LENGTH:
            prefix = payload[at] >> 6
            stop = at + (1 << prefix)
            length = int.from_bytes(payload[at:stop]) & wire.VALUES[prefix]
            at = stop
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
        if not stream.is_granted:
            # aioquic raises the limit of the stream once half of it was received.
            self._changed.ids.add(stream_id)
        if not offset == receiver._buffer_start == highest:
            # Out of order, or a duplicate.
            event = receiver.handle_frame(QuicStreamFrame(data=payload[at:end], fin=False, offset=offset))
            limit.used += new
            if event is not None:
                self._events.append(event)  # type: ignore[arg-type]  # see event_queue
            return end
        limit.used += new
        receiver._buffer_start = receiver.highest_offset = stop
        self._events.append(StreamData(stream_id, payload[at:end], False))  # type: ignore[arg-type]  # see event_queue
        return end
