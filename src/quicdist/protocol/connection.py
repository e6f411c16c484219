"""A distribution connection after its handshake, sans-I/O: messages to bytes and back.

Source: ERTS User's Guide, *Distribution Protocol*, *Protocol between Connected Nodes*.

With FRAGMENTS negotiated every message is sent in dist-header form (``131 68 0``, control message,
payload), a large one in fragments; without, in pass-through form (``112 131`` control message
``131`` payload), one frame whatever its size. A BEAM drops messages in the other form.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from struct import Struct
from typing import Any

from quicdist.protocol.control import ControlMessage, decode_control
from quicdist.protocol.control_messages import AliasSend, AltactSigSend, RegSend, Send, SendSender
from quicdist.protocol.downgrade import downgrades
from quicdist.protocol.errors import FrameError, FrameTooLong, ProtocolError, shown
from quicdist.protocol.flags import DistFlag
from quicdist.protocol.fragments import FRAGMENT_SIZE, MAX_PARTIAL_MESSAGES, FragmentAssembler, TooLong, split
from quicdist.protocol.frames import MAX_FRAME, TICK, Chunk, FrameReader
from quicdist.protocol.identity import LocalIdentity, Peer
from quicdist.protocol.payload import NO_PAYLOAD, EncodedPayload, RefusedPayload
from quicdist.protocol.streams import StreamKind, StreamPlan
from quicdist.term import Atom, Codec, DecodeError, EncodeError, Local

#: Messages of at most so many bytes are joined to one chunk: a copy is cheaper than several writes.
_JOIN = 16 * 1024

#: Messages from one process to another repeat the same control message. The last one sent and the last one
#: received on each stream are remembered in encoded form, if that has at most so many bytes.
_REMEMBERED = 512

#: A frame that fills a chunk of at most so many bytes is read without a :class:`FrameReader`, which keeps
#: longer ones as views.
_LONGEST_ALONE = 4096

_LENGTH_AND_HEADER = Struct(">IBBB")  # length, 131, 68, number of atom cache references
_LENGTH_AND_PASS_THROUGH = Struct(">IBB")  # length, 112, 131
_VERSION = b"\x83"
_are_equal = tuple.__eq__

#: The control messages that are remembered: those of messages from one process to another.
_REPEATED = frozenset({AliasSend, AltactSigSend, RegSend, Send, SendSender})


class DistConnection:
    """Encodes and decodes the messages of one connection.

    ``codec`` encodes and decodes the terms. Limits, in bytes: ``fragment_size`` for an outgoing fragment,
    ``max_frame`` for a frame, ``max_message`` (by default ``max_frame``) for an incoming message in
    fragments. ``max_partial_messages`` limits the incoming messages that are incomplete at once. Raises
    ValueError if an atom cache was negotiated, which is not supported.
    """

    def __init__(
        self,
        peer: Peer,
        local: LocalIdentity,
        *,
        codec: Codec,
        streams: StreamPlan,
        max_frame: int = MAX_FRAME,
        max_message: int | None = None,
        max_partial_messages: int = MAX_PARTIAL_MESSAGES,
        fragment_size: int = FRAGMENT_SIZE,
    ) -> None:
        if peer.negotiated & DistFlag.DIST_HDR_ATOM_CACHE:
            raise ValueError("DIST_HDR_ATOM_CACHE was negotiated, but the atom cache is not supported")
        self.peer = peer
        self.local = local
        self.streams = streams
        #: Whether this node's own identifiers are of another node name within it.
        self._translates = local.internal is not None
        if local.internal is not None:
            codec = codec.for_node(Atom(local.internal), Atom(local.name), local.creation)
        # A peer closes the connection when it receives a message that it does not support.
        self._codec = codec if peer.negotiated & DistFlag.NATIVE_RECORDS else codec.without_records()
        # Plain functions, because a method call for each term takes longer.
        self._encode: Callable[[Any, list[Any]], None] = self._codec.encoder
        self._decode = self._codec.decoder
        self._none = codec.none or Atom("undefined")
        self._max_frame = max_frame
        self._longest_alone = min(_LONGEST_ALONE, max_frame + 4)
        self._fragments = bool(peer.negotiated & DistFlag.FRAGMENTS)
        self._fragment_size = fragment_size
        self._sequence = 0
        self._downgrades = downgrades(peer.negotiated)
        self._only_stream = streams.sending[0] if len(streams.sending) == 1 else None
        self._failed: ProtocolError | None = None
        self._readers: dict[int, FrameReader] = {}
        self._last_out: tuple[ControlMessage, int, bytes] | None = None
        #: By stream: the last control message that may be repeated, and all bytes of its frame before the
        #: payload.
        self._last_in: dict[int, tuple[bytes, ControlMessage]] = {}
        self._assembler = FragmentAssembler(
            peer.name,
            max_message=max_frame if max_message is None else max_message,
            max_partial_messages=max_partial_messages,
        )
        self.messages_in = 0
        self.messages_out = 0
        #: How many ticks have come.
        self.ticks_in = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.ticks_out = 0

    # -- sending -----------------------------------------------------------------------------

    def send(
        self, control: ControlMessage, payload: Any = NO_PAYLOAD, *, pair: Hashable = None
    ) -> tuple[int, list[Chunk]]:
        """Encode a message: the id of its stream, and the bytes to write there.

        Of two messages to one stream the first encoded has to be written first, whole. ``pair`` overrides the
        pair that the control message names, see :mod:`quicdist.protocol.streams`. A control message that the
        peer does not support is replaced by its older form; where it has none, nothing is sent, and there are
        no bytes (:mod:`quicdist.protocol.downgrade`). A term that a BEAM would answer by closing the
        connection is refused here (see ``docs/reference/protocol.md``). Raises
        :class:`~quicdist.term.EncodeError`, and ValueError for a payload that is missing or one
        too many; then nothing is sent and nothing has changed.
        """
        last = self._last_out
        if (
            last is not None
            and pair is None
            and payload is not NO_PAYLOAD
            and type(control) is type(last[0])
            and _are_equal(control, last[0])
        ):
            _, stream_id, head = last
            parts: list[Chunk] = [b"", head]  # room for the header
            payload_at = 2
        else:
            if control.has_payload is (payload is NO_PAYLOAD):
                need = "needs a payload" if control.has_payload else "takes no payload"
                raise ValueError(f"{control.op.name} {need}")
            parts = [b""]
            placed = self._control(control, payload, pair, parts)
            if placed is None:
                return self.streams.control, []
            stream_id, payload = placed
            payload_at = len(parts)
        if payload is not NO_PAYLOAD:
            kind = type(payload)
            if kind is Local:
                raise EncodeError("LOCAL_EXT, which only the node that wrote it can read")
            if kind is EncodedPayload:
                self._append_encoded(payload, parts)
            else:
                self._encode(payload, parts)
        size = sum(map(len, parts))
        if not self._fragments:
            self._pass_through(parts, payload_at, size)
        elif size <= self._fragment_size or payload_at == len(parts):
            parts[0] = _LENGTH_AND_HEADER.pack(size + 3, 131, 68, 0)
        else:
            self._sequence += 1
            head = b"".join(parts[:payload_at])
            parts = split(head, parts[payload_at:], size, self._fragment_size, self._sequence)
        self.messages_out += 1
        if size <= _JOIN:
            message = b"".join(parts)
            self.bytes_out += len(message)
            return stream_id, [message]
        self.bytes_out += sum(map(len, parts))
        return stream_id, parts

    def _control(
        self, control: ControlMessage, payload: Any, pair: Hashable, parts: list[Chunk]
    ) -> tuple[int, Any] | None:
        """Append a control message; the id of the stream it takes, and the payload still to come. None if
        this peer is sent nothing."""
        stream_id = self._only_stream
        if stream_id is None:
            stream_id = self.streams.choose(type(control).pair(control) if pair is None else pair)
        asked = control
        if self._downgrades:
            while downgrade := self._downgrades.get(type(control)):
                if type(payload) is EncodedPayload:
                    payload, _ = self._decode(payload.etf)
                replaced = downgrade(control, payload)
                if replaced is None:
                    return None
                control, payload = replaced
        self._encode(control.to_term(), parts)
        if type(asked) in _REPEATED and pair is None and payload is not NO_PAYLOAD:
            head = b"".join(parts)
            if len(head) <= _REMEMBERED:
                self._last_out = asked, stream_id, head
        return stream_id, payload

    def _append_encoded(self, payload: EncodedPayload, parts: list[Chunk]) -> None:
        if payload.records and not self.peer.negotiated & DistFlag.NATIVE_RECORDS:
            raise EncodeError("a native record: the peer does not support it (OTP 29 and later do)")
        if self._translates:
            self._encode(self._decode(payload.etf)[0], parts)
        else:
            parts.append(payload.etf)

    def _pass_through(self, parts: list[Chunk], payload_at: int, size: int) -> None:
        """Make one frame of the control message and the payload that begins at ``payload_at``."""
        if payload_at < len(parts):
            parts.insert(payload_at, _VERSION)
            size += 1
        if size + 2 > 0xFFFFFFFF:
            raise FrameTooLong(self.peer.name, "a frame to", size + 2, 0xFFFFFFFF)
        parts[0] = _LENGTH_AND_PASS_THROUGH.pack(size + 2, 112, 131)

    def tick(self) -> tuple[int, bytes]:
        """A tick: the id of the stream it takes, and its bytes."""
        self.ticks_out += 1
        self.bytes_out += len(TICK)
        return self.streams.control, TICK

    # -- receiving ---------------------------------------------------------------------------

    def add_stream(self, stream_id: int) -> None:
        """The peer sends messages on a stream outside the known data streams."""
        self._readers[stream_id] = FrameReader(self.peer.name, self._max_frame)

    def receive(self, stream_id: int, data: bytes) -> list[tuple[ControlMessage, Any]]:
        """Take bytes of a control or data stream; the messages they complete.

        Ticks are counted, not returned. A payload beyond a limit is returned as a
        :class:`RefusedPayload`. Raises :class:`ProtocolError`; then the connection is to be closed.
        Its ``messages`` are those that were complete before the fault.
        """
        if self._failed is not None:
            raise self._failed
        reader = self._readers.get(stream_id)
        if reader is None:
            reader = self._reader(stream_id)
        size = len(data)
        self.bytes_in += size
        messages: list[tuple[ControlMessage, Any]] = []
        missing = reader.missing
        if size < missing:
            reader.keep(data)
            return messages
        try:
            # Most messages arrive alone, in one chunk.
            if (
                not missing
                and 4 < size <= self._longest_alone
                and not reader.head
                and data[:4] == (size - 4).to_bytes(4)
            ):
                message = self._message(stream_id, data, 4)
                if message is not None:
                    messages.append(message)
                return messages
            for frame in self._frames(reader, data):
                message = self._message(stream_id, frame)
                if message is not None:
                    messages.append(message)
            if reader.too_long is not None:
                raise reader.too_long
        except ProtocolError as error:
            error.messages = messages
            self._failed = error
            raise
        finally:
            self.messages_in += len(messages)
        return messages

    def receive_by_frames(self, stream_id: int, data: bytes) -> Iterator[tuple[ControlMessage, Any] | None]:
        """As :meth:`receive`, but each frame is taken in when it is asked for: a message, or None where it
        completes none. To be iterated to its end before anything else is received, unless the connection
        is closed."""
        if self._failed is not None:
            raise self._failed
        reader = self._readers.get(stream_id) or self._reader(stream_id)
        self.bytes_in += len(data)
        try:
            for frame in self._frames(reader, data):
                message = self._message(stream_id, frame)
                if message is not None:
                    self.messages_in += 1
                yield message
            if reader.too_long is not None:
                raise reader.too_long
        except ProtocolError as error:
            self._failed = error
            raise

    def _reader(self, stream_id: int) -> FrameReader:
        if self.streams.kind(stream_id) not in (StreamKind.CONTROL, StreamKind.DATA):
            raise ValueError(f"stream {stream_id} carries no distribution messages")
        reader = self._readers[stream_id] = FrameReader(self.peer.name, self._max_frame)
        return reader

    def _frames(self, reader: FrameReader, data: bytes) -> list[Chunk]:
        ticks = reader.ticks
        frames = reader.feed(data)
        self.ticks_in += reader.ticks - ticks
        return frames

    def _message(self, stream_id: int, frame: Chunk, at: int = 0) -> tuple[ControlMessage, Any] | None:
        """The message in a frame, which begins at ``at``; None for a fragment that does not complete one."""
        last = self._last_in.get(stream_id)
        # The external form of a term is never the beginning of another's.
        if last is not None and type(frame) is bytes and frame.startswith(last[0], at):
            try:
                payload, end = self._decode(frame, at + len(last[0]))
                if end == len(frame):
                    return last[1], payload
            except DecodeError as error:
                if error.too_deep:
                    return last[1], RefusedPayload(error, error.begun)
        return self._any_message(stream_id, frame, at)

    def _any_message(self, stream_id: int, frame: Chunk, at: int) -> tuple[ControlMessage, Any] | None:
        """As :meth:`_message`, for control messages that do not repeat the last one."""
        pass_through = False
        tag = kind = 0
        if len(frame) - at > 2:
            tag, kind = frame[at], frame[at + 1]
        if tag == 131 and kind == 68:
            if frame[at + 2]:
                raise self._malformed("no atom cache reference, none being negotiated", frame[at:])
            start = at + 3
        elif tag == 131 and kind in (69, 70) and self._fragments:
            whole = self._assembler.add(stream_id, frame[at:])
            if whole is None:
                return None
            if isinstance(whole, TooLong):
                return self._too_long(stream_id, whole)
            frame, start = whole, 0
        elif tag == 112 and kind == 131:
            pass_through, start = True, at + 2
        else:
            raise self._malformed("a distribution header or pass-through", frame[at:])
        decode = self._decode
        payload: Any = NO_PAYLOAD
        try:
            term, end = decode(frame, start)
            control = decode_control(term, self.peer.name, self._none)
            if control.has_payload:
                if pass_through:
                    if frame[end : end + 1] != _VERSION:
                        raise self._malformed(f"a payload for {control.op.name}", frame[end:])
                    end += 1
                if start > at and type(control) in _REPEATED and end - start <= _REMEMBERED:
                    self._last_in[stream_id] = bytes(frame[at:end]), control
                try:
                    payload, end = decode(frame, end)
                except DecodeError as error:
                    if not error.too_deep:
                        raise
                    payload, end = RefusedPayload(error, error.begun), len(frame)
        except DecodeError as error:
            if start > at > 0:  # The offsets in the error are those in the message, which begins at "at".
                return self._any_message(stream_id, frame[at:], 0)
            raise self._undecodable(stream_id, error) from error
        if end != len(frame):
            raise self._malformed(f"nothing after {control.op.name}", frame[end:])
        return control, payload

    def _too_long(self, stream_id: int, message: TooLong) -> tuple[ControlMessage, Any]:
        """The control message of a message that was too long, from its first fragment."""
        begun: tuple[Any, ...] = ()
        try:
            term, end = self._decode(message.beginning)
        except DecodeError as error:
            raise self._undecodable(stream_id, error) from error
        control = decode_control(term, self.peer.name, self._none)
        try:
            self._decode(message.beginning, end)
        except DecodeError as error:
            begun = error.begun
        return control, RefusedPayload(message.error, begun)

    def _undecodable(self, stream_id: int, error: DecodeError) -> FrameError:
        return FrameError(self.peer.name, f"message on stream {stream_id}", str(error))

    def _malformed(self, expected: str, came: Chunk) -> FrameError:
        return FrameError(self.peer.name, "frame", f"expected {expected}, got {shown(came)}")
