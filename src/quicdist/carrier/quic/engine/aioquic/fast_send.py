"""The fast path out: builds packets with STREAM and ACK frames of an established connection directly. aioquic
builds each in many small steps, and visits every open stream for it.

If other frames may be due, aioquic builds the packets
(see also :mod:`quicdist.carrier.quic.engine.aioquic.fast_receive`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.receive_run import ReceivesRuns
from quicdist.carrier.quic.engine.aioquic.send_run import run_length, send_run
from quicdist.carrier.quic.engine.aioquic.streams import Stream
from quicdist.carrier.quic.engine.wire import frames as wire

#: The tag at the end of a packet (RFC 9001, section 5.3).
TAG: Final = 16
#: The bytes of a short header without its connection id: the first byte, and a packet number of two bytes.
SHORT_HEADER: Final = 3
#: The shortest interval between acknowledgements of packets that are not ack-eliciting, in seconds.
ACK_INTERVAL: Final = 0.025


class BuiltPacket:
    """A packet of the fast path, with the attributes of aioquic's ``QuicSentPacket``."""

    __slots__ = (
        "delivery_handlers",
        "in_flight",
        "is_ack_eliciting",
        "packet_number",
        "sent_bytes",
        "sent_time",
    )

    epoch: Final = Epoch.ONE_RTT
    packet_type: Final = QuicPacketType.ONE_RTT
    is_crypto_packet = False

    def __init__(self, number: int, now: float) -> None:
        self.packet_number = number
        self.sent_time: float | None = now
        self.sent_bytes = 0
        self.in_flight = self.is_ack_eliciting = False
        self.delivery_handlers: list[tuple[Callable[..., None], Any]] = []


