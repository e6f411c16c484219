"""Hangs our loss recovery into aioquic's connection, in place of its ``QuicPacketRecovery``.

aioquic makes its own in its constructor and offers no choice. Its loss detection counts packets alone
where others overtake them, forgets a lost packet at once, so that it cannot arrive after all, and lets a
window grow that is not used. What stands here has the names that aioquic calls;
``tests/carrier/test_aioquic_loss_recovery.py`` fails where a new aioquic calls others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicSentPacket
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.recovery.congestion import Algorithm, Congestion
from quicdist.carrier.quic.engine.recovery.loss_recovery import LossRecovery
from quicdist.carrier.quic.engine.recovery.pacer import Pacer
from quicdist.carrier.quic.engine.recovery.rtt import RoundTrips


class _Window(Congestion):
    """Congestion control with the names of aioquic's."""

    __slots__ = ()

    @property
    def _max_datagram_size(self) -> int:
        return self.datagram_size

    @_max_datagram_size.setter
    def _max_datagram_size(self, size: int) -> None:
        self.datagram_size = size

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        for packet in packets:
            self.on_gone(packet.sent_bytes)


class _Pacer(Pacer):
    """A pacer with the names of aioquic's."""

    __slots__ = ()
    #: aioquic's rate, which is set anew when datagrams become longer. Ours counts bytes.
    packet_time: None = None

    @property
    def _max_datagram_size(self) -> int:
        return self._datagram

    @_max_datagram_size.setter
    def _max_datagram_size(self, size: int) -> None:
        self.set_datagram_size(size)

    def update_after_send(self, now: float) -> None:
        self.built()


class Recovery(LossRecovery):
    """Loss recovery with the names of aioquic's ``QuicPacketRecovery``."""

    def __init__(self, quic: QuicConnection) -> None:
        configuration = quic.configuration
        size = quic._max_datagram_size
        algorithm = configuration.congestion_control_algorithm
        if algorithm not in ("cubic", "reno"):
            raise ValueError(f"congestion control {algorithm!r} is none of cubic, reno")
        super().__init__(
            _Window(size, cast(Algorithm, algorithm)),
            _Pacer(size),
            RoundTrips(configuration.initial_rtt),
            acked=QuicDeliveryState.ACKED,
            lost=QuicDeliveryState.LOST,
            send_probe=quic._send_probe,
            address_validated=not configuration.is_client,
        )

    @property
    def _cc(self) -> _Window:
        return cast(_Window, self.congestion)

    @property
    def _pacer(self) -> _Pacer:
        return cast(_Pacer, self.pacer)

    @property
    def _rtt_min(self) -> float:
        return self.rtt.minimum

    @property
    def _rtt_smoothed(self) -> float:
        return self.rtt.smoothed

    @property
    def bytes_in_flight(self) -> int:
        return self.congestion.bytes_in_flight

    @property
    def congestion_window(self) -> int:
        # A packet that begins within the window may end beyond it: else what is left of the window would be
        # filled with packets that are ever smaller.
        congestion = self.congestion
        in_flight, size = congestion.bytes_in_flight, congestion.datagram_size
        return in_flight + -(-(congestion.congestion_window - in_flight) // size) * size

    def _on_packets_lost(
        self,
        *,
        congestion_event: Literal[False],
        now: float,
        packets: Iterable[QuicSentPacket],
        space: QuicPacketSpace,
    ) -> None:
        """Send again what was in ``packets``, which are not lost by congestion."""
        self._forget(packets, now, cast(Any, space), self._records.get(cast(Any, space)), for_probe=True)


class Recovering(QuicConnection):
    """A connection with our loss recovery."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._loss = Recovery(self)  # type: ignore[assignment]  # it has what aioquic calls

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        datagrams = super().datagrams_to_send(now)
        loss = self._loss
        assert isinstance(loss, Recovery)
        if loss.probing:
            loss.probing = False
            if len(datagrams) == 1:
                # A probe timeout sends two datagrams, for one may be lost (RFC 9002, section 6.2.4).
                loss.reschedule_data(now=now)
                datagrams += super().datagrams_to_send(now)
        return datagrams


def rounds(quic: QuicConnection) -> tuple[int, float, int]:
    """How many round trips of data there were, the shortest round-trip time of the last one in seconds, and
    the congestion window in bytes."""
    loss = quic._loss
    if not isinstance(loss, Recovery):
        return 0, 0.0, loss.congestion_window
    congestion = loss.congestion
    return congestion.rounds, congestion.round_rtt, congestion.congestion_window


def acknowledge_now(quic: QuicConnection, now: float) -> None:
    """Send an acknowledgement that is due later with the next packet: aioquic waits for more to
    acknowledge with it, or for something to send it with."""
    space = quic._spaces.get(Epoch.ONE_RTT)
    if space is not None and space.ack_at is not None:
        space.ack_at = min(space.ack_at, now)


def early_data_refused(quic: QuicConnection, now: float) -> None:
    """Have the early data sent again at once. aioquic takes their packets for ones that may still be
    acknowledged, and waits for a probe timeout before it sends them again."""
    space = quic._spaces[Epoch.ONE_RTT]
    refused = [sent for sent in space.sent_packets.values() if sent.packet_type is QuicPacketType.ZERO_RTT]
    quic._loss._on_packets_lost(congestion_event=False, now=now, packets=refused, space=space)
