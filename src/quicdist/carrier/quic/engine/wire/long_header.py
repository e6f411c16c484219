"""The unprotected part of packets with a long header (RFC 8999, section 5.1; RFC 9000, section 17.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

from quicdist.carrier.quic.engine.wire import frames as wire

#: The bit that packets with a long header have set.
LONG: Final = 0x80
#: The version field of a Version Negotiation packet (RFC 8999, section 6).
VERSION_NEGOTIATION: Final = 0
#: The type bits of long headers in QUIC version 1, and those of an Initial packet.
_TYPE: Final = 0x30
_INITIAL: Final = 0x00
#: The longest connection id of version 1, and the shortest that a client may choose for the server (RFC 9000,
#: sections 17.2 and 7.2).
MAX_ID: Final = 20
MIN_FIRST_ID: Final = 8


class LongHeader(NamedTuple):
    """Version, destination and source connection id of a packet: the same in all versions of QUIC."""

    version: int
    destination: bytes
    source: bytes
    #: Where it ends.
    end: int


def long_header(data: bytes) -> LongHeader | None:
    """The header of a packet that begins with a long header; None if it is cut short or an id is too
    long. Whether :data:`LONG` is set is not checked."""
    try:
        source = 6 + data[5]
        end = source + 1 + data[source]
    except IndexError:
        return None
    if end > len(data) or data[5] > MAX_ID or data[source] > MAX_ID:
        return None
    return LongHeader(int.from_bytes(data[1:5]), data[6:source], data[source + 1 : end], end)


def is_initial(data: bytes) -> bool:
    """Whether a packet of version 1 with a long header is an Initial."""
    return data[0] & _TYPE == _INITIAL


def initial_token(data: bytes, header: LongHeader) -> bytes | None:
    """The token of an Initial packet, empty if it has none; None if it is cut short."""
    try:
        length, at = wire.read_uint(data, header.end)
    except IndexError:
        return None
    return data[at : at + length] if at + length <= len(data) else None
