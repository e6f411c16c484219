"""What of aioquic's recovery tells whether a peer is still there."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.contract import UNLIMITED


def packets_sent(quic: QuicConnection) -> int:
    """How many packets were ever sent, which is the number of the next one. aioquic counts them in their
    numbers alone."""
    return quic._packet_number


def probe_timeout(quic: QuicConnection) -> float:
    """Seconds after which a packet that is not acknowledged is asked after (RFC 9002, section 6.2.1); aioquic
    shows only the next time at which anything is due."""
    return quic._loss.get_probe_timeout()


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


def stream_exists(quic: QuicConnection, stream_id: int) -> bool:
    """Whether aioquic still has the stream: it drops one whose both ends are over, and raises for
    whatever is done to it afterwards."""
    return stream_id in quic._streams


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


def timeouts(quic: QuicConnection) -> int:
    """How many probe timeouts (RFC 9002, section 6.2) there were with nothing acknowledged since."""
    return quic._loss._pto_count
