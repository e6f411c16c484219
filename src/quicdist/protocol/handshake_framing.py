"""Where one handshake message ends and the next begins.

Over TCP each is preceded by a 2-byte length, over TLS by one of 4 bytes (``inet_tls_dist`` sets
``{packet, 4}`` before the handshake). Over QUIC there is no such length: each message contains its own,
except the status, which is one of a closed set.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from quicdist.protocol.errors import MalformedHandshake, shown
from quicdist.protocol.handshake_messages import (
    ACK,
    CHALLENGE_HEADER,
    COMPLEMENT,
    MAX_MESSAGE,
    NAME_HEADER,
    NAMED_LENGTH,
    NAMED_PREFIX,
    REPLY,
    Due,
    Status,
    check_name_length,
    check_version,
)


class HandshakeFraming(Enum):
    """How a carrier delimits handshake messages."""

    PACKET_2 = 2  #: TCP: a 2-byte big-endian length before each message
    PACKET_4 = 4  #: TLS: a 4-byte one
    BARE = 0  #: QUIC, as quic_dist does it: nothing


def frame(message: bytes, framing: HandshakeFraming) -> bytes:
    """``message`` as it is written."""
    if framing is HandshakeFraming.BARE:
        return message
    return len(message).to_bytes(framing.value, "big") + message


class HandshakeBuffer:
    """Bytes in, whole messages out; never holds more than the longest message and one chunk."""

    def __init__(self, framing: HandshakeFraming) -> None:
        self._framing = framing
        self._bytes = b""

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def next(self, due: Due, node: str) -> bytes | None:
        """Take the next message, which has to be ``due``; None while it is not complete.

        Raises :class:`MalformedHandshake` as soon as the bytes cannot be one.
        """
        if self._framing is not HandshakeFraming.BARE:
            return self._next_prefixed(due, node)
        # quic_dist's ticker may already run on the control stream; a tick is four zero bytes.
        rest = self._bytes.lstrip(b"\0")
        zeros = len(self._bytes) - len(rest)
        self._bytes = self._bytes[zeros & ~3 :]
        if not rest:
            return None
        length = _MEASURE[due](self._bytes, due, node)
        if length is None or len(self._bytes) < length:
            return None
        message, self._bytes = self._bytes[:length], self._bytes[length:]
        return message

    def _next_prefixed(self, due: Due, node: str) -> bytes | None:
        header: int = self._framing.value
        if len(self._bytes) < header:
            return None
        length = int.from_bytes(self._bytes[:header], "big")
        if not 1 <= length <= MAX_MESSAGE:
            expected = f"{due} of 1 to {MAX_MESSAGE} bytes"
            raise MalformedHandshake(node, expected, f"{length} bytes: {shown(self._bytes[header:])}")
        end = header + length
        if len(self._bytes) < end:
            return None
        message, self._bytes = self._bytes[header:end], self._bytes[end:]
        return message

    def discard_extra_data(self) -> None:
        """Drop the bytes after the last message. The peer now waits for an answer, so over QUIC they are
        extra data of that message, which has no length of its own and is ignored."""
        if self._framing is HandshakeFraming.BARE:
            self._bytes = b""

    def check_bound(self, node: str) -> None:
        """Refuse a peer that sends more bytes than a handshake message can have."""
        if len(self._bytes) > 2 * MAX_MESSAGE:
            raise MalformedHandshake(
                node, f"at most {MAX_MESSAGE} bytes before an answer", f"{len(self._bytes)}"
            )

    def leftover(self) -> bytes:
        """The bytes received after the last message of the handshake."""
        rest, self._bytes = self._bytes, b""
        return rest


# -- the length of a bare message, None until enough bytes have come ------------------------------

_STATUSES = tuple(b"s" + status.encode() for status in Status if status is not Status.NAMED)
_ANSWERS = (b"strue", b"sfalse")


def _measure_name(data: bytes, due: Due, node: str) -> int | None:
    check_version(data, node)
    return _measure_named(data, due, node, NAME_HEADER.size)


def _measure_challenge(data: bytes, due: Due, node: str) -> int | None:
    return _measure_named(data, due, node, CHALLENGE_HEADER.size)


def _measure_named(data: bytes, due: Due, node: str, header: int) -> int | None:
    if data[:1] != b"N":
        raise MalformedHandshake(node, due, shown(data))
    if len(data) < header:
        return None
    length = int.from_bytes(data[header - 2 : header], "big")
    check_name_length(length, due, node)
    return header + length


def _measure_status(data: bytes, due: Due, node: str) -> int | None:
    if data.startswith(NAMED_PREFIX):
        start = len(NAMED_PREFIX) + 2
        if len(data) < start:
            return None
        (length,) = NAMED_LENGTH.unpack_from(data, len(NAMED_PREFIX))
        check_name_length(length, due, node)
        return start + int(length) + 4
    if NAMED_PREFIX.startswith(data):
        return None
    return _measure_word(data, _STATUSES, due, node)


def _measure_answer(data: bytes, due: Due, node: str) -> int | None:
    return _measure_word(data, _ANSWERS, due, node)


def _measure_word(data: bytes, words: tuple[bytes, ...], due: Due, node: str) -> int | None:
    """Of the closed set ``words``; only the byte after ``sok`` shows whether it is ``sok_simultaneous``."""
    if any(len(word) > len(data) and word.startswith(data) for word in words):
        return None
    found = [len(word) for word in words if data.startswith(word)]
    if not found:
        raise MalformedHandshake(node, due, shown(data))
    return max(found)


def _measure_fixed(tag: bytes, size: int) -> Callable[[bytes, Due, str], int | None]:
    def measure(data: bytes, due: Due, node: str) -> int | None:
        if data[:1] != tag:
            raise MalformedHandshake(node, due, shown(data))
        return size

    return measure


_MEASURE: dict[Due, Callable[[bytes, Due, str], int | None]] = {
    Due.NAME: _measure_name,
    Due.STATUS: _measure_status,
    Due.ANSWER: _measure_answer,
    Due.CHALLENGE: _measure_challenge,
    Due.COMPLEMENT: _measure_fixed(b"c", COMPLEMENT.size),
    Due.REPLY: _measure_fixed(b"r", REPLY.size),
    Due.ACK: _measure_fixed(b"a", ACK.size),
}
