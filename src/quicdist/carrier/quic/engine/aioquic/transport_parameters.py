"""Transport parameters (RFC 9000, section 18), including those that aioquic does not know."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

from aioquic.buffer import Buffer, BufferReadError  # type: ignore[attr-defined]  # as its examples do
from aioquic.quic.connection import QuicConnection
from aioquic.tls import ExtensionType

from quicdist.carrier.quic.engine.own_parameters import PACED

#: The number and the default value of max_udp_payload_size (RFC 9000, section 18.2).
_MAX_UDP_PAYLOAD_SIZE: Final = 0x03
_LONGEST: Final = 65527

#: The extensions of a TLS message: types and contents.
Extensions = Iterable[tuple[int, bytes]]


def says(extensions: Extensions, parameter: int) -> bool:
    """Whether ``parameter`` is among the transport parameters in ``extensions``."""
    return any(number == parameter for number, _ in _parameters(extensions))


def peer_says(quic: QuicConnection, parameter: int) -> bool:
    """Whether the peer has sent ``parameter``; False before its parameters have come."""
    context = getattr(quic, "tls", None)  # a server has none before its first packet
    return context is not None and says(context.received_extensions or (), parameter)


def is_quicdist(quic: QuicConnection) -> bool:
    """Whether the peer is quicdist; False before its parameters have come."""
    return peer_says(quic, PACED)


def peer_max_datagram(quic: QuicConnection) -> int:
    """The longest datagram that the peer takes, in bytes."""
    return max_udp_payload_size(quic.tls.received_extensions or ())


def max_udp_payload_size(extensions: Extensions) -> int:
    """The value of max_udp_payload_size, in bytes."""
    for number, value in _parameters(extensions):
        if number == _MAX_UDP_PAYLOAD_SIZE:
            return Buffer(data=value).pull_uint_var()
    return _LONGEST


def encoded(parameter: int) -> bytes:
    """``parameter``, with an empty value, as a transport parameter (RFC 9000, section 18)."""
    buffer = Buffer(capacity=16)
    buffer.push_uint_var(parameter)
    buffer.push_uint_var(0)
    return bytes(buffer.data)


def _parameters(extensions: Extensions) -> Iterator[tuple[int, bytes]]:
    for kind, encoded in extensions:
        if kind == ExtensionType.QUIC_TRANSPORT_PARAMETERS:
            buffer = Buffer(data=encoded)
            with contextlib.suppress(BufferReadError):  # aioquic has refused malformed ones by now
                while not buffer.eof():
                    yield buffer.pull_uint_var(), buffer.pull_bytes(buffer.pull_uint_var())
