"""What the kernel knows of a TCP connection (``TCP_INFO``, ``linux/tcp.h``)."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

from quicdist.carrier.contract import TransportStats

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
#: Up to tcpi_total_retrans: eight bytes, and 24 numbers of four.
_LAYOUT: Final = struct.Struct("=8B24I")
#: The places of the numbers.
_SND_MSS, _UNACKED, _RTT, _RTT_VARIANCE, _WINDOW, _RETRANSMITTED = 2, 4, 15, 16, 18, 23


def tcp_stats(sock: socket.socket | None) -> TransportStats:
    """Empty where the system has no TCP_INFO, or the socket is closed."""
    if sock is None or _TCP_INFO is None or sys.platform != "linux":
        return TransportStats()
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _LAYOUT.size)
    except OSError:
        return TransportStats()
    if len(data) < _LAYOUT.size:
        return TransportStats()
    numbers = _LAYOUT.unpack(data)[8:]
    return TransportStats(
        round_trip=numbers[_RTT] / 1e6 or None,
        round_trip_variation=numbers[_RTT_VARIANCE] / 1e6,
        retransmissions=numbers[_RETRANSMITTED],
        congestion_window=numbers[_WINDOW] * numbers[_SND_MSS],
        in_flight=numbers[_UNACKED] * numbers[_SND_MSS],
    )