class FastSend(ReceivesRuns):
    """A connection with the fast path in both directions."""

    #: The largest packet number that was acknowledged, and when.
    _ack_sent, _ack_sent_at = -1, 0.0
    _acknowledges_apart = False

    def acknowledge_apart(self, apart: bool) -> None:
        self._acknowledges_apart = apart

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        keys = self._keys
        if self._packet_number >= self._key_usage.due:
            self._check_key_usage()
        waiting = None if keys is None else self._waiting(keys)
        if keys is not None and waiting is not None:
            return self._build(keys, waiting, now)
        if (self._ping_pending or self._probe_pending) and self._owes_acknowledgement(now):
            self._space.ack_at = now
        capacity = self._capacity
        capacity.size = self._max_datagram_size - SHORT_HEADER - len(self._peer_cid.cid) - TAG
        capacity.declined = False
        self._changed.every = True
        datagrams = more = super().datagrams_to_send(now)
        while more and capacity.declined:
            # aioquic begins the next packet only if it has put a stream frame into this one.
            capacity.declined = False
            more = super().datagrams_to_send(now)
            datagrams += more
        return datagrams

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        self._changed.every = True

    def get_timer(self) -> float | None:
        if (
            self._keys is None
            or self._state is not QuicConnectionState.CONNECTED
            or not self._network_paths[0].is_validated
        ):
            return super().get_timer()
        # As aioquic does. The handshake is over: there is one packet number space.
        timer = self._close_at
        assert timer is not None  # from the handshake on
        due = self._space.ack_at
        if due is not None and due < timer:
            timer = due
        self._loss_at = due = self._loss.get_loss_detection_time(amplification_limited=False)
        if due is not None and due < timer:
            timer = due
        due = self._pacing_at
        return due if due is not None and due < timer else timer

    def _owes_acknowledgement(self, now: float) -> bool:
        """Whether the next packet acknowledges packets that are not ack-eliciting: at most once a round trip
        (RFC 9000, section 13.2.1). aioquic never does. But such acknowledgements tell the peer what it has
        lost. Up to 1.8.2 quic_dist does not notice that otherwise while its window is full: its probes wait
        for the window, too."""
        if self._keys is None:
            return False
        space = self._space
        return (
            space.ack_at is None
            and space.largest_received_packet > self._ack_sent
            and now - self._ack_sent_at >= max(self._loss.rtt.smoothed, ACK_INTERVAL)
        )

    def _write_ack_frame(self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float) -> None:
        super()._write_ack_frame(builder, space, now)
        if self._keys is not None and space is self._space:
            self._ack_sent, self._ack_sent_at = space.largest_received_packet, now

    def _on_ack_delivery(
        self, delivery: QuicDeliveryState, space: QuicPacketSpace, highest_acked: int
    ) -> None:
        super()._on_ack_delivery(delivery, space, highest_acked)
        if delivery is QuicDeliveryState.LOST and highest_acked == self._ack_sent:
            # The packet that is sent in its place acknowledges again.
            self._ack_sent = -1

    def _waiting(self, keys: CryptoPair) -> list[Stream] | None:
        """The streams with data to send; None if frames other than STREAM and ACK may be due."""
        path = self._network_paths[0]
        data = self._local_max_data
        changed = self._changed
        if (
            self._state is not QuicConnectionState.CONNECTED
            or self._close_pending
            or keys._update_key_requested
            or not path.is_validated
            or path.remote_challenges
            or self._ping_pending
            or self._probe_pending
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or self._datagrams_pending
            or data.value != data.sent
            or data.used * 2 > data.value
            or (changed.every and self._has_other_frames())
        ):
            return None
        streams: Iterable[Stream]
        if changed.every:
            # Before they are checked: another thread may change one meanwhile.
            changed.every = False
            changed.ids.clear()  # This frees its memory, too.
            streams = self._streams_queue
        elif not changed.ids:
            return []
        else:
            ids = changed.take_ids()
            if len(ids) == 1:
                stream = self._streams.get(ids[0])
                streams = () if stream is None else (stream,)
            else:
                streams = [stream for stream in self._streams_queue if stream.id in ids]
        waiting = []
        for stream in streams:
            sender, receiver = stream.sender, stream.receiver
            window = stream.max_stream_data_local
            if (
                sender.reset_pending
                or receiver.stop_pending
                or (receiver.is_finished and sender.is_finished)
                or stream.max_stream_data_local_sent != window
                or (receiver.highest_offset * 2 > window > 0 and not stream.is_granted)
            ):
                changed.every = True
                return None
            if not sender.buffer_is_empty and not stream.is_blocked:
                waiting.append(stream)
                changed.ids.add(stream.id)
        return waiting

    def _has_other_frames(self) -> bool:
        """Whether frames may be due of kinds that only aioquic, or the loss of a packet, makes due."""
        if (
            self._remote_preferred_address is not None
            or self._handshake_done_pending
            or not self._crypto_streams[Epoch.ONE_RTT].sender.buffer_is_empty
        ):
            return True
        for other in self._network_paths[1:]:
            if other.remote_challenges or not (other.is_validated or other.local_challenge_sent):
                return True
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            if limit.value != limit.sent and limit.sent - limit.used < limit.value - limit.sent:
                return True
        return not all(issued.was_sent for issued in self._host_cids)

    def _build(self, keys: CryptoPair, waiting: list[Stream], now: float) -> list[tuple[bytes, Any]]:
        """The packets that may be sent now. The first has an acknowledgement if one waits, due or not:
        aioquic would send a packet for it a little later. If it is due, it is sent without data too. See also
        :meth:`_owes_acknowledgement`."""
        space, loss = self._space, self._loss
        self._pacing_at = None
        if not waiting and space.ack_at is None:
            return []
        size = self._max_datagram_size
        overhead = SHORT_HEADER + len(self._peer_cid.cid) + TAG
        self._capacity.size = size - overhead
        datagrams: list[tuple[bytes, Any]] = []
        owes = bool(waiting) and space.ack_at is None and self._owes_acknowledgement(now)
        while waiting or space.ack_at is not None:
            if space.ack_at is None or space.ack_at >= now:
                self._pacing_at = loss.pacer.next_send_time(now=now)
                if self._pacing_at is not None:
                    break
            if len(waiting) == 1 and space.ack_at is None and not owes:
                count, chunk = run_length(self, waiting[0], overhead)
                if count:
                    datagrams += send_run(self, keys, waiting[0], count, chunk, now)
                    if waiting[0].sender.buffer_is_empty:
                        waiting.clear()
                    continue
            packet = BuiltPacket(self._packet_number, now)
            # Acknowledgements are not held to the congestion window (RFC 9002, section 7).
            window = loss.congestion.available
            room = size - overhead
            tells = owes or space.ack_at is not None
            acknowledgement = self._acknowledgement(room, now) if tells else b""
            room = min(room, window - overhead) - len(acknowledgement)
            apart = bool(acknowledgement) and self._acknowledges_apart
            frames = self._stream_frames(waiting, room, packet) if waiting and not apart else []
            if waiting and acknowledgement and not (frames or apart):
                # A frame that is retransmitted as it was may not fit with the acknowledgement.
                frames = self._stream_frames(waiting, room + len(acknowledgement), packet)
                acknowledgement = b"" if frames else acknowledgement
            if acknowledgement and (frames or apart or (space.ack_at is not None and space.ack_at <= now)):
                space.ack_at = None
                owes = False
                largest = space.largest_received_packet
                self._ack_sent, self._ack_sent_at = largest, now
                packet.delivery_handlers.insert(0, (self._on_ack_delivery, (space, largest)))
                if len(space.ack_queue) > 1 and not packet.packet_number % 8 and room > sum(map(len, frames)):
                    # A PING: its acknowledgement confirms these ranges, and they are not sent again.
                    packet.in_flight = packet.is_ack_eliciting = True
                    packet.delivery_handlers.append((self._on_ping_delivery, ((),)))
                    frames.append(b"\x01")
                frames.insert(0, acknowledgement)
            if not frames:
                break
            datagrams.append(self._send(keys, packet, b"".join(frames), now))
        if waiting:
            # Streams that are idle now are served first the next time.
            idle = [stream for stream in self._streams_queue if stream not in waiting]
            self._streams_queue = idle + waiting
        return datagrams

    def _acknowledgement(self, room: int, now: float) -> bytes:
        space = self._space
        assert space.largest_received_time is not None
        delay = int((now - space.largest_received_time) * 1_000_000) >> self._local_ack_delay_exponent
        return wire.ack(space.ack_queue.ranges, delay, room)

    def _stream_frames(self, waiting: list[Stream], room: int, packet: BuiltPacket) -> list[bytes]:
        """STREAM frames of up to ``room`` bytes, a frame of each stream in turn. Streams that have sent all
        are removed from ``waiting``; those that have sent new data, and have more, move to its end."""
        frames = []
        for stream in waiting[:]:
            sender = stream.sender
            new = sender.new_data()
            if new:
                offset, data, fin = new.start, b"", False
            else:
                offset = sender.next_offset
            head = wire.uint(stream.id) + (wire.uint(offset) if offset else b"")
            before = sender.highest_offset
            limit = min(
                before + self._remote_max_data - self._remote_max_data_used, stream.max_stream_data_remote
            )
            if new:
                stop = min(new.stop, limit, offset + room - 3 - len(head))
                if stop <= offset:
                    continue
                data = sender.take_new(stop)
            else:
                frame = sender.get_frame(room - 3 - len(head), limit)
                if frame is None:
                    if sender.buffer_is_empty:
                        waiting.remove(stream)
                    continue
                data, fin = frame.data, frame.fin
            size = len(data)
            kind = wire.STREAM | wire.LENGTH | (wire.OFFSET if offset else 0) | fin
            frames.append(b"%c%b%b" % (kind, head, (size | wire.TWO_BYTES).to_bytes(2)))
            frames.append(data)
            room -= 3 + len(head) + size
            self._remote_max_data_used += sender.highest_offset - before
            packet.in_flight = packet.is_ack_eliciting = True
            packet.delivery_handlers.append((sender.on_data_delivery, (offset, offset + size, fin)))
            if not (sender._pending.ranges or sender._pending_eof):
                sender.buffer_is_empty = True
                waiting.remove(stream)
            elif sender.highest_offset > before:
                waiting.remove(stream)
                waiting.append(stream)
        return frames

    def _send(self, keys: CryptoPair, packet: BuiltPacket, payload: bytes, now: float) -> tuple[bytes, Any]:
        """Protect a packet and record it as sent."""
        crypto, path, peer_cid = keys.send, self._network_paths[0], self._peer_cid.cid
        assert crypto.hp is not None
        assert crypto.aead is not None
        first = 0x41 | self._spin_bit << 5 | keys.key_phase << 2
        number = packet.packet_number
        aead, hidden = crypto.aead, number & 0xFFFF
        header = b"%c%b%b" % (first, peer_cid, hidden.to_bytes(2))
        sealed = aead._aead.encrypt((aead._iv ^ number).to_bytes(12), payload, header)
        mask = crypto.hp._mask(sealed[2:18])
        hidden ^= mask[1] << 8 | mask[2]
        data = b"%c%b%b%b" % (first ^ mask[0] & 0x1F, peer_cid, hidden.to_bytes(2), sealed)
        size = packet.sent_bytes = len(data)
        self._packet_number = number + 1
        self._loss.on_packet_sent(packet=packet, space=self._space)
        if packet.is_ack_eliciting and not self._ack_eliciting_sent_since_receipt:
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        path.bytes_sent += size
        return data, path.addr
