"""Packets that a listener sends without a connection."""

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
#: The maximum length of a reason, in bytes: the packet stays below three times the one it answers (RFC 9000,
#: section 8.1).
_REASON: Final = 256
_SIZE: Final = 1200


def connection_refused(header: LongHeader, reason: str) -> bytes:
    """CONNECTION_CLOSE with CONNECTION_REFUSED, in answer to an Initial packet with ``header``."""
    return _connection_close(header, QuicErrorCode.CONNECTION_REFUSED, reason)


def invalid_token(header: LongHeader) -> bytes:
    """CONNECTION_CLOSE with INVALID_TOKEN, in answer to an expired token of ours (RFC 9000, section 8.1.3). A
    client does not accept a second Retry, and would wait until its timeout."""
    return _connection_close(header, QuicErrorCode.INVALID_TOKEN, "")


def _connection_close(header: LongHeader, code: int, reason: str) -> bytes:
    """An Initial packet with CONNECTION_CLOSE (RFC 9000, sections 10.2.3 and 19.19). Its keys are derived
    from the client's first connection id (RFC 9001, section 5.2)."""
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
    """A Retry packet in answer to an Initial packet with ``header``: the client begins again, with ``token``
    and to the connection id ``retry_id`` (RFC 9000, section 17.2.5)."""
    return encode_quic_retry(
        version=header.version,
        source_cid=retry_id,
        destination_cid=header.source,
        original_destination_cid=header.destination,
        retry_token=token,
    )


def version_negotiation(header: LongHeader, versions: Sequence[int]) -> bytes:
    """A Version Negotiation packet that offers ``versions`` (RFC 9000, section 17.2.1)."""
    return encode_quic_version_negotiation(
        source_cid=header.destination,
        destination_cid=header.source,
        supported_versions=list(versions),
    )
