"""CONNECTION_CLOSE without a connection: a client is refused, and nothing is kept of it."""

from __future__ import annotations

from typing import Final

from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder

from quicdist.carrier.quic.driver.long_header import LongHeader

#: Type, error code, frame type, and the length of the reason, at most.
_FRAME: Final = 1 + 8 + 8 + 2
#: Bytes of a reason at most: the packet stays far below three times what it answers (RFC 9000, section 8.1).
_REASON: Final = 256
_SIZE: Final = 1200


def connection_refused(header: LongHeader, reason: str) -> bytes:
    """The answer to an Initial packet with ``header`` when no connection is wanted."""
    return _connection_close(header, QuicErrorCode.CONNECTION_REFUSED, reason)


def invalid_token(header: LongHeader) -> bytes:
    """The answer to a token of ours that is not good any more (RFC 9000, section 8.1.3): the client takes
    no second Retry, and would wait in vain."""
    return _connection_close(header, QuicErrorCode.INVALID_TOKEN, "")


def _connection_close(header: LongHeader, code: int, reason: str) -> bytes:
    """An Initial packet with CONNECTION_CLOSE (RFC 9000, sections 10.2.3 and 19.19), protected with keys
    that both ends make of the client's first connection id (RFC 9001, section 5.2)."""
    crypto = CryptoPair()
    crypto.setup_initial(header.destination, is_client=False, version=header.version)
    builder = QuicPacketBuilder(
        host_cid=header.destination,
        peer_cid=header.source,
        version=header.version,
        is_client=False,
        max_datagram_size=_SIZE,
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    text = reason.encode()[:_REASON]
    frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=_FRAME + len(text))
    frame.push_uint_var(code)
    frame.push_uint_var(QuicFrameType.PADDING)
    frame.push_uint_var(len(text))
    frame.push_bytes(text)
    datagrams, _ = builder.flush()
    return datagrams[0]
