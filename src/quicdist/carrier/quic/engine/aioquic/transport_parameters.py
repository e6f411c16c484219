"""Transport parameters of our own: what quicdist nodes can do that quic_dist cannot.

A peer that does not know one skips it (RFC 9000, section 7.4.2); the numbers are out of the range for
private use (section 22.3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

from aioquic.buffer import Buffer, BufferReadError  # type: ignore[attr-defined]  # as its examples do
from aioquic.quic.connection import QuicConnection
from aioquic.tls import ExtensionType

#: A listener takes early data for what they are. Only such a one is sent any: quic_dist reads them, answers
#: with packets that no client can read, and goes on with a full handshake as if they had not been.
EARLY_DATA: Final = 0x1E6C_71D1_57EA_7101
#: What is large is sent so that what is little does not wait behind it, and in parts where a window
#: has no room for all of it. quic_dist writes all that the window allows, in whole pieces.
PACED: Final = 0x1E6C_71D1_57EA_7110
#: A dialler takes messages of the handshake that reach it together. To quic_dist what lies in its
#: buffer is one message.
JOINED_MESSAGES: Final = 0x1E6C_71D1_57EA_7102
#: Takes datagrams of any length, and probes of what the path takes. quic_dist has its own for what it
#: sends, and is sent no longer ones than those.
LONG_DATAGRAMS: Final = 0x1E6C_71D1_57EA_7103

#: RFC 9000, section 18.2, and its value where none is given.
_MAX_UDP_PAYLOAD_SIZE: Final = 0x03
_LONGEST: Final = 65527

#: The extensions of a TLS message, as aioquic gives them.
Extensions = Iterable[tuple[int, bytes]]


def says(extensions: Extensions, parameter: int) -> bool:
    """Whether ``parameter`` is among the transport parameters there."""
    return any(number == parameter for number, _ in _parameters(extensions))


def is_quicdist(quic: QuicConnection) -> bool:
    """Whether the peer has said that it is a node of quicdist; False while nothing is known of it."""
    context = getattr(quic, "tls", None)  # a server has none before its first packet
    return context is not None and says(context.received_extensions or (), PACED)


def max_udp_payload_size(extensions: Extensions) -> int:
    """The longest datagram that is taken, in bytes."""
    for number, value in _parameters(extensions):
        if number == _MAX_UDP_PAYLOAD_SIZE:
            return Buffer(data=value).pull_uint_var()
    return _LONGEST


def encoded(parameter: int) -> bytes:
    """``parameter``, with no value, as one more of the transport parameters (RFC 9000, section 18)."""
    buffer = Buffer(capacity=16)
    buffer.push_uint_var(parameter)
    buffer.push_uint_var(0)
    return bytes(buffer.data)


def _parameters(extensions: Extensions) -> Iterator[tuple[int, bytes]]:
    for kind, encoded in extensions:
        if kind == ExtensionType.QUIC_TRANSPORT_PARAMETERS:
            buffer = Buffer(data=encoded)
            with contextlib.suppress(BufferReadError):  # aioquic has refused by now what is malformed
                while not buffer.eof():
                    yield buffer.pull_uint_var(), buffer.pull_bytes(buffer.pull_uint_var())
