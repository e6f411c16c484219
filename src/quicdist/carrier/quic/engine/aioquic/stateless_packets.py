"""Packets that a listener sends without a connection: nothing is kept of whom they answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
)
from aioquic.quic.packet_builder import QuicPacketBuilder

from quicdist.carrier.quic.engine.wire.long_header import LongHeader

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


def retry(header: LongHeader, retry_id: bytes, token: bytes) -> bytes:
    """A Retry packet in answer to an Initial packet with ``header``: the client is to begin anew, with
    ``token`` and to the connection id ``retry_id`` (RFC 9000, section 17.2.5)."""
    return encode_quic_retry(
        version=header.version,
        source_cid=retry_id,
        destination_cid=header.source,
        original_destination_cid=header.destination,
        retry_token=token,
    )


def version_negotiation(header: LongHeader, versions: Sequence[int]) -> bytes:
    """A Version Negotiation packet in answer to a packet of a version that is none of ``versions``
    (RFC 9000, section 17.2.1)."""
    return encode_quic_version_negotiation(
        source_cid=header.destination,
        destination_cid=header.source,
        supported_versions=list(versions),
    )
