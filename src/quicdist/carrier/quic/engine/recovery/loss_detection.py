"""Loss detection (RFC 9002), which adapts to reordering as RACK does (RFC 8985).

A packet is declared lost when one sent later was acknowledged, and three such packets (section 6.1.1) or some
time (6.1.2) have passed. Lost packets are remembered for a while. If one is acknowledged later, its loss was
spurious: its data count as delivered, congestion control reverts its reduction, the packet threshold is no
longer used, and the time threshold grows to the delay of that packet.

After a probe timeout the oldest packets are sent again and remembered in the same way; congestion control
does not count them as lost. The backoff is bounded, so that a path that works again is noticed soon.

No I/O and no clock. Times are in seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from quicdist.carrier.quic.engine.recovery.ack_ranges import newly_acknowledged
from quicdist.carrier.quic.engine.recovery.congestion import Congestion
from quicdist.carrier.quic.engine.recovery.pacer import Pacer
from quicdist.carrier.quic.engine.recovery.packet_space import (
    FramePacket,
    FrameSender,
    Packet,
    Record,
    Space,
)
from quicdist.carrier.quic.engine.recovery.persistent_congestion import is_persistent_congestion
from quicdist.carrier.quic.engine.recovery.rtt import GRANULARITY, RoundTrips

#: RFC 9002, section 6.1.
PACKET_THRESHOLD: Final = 3
TIME_THRESHOLD: Final = 1 / 8
#: Losses in a row without a spurious one after which the reordering window is halved (RFC 8985, section 6.2,
#: keeps it for 16 recoveries).
KEEP_REORDERING: Final = 16
#: How long lost packets are remembered, in probe timeouts and in seconds at least; and their maximum number.
REMEMBER_TIMEOUTS: Final = 3
REMEMBER_SECONDS: Final = 5.0
MAX_REMEMBERED: Final = 2048
#: The longest interval of probes in seconds, unless the probe timeout is longer; and the longest after
#: LATE_AFTER of them. RFC 9002, section 6.2.1, doubles the interval without limit. quic_dist closes a
#: connection after 16 s without an acknowledgement (from 1.8.2 on), and a path that works again should be
#: used soon.
MAX_BACKOFF: Final = 1.0
LATE_BACKOFF: Final = 4.0
LATE_AFTER: Final = 24
#: The number of packets that are sent again after a probe timeout (RFC 9002, section 6.2.4).
PROBES: Final = 2
#: Up to this number packets are looked up one by one.
_SMALL: Final = 64


class LossDetection:
    """Loss detection of one connection. Delivery handlers are called with ``acked`` or ``lost``;
    ``send_probe`` has an ack-eliciting packet sent."""

    def __init__(
        self,
        congestion: Congestion,
        pacer: Pacer,
        rtt: RoundTrips,
        *,
        acked: object,
        lost: object,
        send_probe: Callable[[], None],
        address_validated: bool,
    ) -> None:
        self.handshake_confirmed = False
        self.max_ack_delay = 0.025
        #: The peer has validated our address (RFC 9002, section 6.2.2.1).
        self.peer_completed_address_validation = address_validated
        self.congestion = congestion
        self.pacer = pacer
        self.rtt = rtt
        self._acked, self._lost = acked, lost
        self._send_probe = send_probe
        self._spaces: list[Space] = []
        self._records: dict[Space, Record] = {}
        #: A probe timeout has just passed.
        self.probing = False
        #: Probe timeouts since the last acknowledgement.
        self._pto_count = 0
        self._last_eliciting_at = 0.0
        #: The reordering window, None before the first spurious loss; and the losses since the last one.
        self._reordering: float | None = None
        self._losses = 0
        #: The number of losses so far, and of those among them that were spurious.
        self.lost = 0
        self.spurious = 0

    # -- spaces ------------------------------------------------------------------------------

    @property
    def spaces(self) -> list[Any]:
        return self._spaces

    @spaces.setter
    def spaces(self, spaces: list[Any]) -> None:
        self._spaces = spaces
        self._records = {space: Record() for space in spaces}

    def keep_space(self, space: Space) -> None:
        """Forget all other spaces, which are discarded."""
        self._spaces = [space]
        self._records = {space: self._records[space]}

    def discard_space(self, space: Space) -> None:
        """The keys of a space are discarded: so are the packets sent with them."""
        for packet in space.sent_packets.values():
            if packet.in_flight:
                self.congestion.on_gone(packet.sent_bytes)
        space.sent_packets.clear()
        space.ack_at = None
        space.ack_eliciting_in_flight = 0
        space.loss_time = None
        if space in self._records:
            self._records[space].lost.clear()
        self._pto_count = 0

    def set_datagram_size(self, size: int) -> None:
        """Datagrams have up to ``size`` bytes from now on."""
        self.congestion.datagram_size = size
        self.pacer.set_datagram_size(size)

    # -- sent --------------------------------------------------------------------------------

    def on_packet_sent(self, *, packet: Packet, space: Space) -> None:
        number = packet.packet_number
        space.sent_packets[number] = packet
        self._records[space].next_number = number + 1
        if not packet.in_flight:
            if packet.is_ack_eliciting:
                space.ack_eliciting_in_flight += 1
            self.pacer.sent(0)
            return
        at = packet.sent_time
        assert at is not None
        if packet.is_ack_eliciting:
            space.ack_eliciting_in_flight += 1
            # Data sent before the handshake is confirmed arms no PTO (RFC 9002, section 6.2.1).
            if self.handshake_confirmed or not space.is_application_data:
                self._last_eliciting_at = at
        self.congestion.on_sent(packet.sent_bytes, at)
        self.pacer.sent(packet.sent_bytes)

    def on_run_sent(self, packets: Mapping[int, Any], size: int, now: float, space: Space) -> None:
        """As :meth:`on_packet_sent` for packets with consecutive numbers, in order, that are in flight and
        ack-eliciting, each of ``size`` bytes."""
        space.sent_packets.update(packets)
        record = self._records[space]
        record.next_number = max(packets) + 1
        space.ack_eliciting_in_flight += len(packets)
        if self.handshake_confirmed or not space.is_application_data:
            self._last_eliciting_at = now
        self.congestion.on_sent(size * len(packets), now)
        self.pacer.sent(size * len(packets))

    # -- acknowledged ------------------------------------------------------------------------

    def on_ack_received(
        self, *, ack_rangeset: Sequence[range], ack_delay: float, now: float, space: Space
    ) -> None:
        """An ACK frame was received. The ranges ascend and do not touch."""
        record = self._records[space]
        sent, lost = space.sent_packets, record.lost
        ranges: list[range] = list(ack_rangeset)
        if ranges[-1].stop > record.next_number:
            # Packets that were never sent are ignored.
            end = record.next_number
            ranges = [range(one.start, min(one.stop, end)) for one in ranges if one.start < end]
            if not ranges:
                return
        largest = ranges[-1].stop - 1
        size = packets = 0
        elicited = False
        newest: Packet | None = None
        late: list[int] = []
        frames: dict[FrameSender, list[tuple[int, int]]] = {}
        fresh = newly_acknowledged(ranges, record.acked)
        few = len(fresh) == 1 and len(fresh[0]) <= _SMALL
        for number in fresh[0] if few else _known(fresh, sent, lost):
            packet = sent.pop(number, None)
            if packet is None:
                if number in lost:
                    late.append(number)
                continue
            newest = packet
            if isinstance(packet, FramePacket) and packet.handlers is None:
                if packet.in_flight:
                    size += packet.sent_bytes
                    packets += 1
                space.ack_eliciting_in_flight -= 1
                if packet.sender in frames:
                    frames[packet.sender].append(packet.frame)
                else:
                    frames[packet.sender] = [packet.frame]
                continue
            if packet.is_ack_eliciting:
                elicited = True
                space.ack_eliciting_in_flight -= 1
            if packet.in_flight:
                size += packet.sent_bytes
                packets += 1
            for handler, arguments in packet.delivery_handlers:
                handler(self._acked, *arguments)
        if frames:
            elicited = True
            for sender, acknowledged in frames.items():
                sender.on_frames_acknowledged(acknowledged)
        if not record.acked or record.acked[-1].stop <= ranges[-1].stop:
            record.acked = ranges
        if late:
            last = self._spurious(late, record, now)
            elicited = True
            if newest is None or last.packet_number > newest.packet_number:
                newest = last
        if newest is None:
            return
        if largest > space.largest_acked_packet:
            space.largest_acked_packet = largest
        self._acknowledged(newest, largest, size, packets, elicited, ack_delay, now, record)
        self._detect_loss(now, space, record)
        if lost:
            self._forget_old(record, now)
        # Unless the client does not know whether the server has validated its address (RFC 9002, section
        # 6.2.1).
        if self.peer_completed_address_validation:
            self._pto_count = 0

    def _acknowledged(
        self,
        newest: Packet,
        largest: int,
        size: int,
        packets: int,
        elicited: bool,
        ack_delay: float,
        now: float,
        record: Record,
    ) -> None:
        rtt, congestion = self.rtt, self.congestion
        sent_at = newest.sent_time
        assert sent_at is not None
        if elicited and newest.packet_number == largest:
            # The peer keeps its max_ack_delay only once the handshake is confirmed (section 5.3).
            delay = min(ack_delay, self.max_ack_delay) if self.handshake_confirmed else ack_delay
            congestion.on_rtt(rtt.sample(now - sent_at, delay, now))
        if size:
            congestion.on_acked(
                size,
                packets,
                sent_at,
                now,
                srtt=rtt.smoothed,
                min_rtt=rtt.minimum,
                largest=largest,
                next_number=record.next_number,
            )
        self._set_rate()

    def _set_rate(self) -> None:
        if self.rtt.first_at is not None:
            congestion = self.congestion
            self.pacer.set_rate(
                congestion.congestion_window, self.rtt.smoothed, slow_start=congestion.in_slow_start
            )

    def _spurious(self, late: list[int], record: Record, now: float) -> Packet:
        """Packets that were declared lost were acknowledged. Returns the last of them."""
        for number in late:
            packet, lost_at, for_probe = record.lost.pop(number)
            for handler, arguments in packet.delivery_handlers:
                handler(self._acked, *arguments)
            if for_probe:
                continue
            self.spurious += 1
            self._losses = 0
            assert packet.sent_time is not None
            took = now - packet.sent_time - self.rtt.longest
            self._reordering = max(self._reordering or 0.0, took * (1 + TIME_THRESHOLD))
            if packet.in_flight:
                self.congestion.on_spurious(1, lost_at)
        return packet

    # -- lost --------------------------------------------------------------------------------

    @property
    def loss_delay(self) -> float:
        """How long after it was sent a packet is declared lost, if one sent later was acknowledged."""
        rtt = self.rtt
        longest = rtt.longest
        window = longest * TIME_THRESHOLD
        if self._reordering is not None:
            # RFC 8985, section 6.2, step 4: from a quarter of the shortest round trip up to a whole one.
            window = max(window, min(max(rtt.minimum / 4, self._reordering), rtt.smoothed))
        return longest + max(window, GRANULARITY)

    def _detect_loss(self, now: float, space: Space, record: Record) -> None:
        largest = space.largest_acked_packet
        delay = 0.0
        space.loss_time = None
        lost = []
        by_number = largest - PACKET_THRESHOLD if self._reordering is None else -1
        for number, packet in space.sent_packets.items():
            if number > largest:
                break
            delay = delay or self.loss_delay
            due = packet.sent_time + delay
            if number > by_number and due > now:
                space.loss_time = due
                break
            lost.append(packet)
        if lost:
            self._on_lost(lost, now, space, record)

    def _on_lost(self, lost: list[Any], now: float, space: Space, record: Record) -> None:
        persistent = is_persistent_congestion(
            lost, record.lost, first_sample_at=self.rtt.first_at, probe_timeout=self.get_probe_timeout()
        )
        self._forget(lost, now, space, record, for_probe=False)
        counted = [packet for packet in lost if packet.in_flight]
        if not counted:
            return
        self.lost += len(counted)
        self._losses += 1
        if self._reordering is not None and self._losses >= KEEP_REORDERING:
            self._losses = 0
            self._reordering /= 2
        congestion = self.congestion
        congestion.on_lost(len(counted), counted[-1].sent_time, now, min_rtt=self.rtt.minimum)
        if persistent:
            congestion.on_persistent_congestion()
        self._set_rate()

    def retransmit(self, packets: Iterable[Any], now: float, space: Space) -> None:
        """Send the frames of ``packets`` again. They do not count as lost by congestion."""
        self._forget(packets, now, space, self._records.get(space), for_probe=True)

    def forget_in_flight(self, packets: Iterable[Any]) -> None:
        """``packets`` no longer count against the congestion window."""
        for packet in packets:
            if packet.in_flight:
                self.congestion.on_gone(packet.sent_bytes)
                packet.in_flight = False

    def _forget(
        self, packets: Iterable[Any], now: float, space: Space, record: Record | None, *, for_probe: bool
    ) -> None:
        """``packets`` are no longer in flight, and their frames are sent again."""
        for packet in packets:
            del space.sent_packets[packet.packet_number]
            if packet.is_ack_eliciting:
                space.ack_eliciting_in_flight -= 1
            if packet.in_flight:
                self.congestion.on_gone(packet.sent_bytes)
            if record is not None:
                record.lost[packet.packet_number] = packet, now, for_probe
            for handler, arguments in packet.delivery_handlers:
                handler(self._lost, *arguments)
        if record is not None:
            self._forget_old(record, now)

    def _forget_old(self, record: Record, now: float) -> None:
        lost = record.lost
        before = now - max(REMEMBER_TIMEOUTS * self.get_probe_timeout(), REMEMBER_SECONDS)
        old: list[int] = []
        excess = len(lost) - MAX_REMEMBERED
        for number, (_, lost_at, _) in lost.items():
            if lost_at > before and len(old) >= excess:
                break
            old.append(number)
        for number in old:
            del lost[number]

    # -- timers ------------------------------------------------------------------------------

    def get_probe_timeout(self, *, include_max_ack_delay: bool = True) -> float:
        """The probe timeout without backoff."""
        return self.rtt.probe_timeout(self.max_ack_delay if include_max_ack_delay else 0.0)

    def get_loss_detection_time(self, *, amplification_limited: bool) -> float | None:
        """When :meth:`on_loss_detection_timeout` is due, or None. ``amplification_limited``: no probe can be
        sent (RFC 9002, section 6.2.2.1)."""
        due: float | None = None
        eliciting = 0
        confirmed = self.handshake_confirmed
        for space in self._spaces:
            at = space.loss_time
            if at is not None and (due is None or at < due):
                due = at
            if confirmed or not space.is_application_data:
                eliciting += space.ack_eliciting_in_flight
        if due is not None or amplification_limited:
            return due
        if eliciting or not self.peer_completed_address_validation:
            return self._last_eliciting_at + self._backed_off()
        return None

    def _backed_off(self) -> float:
        timeout = self.get_probe_timeout(include_max_ack_delay=self.handshake_confirmed)
        count = self._pto_count
        if not count:
            return timeout
        most = MAX_BACKOFF if count <= LATE_AFTER else LATE_BACKOFF
        return float(min(timeout * 2 ** min(count, 16), max(most, timeout)))

    def on_loss_detection_timeout(self, *, now: float) -> None:
        """The time of :meth:`get_loss_detection_time` has come."""
        first: Space | None = None
        for space in self._spaces:
            if space.loss_time is not None and (first is None or space.loss_time < (first.loss_time or 0.0)):
                first = space
        if first is not None:
            self._detect_loss(now, first, self._records[first])
        else:
            self._pto_count += 1
            self.probing = True
            self.reschedule_data(now=now)

    def reschedule_data(self, *, now: float, speed_up_handshake: bool = False) -> None:
        """Send again all CRYPTO data, or if there are none the oldest packets (RFC 9002, section 6.2.4),
        these not to speed up a handshake (6.2.3)."""
        is_crypto = False
        for space in self._spaces:
            packets = [packet for packet in space.sent_packets.values() if packet.is_crypto_packet]
            if packets:
                self._forget(packets, now, space, self._records[space], for_probe=True)
                is_crypto = True
        if not is_crypto and not speed_up_handshake:
            for space in self._spaces:
                if space.is_application_data and not self.handshake_confirmed:
                    continue
                oldest: list[Any] = []
                for packet in space.sent_packets.values():
                    if packet.is_ack_eliciting and packet.in_flight:
                        oldest.append(packet)
                        if len(oldest) == PROBES:
                            break
                if oldest:
                    self._forget(oldest, now, space, self._records[space], for_probe=True)
        self._send_probe()


def _known(ranges: Sequence[range], sent: Collection[int], lost: Collection[int]) -> Iterable[int]:
    """The numbers in ``ranges``, or at least those of known packets, ascending. The peer chooses the number
    of ranges, so the packets are searched once for all of them."""
    if sum(map(len, ranges)) <= max(_SMALL, len(sent)):
        return chain.from_iterable(ranges)
    numbers_known = sorted([*sent, *lost])
    found: list[int] = []
    for numbers in ranges:
        found += numbers_known[
            bisect_left(numbers_known, numbers.start) : bisect_left(numbers_known, numbers.stop)
        ]
    return found
