"""What ``quicdist decode`` does: bytes from text, terms and messages from bytes."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator

import click

from quicdist import DecodeError, format_term
from quicdist.cli.json_terms import dumps
from quicdist.cli.messages import message_json, message_text
from quicdist.protocol import DEFAULT_FLAGS, DistConnection, LocalIdentity, Peer, ProtocolError, StreamPlan
from quicdist.term import Codec

_VERSION = 131
_COMPRESSED = 80
#: Atoms stay as they are, ``undefined`` too.
_CODEC = Codec(none=None)
_HEX = re.compile(rb"(?:0[xX])?[0-9A-Fa-f]*")


def raw_bytes(data: bytes, form: str, *, frames: bool) -> bytes:
    """The bytes that ``data`` stands for in ``form``. Raises :class:`click.UsageError`."""
    if form == "auto" and (data[:1] == bytes((_VERSION,)) or (frames and _is_frame(data))):
        form = "bytes"
    if form == "bytes":
        return data
    text = b"".join(data.split())
    if text.startswith(b"<<") and text.endswith(b">>"):
        return _of_binary(text)
    if form in ("auto", "hex") and _HEX.fullmatch(text) and text:
        try:
            return bytes.fromhex(text.decode().removeprefix("0x").removeprefix("0X"))
        except ValueError as error:
            raise click.UsageError(f"an odd number of hex digits: {len(text)}") from error
    if form == "hex":
        raise click.UsageError("this is no hex: expected pairs of the digits 0 to 9 and a to f")
    padded = text.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except binascii.Error as error:
        what = "no base64" if form == "base64" else "neither a term (first byte 131), nor hex, nor base64"
        raise click.UsageError(f"this is {what}: {error}") from error


def _of_binary(text: bytes) -> bytes:
    """A binary in Erlang's syntax, as a shell prints it."""
    import quicdist

    try:
        found = quicdist.parse_term(text.decode())
    except (quicdist.ParseError, UnicodeDecodeError) as error:
        raise click.UsageError(f"this is no binary in Erlang's syntax: {error}") from error
    if not isinstance(found, bytes):
        raise click.UsageError("this is no binary in Erlang's syntax")
    return found


def _is_frame(data: bytes) -> bool:
    return len(data) >= 4 and data[:1] == b"\0"


def decoded_terms(data: bytes, *, as_json: bool) -> Iterator[str]:
    """A text for each term. Raises :class:`~quicdist.DecodeError`."""
    at = 0
    while True:
        if at < len(data) and data[at] != _VERSION:
            raise DecodeError(f"expected the version byte {_VERSION}, got {data[at]}", offset=at)
        if data[at + 1 : at + 2] == bytes((_COMPRESSED,)):
            inflater = zlib.decompressobj()
            try:
                inflater.decompress(data[at + 6 :], _CODEC.limits.max_size)
            except zlib.error as error:
                raise DecodeError(
                    f"a compressed term that zlib cannot read: {error}", offset=at + 6
                ) from None
            end = len(data) - len(inflater.unused_data)
            term = _CODEC.binary_to_term(data[at:end])
        elif len(data) - at < 2:
            raise DecodeError(f"no term in {len(data) - at} bytes", offset=at)
        else:
            term, end = _CODEC.decode(data, at + 1)
        yield dumps(term) if as_json else format_term(term, "~tp")
        if end == len(data):
            return
        at = end


def decoded_frames(data: bytes, *, as_json: bool) -> Iterator[str]:
    """A text for each message. Raises :class:`~quicdist.protocol.ProtocolError`."""
    peer = Peer("the file", 0, DEFAULT_FLAGS, DEFAULT_FLAGS)
    connection = DistConnection(
        peer, LocalIdentity("decode@nohost", 0), codec=_CODEC, streams=StreamPlan.single()
    )
    for message in connection.receive_by_frames(0, data):
        if message is not None:
            yield message_json(*message) if as_json else message_text(*message)
    if missing := _missing(data):
        raise ProtocolError(peer.name, f"{missing} bytes of the last frame are missing")


def _missing(data: bytes) -> int:
    """How many bytes of the last frame are missing."""
    at = 0
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 4].ljust(4, b"\0"))
    return at - len(data)
