"""Fragments: a large message as a sequence of frames.

The first is ``131 69 sequence:64 left:64 0`` with the control message and the beginning of the
payload, the others ``131 70 sequence:64 left:64`` with more of it; ``left`` counts down to 1.
Source: ERTS User's Guide, *External Term Format*, *Distribution Header for fragmented messages*.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from quicdist.protocol.errors import FrameError, FrameTooLong
from quicdist.protocol.frames import MAX_FRAME, Chunk

#: The default limit for the bytes in one fragment, as of BEAMs (ERTS_DIST_FRAGMENT_SIZE).
FRAGMENT_SIZE = 64 * 1024
#: The default limit for messages that are incomplete at once. Each process of a BEAM may be sending one.
MAX_PARTIAL_MESSAGES = 16384

#: The contents of smaller fragments are joined, because each piece has a cost.
_SMALL = 1024

#: Messages of more bytes have their memory kept; and the largest block for that, in bytes: a little less than
#: glibc's DEFAULT_MMAP_THRESHOLD_MAX (mallopt(3)).
_KEPT = 1024 * 1024
_LARGEST_KEPT = 32 * 1024 * 1024 - 64 * 1024
#: The size of the largest message whose memory is kept.
_largest = _KEPT


def _keep_memory(size: int) -> None:
    """Have the allocator keep the freed memory of messages of ``size`` bytes for the next ones.

    A message exists as fragments, joined, and decoded. glibc returns freed memory to the system if it exceeds
    twice the largest block that was ever unmapped. To get a page again takes ten times as long as to copy a
    page: 4 MiB would block the event loop for 7 ms in place of 1. So a block is made and freed, of which no
    page is touched. Other allocators do nothing special with it.
    """
    global _largest
    if size > _largest:
        _largest = 2 * size
        bytes(min(_largest, _LARGEST_KEPT))


_FIRST = Struct(">IBBQQB")  # length, 131, 69, sequence, left, number of atom cache references
_NEXT = Struct(">IBBQQ")  # length, 131, 70, sequence, left
_IDS = Struct(">QQ")
_IDS_END = 2 + _IDS.size


def split(
    control: bytes, payload: Sequence[Chunk], size: int, fragment_size: int, sequence: int
) -> list[Chunk]:
    """Frames, with their lengths, for a message of ``size`` bytes: ``control`` and ``payload``.

    ``control`` is never divided; a BEAM reads it from the first fragment.
    """
    rest = size - len(control)
    room = min(max(fragment_size - len(control), 0), rest)  # for payload in the first fragment
    rest -= room
    left = 1 + -(-rest // fragment_size)
    out: list[Chunk] = [_FIRST.pack(19 + len(control) + room, 131, 69, sequence, left, 0), control]
    for part in payload:
        view = memoryview(part)
        start = 0
        while start < len(view):
            if not room:
                left -= 1
                room = min(fragment_size, rest)
                rest -= room
                out.append(_NEXT.pack(18 + room, 131, 70, sequence, left))
            piece = view[start : start + room]
            out.append(piece)
            start += len(piece)
            room -= len(piece)
    return out


class _Partial:
    """A message whose fragments are incomplete; with an ``error`` only the first one is kept."""

    __slots__ = ("error", "held", "left", "parts", "size")

    def __init__(self, left: int) -> None:
        self.left = left
        #: The contents of the fragments; small ones are joined.
        self.parts: list[Chunk | bytearray] = []
        self.size = self.held = 0
        self.error: FrameTooLong | None = None

    @property
    def first(self) -> Chunk:
        """The content of the first fragment."""
        first = self.parts[0]
        assert not isinstance(first, bytearray)
        return first

    def add(self, body: Chunk) -> None:
        parts = self.parts
        if len(body) >= _SMALL or not parts:
            parts.append(body)
        elif type(parts[-1]) is bytearray:
            parts[-1] += body
        elif len(body):
            parts.append(bytearray(body))


class TooLong:
    """A message that is too long and has been received whole: the content of its first fragment."""

    __slots__ = ("beginning", "error")

    def __init__(self, beginning: Chunk, error: FrameTooLong) -> None:
        self.beginning = beginning
        self.error = error


class FragmentAssembler:
    """Puts the fragments of one connection together again.

    A sequence lives on one stream; those of different streams, and different ones on one stream,
    may be interleaved. Bounded are the length of a message, the number of half-assembled ones and
    the bytes that all of these hold together. A message that is too long, or does not fit beside the
    others, is not kept and comes out as :class:`TooLong`.
    """

    def __init__(
        self,
        node: str,
        *,
        max_message: int = MAX_FRAME,
        max_partial_messages: int = MAX_PARTIAL_MESSAGES,
        max_partial_bytes: int | None = None,
    ) -> None:
        self._node = node
        self._max_message = max_message
        self._max_partial_messages = max_partial_messages
        self._max_partial_bytes = 4 * max_message if max_partial_bytes is None else max_partial_bytes
        self._partial: dict[tuple[int, int], _Partial] = {}
        #: The bytes that half-assembled messages hold.
        self.held = 0

    def __len__(self) -> int:
        """How many messages are half-assembled."""
        return len(self._partial)

    def add(self, stream_id: int, frame: Chunk) -> Chunk | TooLong | None:
        """Take a frame that begins with ``131 69`` or ``131 70``.

        With the last fragment, returns the control message and the payload, joined. Raises
        :class:`FrameError`, and :class:`FrameTooLong` if even the first fragments of refused
        messages exceed the limit for all messages together.
        """
        if len(frame) < _IDS_END:
            raise self._error(f"a fragment header of {_IDS_END} bytes", f"{len(frame)}", stream_id)
        sequence, left = _IDS.unpack_from(frame, 2)
        key = stream_id, sequence
        partial = self._partial.get(key)
        if frame[1] == 69:
            if partial is not None:
                due = f"fragment {partial.left - 1} of sequence {sequence}"
                raise self._error(due, "another first one", stream_id)
            start = _IDS_END + 1
            if len(frame) < start or frame[_IDS_END]:
                raise self._error("a first fragment without atom cache references", "one with", stream_id)
            if not left:
                raise self._error("a sequence of at least 1 fragment", "0", stream_id)
            if left == 1:
                return memoryview(frame)[start:]
            if len(self._partial) >= self._max_partial_messages:
                most = f"at most {self._max_partial_messages} messages in fragments at once"
                raise self._error(most, "one more", stream_id)
            partial = self._partial[key] = _Partial(left)
        else:
            start = _IDS_END
            if partial is None:
                due = "a first fragment"
                raise self._error(due, f"fragment {left} of the unknown sequence {sequence}", stream_id)
            if left != partial.left - 1 or not left:
                due = f"fragment {partial.left - 1} of sequence {sequence}"
                raise self._error(due, f"fragment {left}", stream_id)
            partial.left = left
        body = memoryview(frame)[start:] if start < len(frame) else b""
        partial.size += len(body)
        if partial.error is None:
            partial.add(body)
            partial.held += len(body)
            self.held += len(body)
            if partial.size > self._max_message:
                self._refuse(partial, "a message in fragments from", partial.size, self._max_message)
            elif self.held > self._max_partial_bytes and left > 1:
                self._refuse(partial, "incomplete messages from", self.held, self._max_partial_bytes)
        if left > 1:
            return None
        del self._partial[key]
        self.held -= partial.held
        if partial.error is not None:
            return TooLong(partial.first, partial.error)
        if partial.size > _KEPT:
            _keep_memory(partial.size)
        return b"".join(partial.parts)

    def _refuse(self, partial: _Partial, what: str, size: int, limit: int) -> None:
        """Keep only the first fragment of a message, which has its receiver."""
        partial.error = FrameTooLong(self._node, what, size, limit)
        del partial.parts[1:]
        self.held += len(partial.first) - partial.held
        partial.held = len(partial.first)
        if self.held > self._max_partial_bytes:
            raise partial.error

    def _error(self, expected: str, came: str, stream_id: int) -> FrameError:
        return FrameError(self._node, f"fragment on stream {stream_id}", f"expected {expected}, got {came}")
