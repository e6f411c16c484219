"""The messages of the port mapper daemon, as bytes; no I/O.

Source: ERTS User's Guide, *Distribution Protocol*, section *EPMD Protocol*.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from quicdist.discovery.contract import RegisteredName

#: Requests and answers, by their first byte.
ALIVE2_REQ = ord("x")
ALIVE2_RESP = ord("y")
ALIVE2_X_RESP = ord("v")
PORT_PLEASE2_REQ = ord("z")
PORT2_RESP = ord("w")
NAMES_REQ = ord("n")

#: The distribution versions this package speaks: 6 only, the handshake of OTP 23 and later.
HIGHEST_VERSION = 6
LOWEST_VERSION = 6

#: Protocol 0 is TCP over IPv4 or IPv6, the only one there is.
_PROTOCOL_TCP = 0


class NodeType(IntEnum):
    """The type of a node, for epmd."""

    HIDDEN = ord("H")
    NORMAL = ord("M")


class MalformedAnswer(ValueError):
    """Bytes that are not an answer of epmd's protocol; the client raises them as an EpmdError."""


class PortInfo(NamedTuple):
    """PORT2_RESP of a node that is registered."""

    port: int
    node_type: int
    protocol: int
    highest_version: int
    lowest_version: int


def _request(body: bytes) -> bytes:
    return struct.pack(">H", len(body)) + body


def alive2_req(name: str, port: int, node_type: NodeType) -> bytes:
    """Register ``name`` (without host) at ``port``."""
    encoded = name.encode()
    return _request(
        struct.pack(
            f">BHBBHHH{len(encoded)}sH",
            *(ALIVE2_REQ, port, node_type, _PROTOCOL_TCP, HIGHEST_VERSION, LOWEST_VERSION),
            *(len(encoded), encoded, 0),
        )
    )


def port_please2_req(name: str) -> bytes:
    """Ask for the port of ``name`` (without host)."""
    return _request(bytes((PORT_PLEASE2_REQ,)) + name.encode())


def names_req() -> bytes:
    """Ask for all nodes of that host."""
    return _request(bytes((NAMES_REQ,)))


#: How long each answer to ALIVE2_REQ is: a creation of 16 bits before OTP 23, of 32 since.
_ALIVE2_ANSWERS = {ALIVE2_RESP: struct.Struct(">BBH"), ALIVE2_X_RESP: struct.Struct(">BBI")}


def alive2_answer_size(tag: int) -> int:
    """How many bytes an answer to ALIVE2_REQ that begins with ``tag`` has."""
    if tag not in _ALIVE2_ANSWERS:
        raise MalformedAnswer(
            f"answer to ALIVE2_REQ begins with {tag}, expected {ALIVE2_X_RESP} or {ALIVE2_RESP}"
        )
    return _ALIVE2_ANSWERS[tag].size


def alive2_answer(data: bytes) -> int | None:
    """The creation epmd gave, or None if it refused (it does so only for a name that is taken)."""
    _, result, creation = _ALIVE2_ANSWERS[data[0]].unpack(data)
    return creation if result == 0 else None


#: PORT2_RESP up to where the node's name begins; its first two bytes are all there is if it is unknown.
PORT2_HEAD = 2
_PORT2_BODY = struct.Struct(">HBBHH")
PORT2_BODY = _PORT2_BODY.size


def port2_head(data: bytes) -> bool:
    """Whether the node asked for is registered, from the first two bytes of the answer."""
    if data[0] != PORT2_RESP:
        raise MalformedAnswer(f"answer to PORT_PLEASE2_REQ begins with {data[0]}, expected {PORT2_RESP}")
    return data[1] == 0


def port2_body(data: bytes) -> PortInfo:
    """What follows the head if the node is registered; its name and extra data are not read."""
    info = PortInfo(*_PORT2_BODY.unpack(data))
    if info.port == 0:
        raise MalformedAnswer("PORT2_RESP with port 0")
    return info


