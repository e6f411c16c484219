"""Reassembly of stream data that come out of order.

aioquic fills gaps with zeros: a byte at the end of the window allocates the window. Here a byte costs about a
byte, the overhead is bounded (:class:`ReassemblyBudget`), and a frame takes time linear in its bytes, with a
binary search and a move in a bounded list.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.events import StreamReset
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicStreamFrame
from aioquic.quic.stream import FinalSizeError, QuicStreamReceiver

from quicdist.carrier.quic.engine.events import StreamData

#: Data that follow a piece are joined to it up to this length, in bytes.
CHUNK: Final = 16 * 1024
#: Data that precede a piece are joined to it up to this length, in bytes: that copies the piece.
SMALL: Final = 2 * 1024


class PacketDropped(Exception):
    """A limit does not allow the data of a packet: it counts as lost, and the peer sends them again."""


class ReassemblyLimits(NamedTuple):
    """Limits for data out of order.

    ``pieces``: pieces in all; ``base`` of them whatever their size, and one more for every ``bytes_each``
    bytes that are kept, so that small pieces are few. ``size``: bytes in all. ``per_stream``: pieces of one
    stream.
    """

    pieces: int
    base: int
    bytes_each: int
    size: int
    per_stream: int


#: Data out of order before the peer has been authenticated.
UNAUTHENTICATED_LIMITS: Final = ReassemblyLimits(
    pieces=64, base=64, bytes_each=1, size=64 * 1024, per_stream=64
)
#: The limits of a link. Loss of every other packet of a full window of 16 MiB leaves 7,000 pieces; no message
#: of a node has less than 16 bytes.
AUTHENTICATED_LIMITS: Final = ReassemblyLimits(
    pieces=65536, base=256, bytes_each=16, size=1 << 40, per_stream=16384
)
#: CRYPTO data of one encryption level.
CRYPTO_LIMITS: Final = ReassemblyLimits(pieces=64, base=64, bytes_each=1, size=64 * 1024, per_stream=64)


class ReassemblyBudget:
    """The data out of order of all streams of a connection. ``error``: the code that closes the connection
    when a limit is exceeded; None: the packet is dropped."""

    __slots__ = ("error", "limits", "pieces", "size")

    def __init__(self, limits: ReassemblyLimits, error: QuicErrorCode | None) -> None:
        self.limits = limits
        self.error = error
        self.pieces = 0
        self.size = 0

    def check(self, of_stream: int, size: int) -> None:
        """Raise QuicConnectionError or :class:`PacketDropped` if the limits allow no further piece of
        ``size`` bytes on a stream with ``of_stream`` pieces."""
        limits = self.limits
        kept = self.size + size
        if (
            kept <= limits.size
            and of_stream < limits.per_stream
            and self.pieces < min(limits.pieces, limits.base + kept // limits.bytes_each)
        ):
            return
        if self.error is None:
            raise PacketDropped(f"{self.pieces} pieces of {self.size} bytes are out of order already")
        crypto = self.error is QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
        raise QuicConnectionError(
            error_code=self.error,
            frame_type=QuicFrameType.CRYPTO if crypto else QuicFrameType.STREAM_BASE,
            reason_phrase="too much data out of order",
        )


class Pieces:
    """The pieces of one stream, which do not overlap: a sorted list of their offsets, and the data by offset.
    Neighbours are joined while that is cheap.
    """

    __slots__ = ("_held", "_reassembly", "_starts")

    def __init__(self, budget: ReassemblyBudget) -> None:
        self._reassembly = budget
        self._starts: list[int] = []
        self._held: dict[int, bytes | bytearray] = {}

    def __len__(self) -> int:
        return len(self._starts)

    def check(self, size: int) -> None:
        """Raise if the limits allow no further piece: see :meth:`ReassemblyBudget.check`."""
        self._reassembly.check(len(self._starts), size)

    def add(self, offset: int, data: bytes) -> None:
        """Keep ``data``. Of two that overlap, the longer piece is kept whole."""
        starts, held, budget = self._starts, self._held, self._reassembly
        end = offset + len(data)
        at = bisect_right(starts, offset)
        touching: bytes | bytearray | None = None
        before = 0
        if at:
            before = starts[at - 1]
            piece = held[before]
            stop = before + len(piece)
            if stop >= end:
                return
            if stop > offset:
                data = data[stop - offset :]
                offset = stop
            if stop == offset:
                touching = piece
        # Pieces within it are replaced.
        covered = at
        while covered < len(starts) and (stop := starts[covered] + len(held[starts[covered]])) <= end:
            covered += 1
        if covered > at:
            for start in starts[at:covered]:
                budget.size -= len(held.pop(start))
            budget.pieces -= covered - at
            del starts[at:covered]
        after = starts[at] if at < len(starts) else -1
        if 0 <= after < end:
            data = data[: after - offset]
            end = after
            if not data:
                return
        budget.size += len(data)
        if touching is not None and len(touching) + len(data) <= CHUNK:
            if isinstance(touching, bytes):
                touching = held[before] = bytearray(touching)
            touching += data
            if after == end and len(touching) + len(held[after]) <= SMALL:
                touching += held.pop(after)
                del starts[at]
                budget.pieces -= 1
        elif after == end and len(data) + len(held[after]) <= SMALL:
            held[offset] = data + held.pop(after)
            starts[at] = offset
        else:
            held[offset] = data
            starts.insert(at, offset)
            budget.pieces += 1

    def take(self, offset: int) -> list[bytes | bytearray]:
        """Remove and return the data from ``offset`` on up to the next gap. Drop data before it."""
        starts, held, budget = self._starts, self._held, self._reassembly
        parts: list[bytes | bytearray] = []
        count = 0
        for start in starts:
            if start > offset:
                break
            count += 1
            piece = held.pop(start)
            budget.size -= len(piece)
            stop = start + len(piece)
            if stop > offset:
                parts.append(piece[offset - start :] if offset > start else piece)
                offset = stop
        if count:
            del starts[:count]
            budget.pieces -= count
        return parts

    def clear(self) -> None:
        """Drop all pieces."""
        self._reassembly.size -= sum(map(len, self._held.values()))
        self._reassembly.pieces -= len(self._starts)
        self._starts.clear()
        self._held.clear()


class Receiver(QuicStreamReceiver):
    """The receiving part of a stream, with its data out of order in :class:`Pieces`. aioquic's ``_buffer``
    and ``_ranges`` stay empty."""

    _pieces: Pieces | None = None

    def __init__(self, stream_id: int | None, *, readable: bool, budget: ReassemblyBudget) -> None:
        super().__init__(stream_id=stream_id, readable=readable)
        self._reassembly = budget

    @property
    def has_gap(self) -> bool:
        """Whether there are data out of order."""
        return self._pieces is not None and len(self._pieces) > 0 and not self.is_finished

    def handle_frame(self, frame: QuicStreamFrame) -> StreamData | None:  # type: ignore[override]  # our event
        """Process a frame. Raises FinalSizeError (RFC 9000, section 4.5), :class:`PacketDropped` and
        QuicConnectionError."""
        data, offset, fin = frame.data, frame.offset, frame.fin
        begin, final = self._buffer_start, self._final_size
        end = offset + len(data)
        if final is not None:
            if end > final:
                raise FinalSizeError("Data received beyond final size")
            if fin and end != final:
                raise FinalSizeError("Cannot change final size")
        if fin and end < self.highest_offset:
            raise FinalSizeError("Data received beyond final size")
        pieces = self._pieces
        is_early = offset > begin
        if is_early and data and not self.is_finished:
            if pieces is None:
                pieces = self._pieces = Pieces(self._reassembly)
            # Before anything has changed: the packet may be dropped.
            pieces.check(len(data))
        if fin:
            self._final_size = final = end
        if end > self.highest_offset:
            self.highest_offset = end
        if self.is_finished:
            return None  # A duplicate, or the receiving part is over.
        if is_early:
            if data and pieces is not None:
                pieces.add(offset, data)
            return None
        parts: list[bytes | bytearray] = []
        if end > begin:
            parts.append(data[begin - offset :] if begin > offset else data)
            begin = end
            if pieces is not None and len(pieces):
                parts += pieces.take(end)
                begin += sum(map(len, parts[1:]))
            self._buffer_start = begin
        if begin == final:
            self.is_finished = True
        elif not parts:
            return None
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        return StreamData(self._stream_id, bytes(whole), begin == final)  # type: ignore[arg-type]  # None for CRYPTO

    def handle_reset(
        self, *, final_size: int, error_code: int = QuicErrorCode.NO_ERROR
    ) -> StreamReset | None:
        event = super().handle_reset(final_size=final_size, error_code=error_code)
        self.forget()
        return event

    def forget(self) -> None:
        """The receiving part is over: drop the data out of order."""
        if self._pieces is not None:
            self._pieces.clear()


class CryptoReceiver(Receiver):
    """The receiving part of the CRYPTO data of one encryption level. It passes on complete TLS messages only:
    aioquic copies an incomplete message for each further frame."""

    #: The longest TLS message in bytes, header included (RFC 8446, section 4). Certificate chains take a few
    #: thousand.
    MAX_MESSAGE: Final = 64 * 1024
    #: The longest ClientHello or ServerHello: they have 300 to 2,000 bytes, more with a ticket. aioquic
    #: parses their lists item by item, and anybody can send 64 KiB of items of two bytes.
    MAX_HELLO: Final = 8 * 1024
    #: The number of messages that are passed on; later ones, session tickets, are dropped.
    MAX_MESSAGES: Final = 16

    _messages = 0

    def __init__(self, budget: ReassemblyBudget, longest: int) -> None:
        super().__init__(None, readable=True, budget=budget)
        self._whole = bytearray()
        self._longest = longest

    def handle_frame(self, frame: QuicStreamFrame) -> StreamData | None:  # type: ignore[override]
        event = super().handle_frame(frame)
        if event is None:
            return None
        waiting = self._whole
        waiting += event.data
        at, size = 0, len(waiting)
        while size - at >= 4 and self._messages < self.MAX_MESSAGES:
            length = 4 + int.from_bytes(waiting[at + 1 : at + 4])
            if length > self._longest:
                raise QuicConnectionError(
                    error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                    frame_type=QuicFrameType.CRYPTO,
                    reason_phrase=f"a TLS message of {length} bytes",
                )
            if size - at < length:
                break
            at += length
            self._messages += 1
        data = bytes(waiting[:at])
        if self._messages < self.MAX_MESSAGES:
            del waiting[:at]
        else:
            waiting.clear()
        # Without data if no message is complete: None would mean a duplicate.
        return StreamData(event.stream_id, data, False)
