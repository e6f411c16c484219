"""The messages of the version 6 handshake, in bytes, without their framing.

Source: ERTS User's Guide, *Distribution Protocol*, *Distribution Handshake*; OTP's ``dist_util``.
"""

from __future__ import annotations

import hashlib
import struct
from enum import StrEnum
from typing import NamedTuple

from quicdist.protocol.errors import MalformedHandshake, shown
from quicdist.protocol.flags import DistFlag, expand
from quicdist.protocol.names import MAX_NODE_NAME, encode_name

NAME_HEADER = struct.Struct(">cQIH")  # 'N', flags, creation, length of the name
CHALLENGE_HEADER = struct.Struct(">cQIIH")  # 'N', flags, challenge, creation, length of the name
OLD_NAME_HEADER = struct.Struct(">cHI")  # 'n', version, low flags
COMPLEMENT = struct.Struct(">cII")  # 'c', high flags, creation
NAMED_LENGTH = struct.Struct(">H")
REPLY = struct.Struct(">cI16s")  # 'r', challenge, digest
ACK = struct.Struct(">c16s")  # 'a', digest

NAMED_PREFIX = b"snamed:"
#: The limit for a handshake message, extra data included, in bytes.
MAX_MESSAGE = 2048


class Status(StrEnum):
    """The answer of an acceptor to a name."""

    OK = "ok"
    OK_SIMULTANEOUS = "ok_simultaneous"
    NOK = "nok"
    NOT_ALLOWED = "not_allowed"
    ALIVE = "alive"
    NAMED = "named:"


class Due(StrEnum):
    """The kinds of message, called as errors call them."""

    NAME = "a name message"
    STATUS = "a status"
    ANSWER = "true or false in answer to the status alive"
    CHALLENGE = "a challenge"
    COMPLEMENT = "a complement"
    REPLY = "a challenge reply"
    ACK = "a challenge acknowledgement"


class NameMessage(NamedTuple):
    flags: DistFlag
    creation: int
    name: str
    #: In the format of version 5, which lacks the high flags and the creation: a complement follows.
    old: bool = False


class ComplementMessage(NamedTuple):
    flags: int
    creation: int


class StatusMessage(NamedTuple):
    status: Status
    name: str = ""
    creation: int = 0


class ChallengeMessage(NamedTuple):
    flags: DistFlag
    challenge: int
    creation: int
    name: str


class ReplyMessage(NamedTuple):
    challenge: int
    digest: bytes


def gen_digest(challenge: int, cookie: str) -> bytes:
    """MD5 of the cookie followed by the challenge in decimal (``dist_util:gen_digest/2``).

    The cookie is an atom of Latin-1 characters; raises :class:`UnicodeEncodeError` for another.
    """
    text = cookie.encode("latin-1") + b"%d" % challenge
    return hashlib.md5(text, usedforsecurity=False).digest()


# -- encoding ----------------------------------------------------------------------------------


def encode_name_message(flags: int, creation: int, name: str) -> bytes:
    raw = encode_name(name)
    return NAME_HEADER.pack(b"N", flags, creation, len(raw)) + raw


def encode_status(status: Status, name: str = "", creation: int = 0) -> bytes:
    head = b"s" + status.encode()
    if status is Status.NAMED:
        raw = name.encode()  # unlike elsewhere UTF-8: dist_util:send_status/2
        return head + NAMED_LENGTH.pack(len(raw)) + raw + struct.pack(">I", creation)
    return head


def encode_answer(go_on: bool) -> bytes:
    return b"strue" if go_on else b"sfalse"


def encode_challenge(flags: int, challenge: int, creation: int, name: str) -> bytes:
    raw = encode_name(name)
    return CHALLENGE_HEADER.pack(b"N", flags, challenge, creation, len(raw)) + raw


def encode_reply(challenge: int, digest: bytes) -> bytes:
    return REPLY.pack(b"r", challenge, digest)


def encode_ack(digest: bytes) -> bytes:
    return ACK.pack(b"a", digest)


# -- decoding: one whole message each. Extra data is ignored where the protocol says so. ---------