#: NAMES_RESP begins with epmd's own port; the rest is lines of text until it closes.
NAMES_HEAD = 4


def names_body(data: bytes) -> list[RegisteredName]:
    """The lines ``name <name> at port <port>`` that follow epmd's own port."""
    return [_names_line(line) for line in data.split(b"\n") if line]


def _names_line(line: bytes) -> RegisteredName:
    words = line.split(b" ")
    if len(words) == 5 and words[0] == b"name" and words[2:4] == [b"at", b"port"] and words[4].isdigit():
        return RegisteredName(words[1].decode(errors="replace"), int(words[4]))
    raise MalformedAnswer(f"line {line[:80]!r} in NAMES_RESP, expected 'name NAME at port PORT'")


# -- the server's side -------------------------------------------------------------------------


class AliveRequest(NamedTuple):
    """ALIVE2_REQ: a node registers its name."""

    name: str
    port: int
    node_type: int
    highest_version: int


#: The body of ALIVE2_REQ before the name: tag, port, type, protocol, versions, length of the name.
_ALIVE2_BODY = struct.Struct(">BHBBHHH")
#: The limit for a request, in bytes: an atom of 255 characters, in UTF-8, and what goes with it.
MAX_REQUEST = 2048


def alive2_request(body: bytes) -> AliveRequest:
    """The body of an ALIVE2_REQ, without its length. Raises :class:`MalformedAnswer`."""
    if len(body) < _ALIVE2_BODY.size:
        raise MalformedAnswer(f"ALIVE2_REQ of {len(body)} bytes")
    _, port, node_type, _, highest, _, length = _ALIVE2_BODY.unpack_from(body)
    name = body[_ALIVE2_BODY.size : _ALIVE2_BODY.size + length]
    if len(name) < length or not port:
        raise MalformedAnswer(f"ALIVE2_REQ with port {port} and {len(name)} of {length} bytes of a name")
    return AliveRequest(_decoded_name(name), port, node_type, highest)


def port_please2_request(body: bytes) -> str:
    """The name in the body of a PORT_PLEASE2_REQ. Raises :class:`MalformedAnswer`."""
    return _decoded_name(body[1:])


def _decoded_name(name: bytes) -> str:
    try:
        decoded = name.decode()
    except UnicodeDecodeError as error:
        raise MalformedAnswer("a name that is not UTF-8") from error
    if not decoded or len(decoded) > 255 or not decoded.isprintable() or "@" in decoded:
        raise MalformedAnswer(f"{decoded[:80]!r} is not the name of a node without its host")
    return decoded


def alive2_response(request: AliveRequest, creation: int | None) -> bytes:
    """The answer to ALIVE2_REQ; a creation of None refuses the name."""
    result = int(creation is None)
    if request.highest_version >= HIGHEST_VERSION:
        return struct.pack(">BBI", ALIVE2_X_RESP, result, creation or 0)
    return struct.pack(">BBH", ALIVE2_RESP, result, (creation or 0) & 3)


def port2_response(name: str, port: int | None, node_type: int = NodeType.NORMAL) -> bytes:
    """The answer to PORT_PLEASE2_REQ; a port of None: the name is not registered."""
    if port is None:
        return bytes((PORT2_RESP, 1))
    raw = name.encode()
    body = _PORT2_BODY.pack(port, node_type, _PROTOCOL_TCP, HIGHEST_VERSION, LOWEST_VERSION)
    return bytes((PORT2_RESP, 0)) + body + struct.pack(f">H{len(raw)}sH", len(raw), raw, 0)


def names_response(port: int, names: Iterable[RegisteredName]) -> bytes:
    """The answer to NAMES_REQ of an epmd that listens at ``port``; the connection is closed after it."""
    lines = "".join(f"name {name.name} at port {name.port}\n" for name in names)
    return struct.pack(">I", port) + lines.encode()
