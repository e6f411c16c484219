"""Connects our loss detection (RFC 9002) to aioquic's connection, in place of its ``QuicPacketRecovery``.

aioquic makes its own in its constructor. Its loss detection takes reordered packets for lost ones, forgets a
lost packet at once, so that it cannot turn out to have arrived, and lets a window grow that is not used. The
class here has the methods that aioquic calls; ``tests/carrier/test_aioquic_recovery.py`` fails where another
version calls other ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.streams import OwnStreams
from quicdist.carrier.quic.engine.recovery.congestion import Algorithm, Congestion
from quicdist.carrier.quic.engine.recovery.loss_detection import LossDetection
from quicdist.carrier.quic.engine.recovery.pacer import Pacer
from quicdist.carrier.quic.engine.recovery.packet_space import Record, Space
from quicdist.carrier.quic.engine.recovery.rtt import RoundTrips


class _Pacer(Pacer):
    """A pacer with the name that aioquic calls."""

    __slots__ = ()

    def update_after_send(self, now: float) -> None:
        self.built()


class Recovery(LossDetection):
    """Loss recovery with the names of aioquic's ``QuicPacketRecovery``."""

    def __init__(self, quic: OwnStreams) -> None:
        configuration = quic.configuration
        size = quic._max_datagram_size
        algorithm = configuration.congestion_control_algorithm
        if algorithm not in ("cubic", "reno"):
            raise ValueError(f"congestion control {algorithm!r} is none of cubic, reno")
        super().__init__(
            Congestion(size, cast(Algorithm, algorithm)),
            _Pacer(size),
            RoundTrips(configuration.initial_rtt),
            acked=QuicDeliveryState.ACKED,
            lost=QuicDeliveryState.LOST,
            send_probe=quic._send_probe,
            address_validated=not configuration.is_client,
        )
        self._changed = quic._changed

    def _forget(
        self, packets: Iterable[Any], now: float, space: Space, record: Record | None, *, for_probe: bool
    ) -> None:
        self._changed.every = True
        super()._forget(packets, now, space, record, for_probe=for_probe)

    @property
    def _pacer(self) -> _Pacer:
        return cast(_Pacer, self.pacer)

    @property
    def bytes_in_flight(self) -> int:
        return self.congestion.bytes_in_flight

    @property
    def congestion_window(self) -> int:
        return self.congestion.bytes_in_flight + self.congestion.available


class OwnRecovery(OwnStreams):
    """A connection with :class:`Recovery`."""

    _loss: Recovery  # type: ignore[assignment]  # it has what aioquic calls

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._loss = Recovery(self)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        datagrams = super().datagrams_to_send(now)
        loss = self._loss
        if loss.probing:
            loss.probing = False
            if len(datagrams) == 1:
                # A probe timeout sends two datagrams, since one may be lost (RFC 9002, section 6.2.4).
                loss.reschedule_data(now=now)
                datagrams += super().datagrams_to_send(now)
        return datagrams


def rounds(quic: OwnRecovery) -> tuple[int, float, int]:
    """The number of round trips of data so far, the shortest round-trip time of the last one in seconds, and
    the congestion window in bytes."""
    congestion = quic._loss.congestion
    return congestion.rounds, congestion.round_rtt, congestion.congestion_window


def acknowledge_now(quic: QuicConnection, now: float) -> None:
    """Do not delay an acknowledgement that waits: send it with the next packet."""
    space = quic._spaces.get(Epoch.ONE_RTT)
    if space is not None and space.ack_at is not None:
        space.ack_at = min(space.ack_at, now)


def early_data_refused(quic: OwnRecovery, now: float) -> None:
    """The peer has rejected the early data: send them again at once. aioquic waits for a probe timeout, as if
    they could still be acknowledged."""
    space = quic._spaces[Epoch.ONE_RTT]
    refused = [sent for sent in space.sent_packets.values() if sent.packet_type is QuicPacketType.ZERO_RTT]
    quic._loss.retransmit(refused, now, space)