def decode_name_message(message: bytes, node: str) -> NameMessage:
    if message[:1] == b"n" and len(message) > OLD_NAME_HEADER.size:
        # Its version is not looked at, as in OTP: it is 5 from nodes of version 6 too.
        _, _, flags = OLD_NAME_HEADER.unpack_from(message)
        name = message[OLD_NAME_HEADER.size :]
        return NameMessage(expand(flags), 0, _name(name, 0, len(name), Due.NAME, node), old=True)
    if message[:1] != b"N" or len(message) < NAME_HEADER.size:
        raise MalformedHandshake(node, Due.NAME, shown(message))
    _, flags, creation, length = NAME_HEADER.unpack_from(message)
    return NameMessage(expand(flags), creation, _name(message, NAME_HEADER.size, length, Due.NAME, node))


def decode_complement(message: bytes, node: str) -> ComplementMessage:
    """The rest of an old name message; ``flags`` are the high ones, in their place."""
    if message[:1] != b"c" or len(message) != COMPLEMENT.size:
        raise MalformedHandshake(node, Due.COMPLEMENT, shown(message))
    _, high, creation = COMPLEMENT.unpack(message)
    return ComplementMessage(high << 32, creation)


def check_version(message: bytes, node: str) -> None:
    """Refuse the name message of version 5, ``'n'``, version, flags, name: its end is that of the packet."""
    if message[:1] == b"n":
        version = int.from_bytes(message[1:3], "big") if len(message) >= 3 else "unknown"
        raise MalformedHandshake(node, Due.NAME, f"one of version {version}, as nodes before OTP 23 send")


def decode_status(message: bytes, node: str) -> StatusMessage:
    if message.startswith(NAMED_PREFIX):
        start = len(NAMED_PREFIX) + 2
        if len(message) >= start:
            (length,) = NAMED_LENGTH.unpack_from(message, len(NAMED_PREFIX))
            raw, creation = message[start : start + length], message[start + length : start + length + 4]
            if len(creation) == 4:
                try:
                    return StatusMessage(Status.NAMED, raw.decode(), int.from_bytes(creation, "big"))
                except UnicodeDecodeError:
                    pass
    elif message[:1] == b"s":
        for status in Status:
            if message[1:] == status.encode():
                return StatusMessage(status)
    raise MalformedHandshake(node, f"{Due.STATUS} ({', '.join(Status)})", shown(message))


def decode_answer(message: bytes, node: str) -> bool:
    if message not in (b"strue", b"sfalse"):
        raise MalformedHandshake(node, Due.ANSWER, shown(message))
    return message == b"strue"


def decode_challenge(message: bytes, node: str) -> ChallengeMessage:
    if message[:1] != b"N" or len(message) < CHALLENGE_HEADER.size:
        raise MalformedHandshake(node, Due.CHALLENGE, shown(message))
    _, flags, challenge, creation, length = CHALLENGE_HEADER.unpack_from(message)
    name = _name(message, CHALLENGE_HEADER.size, length, Due.CHALLENGE, node)
    return ChallengeMessage(expand(flags), challenge, creation, name)


def decode_reply(message: bytes, node: str) -> ReplyMessage:
    if message[:1] != b"r" or len(message) != REPLY.size:
        raise MalformedHandshake(node, Due.REPLY, shown(message))
    _, challenge, digest = REPLY.unpack(message)
    return ReplyMessage(challenge, digest)


def decode_ack(message: bytes, node: str) -> bytes:
    if message[:1] != b"a" or len(message) != ACK.size:
        raise MalformedHandshake(node, Due.ACK, shown(message))
    return message[1:]


def _name(message: bytes, start: int, length: int, due: Due, node: str) -> str:
    check_name_length(length, due, node)
    if len(message) < start + length:
        raise MalformedHandshake(node, f"{due} with a name of {length} bytes", shown(message))
    return message[start : start + length].decode("latin-1")


def check_name_length(length: int, due: Due, node: str) -> None:
    """Refuse a name longer than an atom can be, before any of it is waited for."""
    limit = MAX_NODE_NAME * 2 if due is Due.STATUS else MAX_NODE_NAME  # UTF-8 there, Latin-1 elsewhere
    if not 1 <= length <= limit:
        raise MalformedHandshake(
            node, f"{due} with a name of 1 to {limit} bytes", f"a name of {length} bytes"
        )
