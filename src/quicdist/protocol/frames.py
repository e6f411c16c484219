"""Frames: a 4-byte big-endian length and that many bytes; length 0 is a tick.

Source: ERTS User's Guide, *Distribution Protocol*, *Protocol between Connected Nodes*, and
*External Term Format*, *Distribution Header*.
"""

from __future__ import annotations

from struct import Struct

from quicdist.protocol.errors import FrameTooLong

#: A tick, on the wire.
TICK = b"\0\0\0\0"
#: The default limit for a frame, and for a message in fragments, in bytes.
MAX_FRAME = 128 * 1024 * 1024

#: Bytes to write, or bytes read: a view of them saves a copy.
Chunk = bytes | memoryview

_LENGTH = Struct(">I")
#: Consecutive ticks that are counted in one step.
_MANY = 64
_TICKS = TICK * _MANY
_SMALL = 1024  # a chunk below it, inside a frame, is joined to its neighbours
_LARGE = 4096  # a frame from it on is a view of the chunk it came in


class FrameReader:
    """Cuts one stream's bytes into frames; ticks are counted, not returned.

    A frame longer than ``max_frame`` is refused before any of it is kept.
    """

    __slots__ = ("_max_frame", "_node", "_parts", "head", "missing", "ticks", "too_long")

    def __init__(self, node: str, max_frame: int = MAX_FRAME) -> None:
        self._node = node
        self._max_frame = max_frame
        #: The first bytes of a length, fewer than four.
        self.head = b""
        self._parts: list[Chunk | bytearray] = []  # the first bytes of a frame
        #: How many bytes of a frame are still to come; a chunk of fewer can go to :meth:`keep` at once.
        self.missing = 0
        #: How many ticks have come.
        self.ticks = 0
        #: The error of a frame that was refused by its length: nothing is read after it.
        self.too_long: FrameTooLong | None = None

    @property
    def buffered(self) -> int:
        """How many bytes are kept of a frame that is not complete."""
        return sum(map(len, self._parts)) + len(self.head)

    def feed(self, data: bytes) -> list[Chunk]:
        """The frames that ``data`` completes, without their length, up to the first one that is too long: see
        :attr:`too_long`."""
        frames: list[Chunk] = []
        position, size = 0, len(data)
        if self.missing:
            if size < self.missing:
                self.keep(data)
                return frames
            position = self.missing
            self._parts.append(data if position == size else memoryview(data)[:position])
            frame = b"".join(self._parts)
            self._parts, self.missing = [], 0
            frames.append(frame)
        elif self.head:
            position = 4 - len(self.head)
            self.head += data[:position]
            if len(self.head) < 4:
                return frames
            (length,) = _LENGTH.unpack(self.head)
            self.head = b""
            position -= 4  # as if the whole length stood in this chunk
        while size - position >= 4:
            if position >= 0:
                (length,) = _LENGTH.unpack_from(data, position)
            position += 4
            if not length:
                self.ticks += 1
                while data.startswith(_TICKS, position):
                    self.ticks += _MANY
                    position += len(_TICKS)
                continue
            if length > self._max_frame:
                self.too_long = FrameTooLong(self._node, "a frame from", length, self._max_frame)
                return frames
            end = position + length
            if end > size:
                self.missing = length
                if position < size:
                    self.keep(data[position:] if size - position < _LARGE else memoryview(data)[position:])
                return frames
            # A view keeps the whole chunk alive: not for a small part of it.
            if length >= _LARGE and length * 8 >= size:
                frames.append(memoryview(data)[position:end])
            else:
                frames.append(data[position:end])
            position = end
        self.head = data[position:]
        return frames

    def keep(self, chunk: Chunk) -> None:
        """Take fewer bytes than are missing."""
        self.missing -= len(chunk)
        if len(chunk) >= _SMALL:
            self._parts.append(chunk)
        elif self._parts and type(self._parts[-1]) is bytearray:
            self._parts[-1] += chunk
        else:
            self._parts.append(bytearray(chunk))
