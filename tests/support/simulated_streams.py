"""The two parts of a stream in the simulated engine (:mod:`tests.support.simulated_engine`)."""

from __future__ import annotations

from dataclasses import dataclass, field


def add_range(ranges: list[range], start: int, stop: int) -> None:
    """Add ``start`` to ``stop`` to a sorted list of ranges that do not touch."""
    apart = [held for held in ranges if held.stop < start or held.start > stop]
    joined = [held for held in ranges if held.stop >= start and held.start <= stop]
    merged = range(
        min([start, *(held.start for held in joined)]), max([stop, *(held.stop for held in joined)])
    )
    ranges[:] = sorted([*apart, merged], key=lambda held: held.start)


@dataclass(slots=True)
class Piece:
    """A part of a stream in one packet."""

    start: int
    data: bytes
    end: bool


@dataclass(slots=True)
class SendPart:
    """What this side sends on a stream."""

    #: The peer takes bytes up to this offset.
    limit: int = 0
    #: Up to where it was acknowledged, written, and sent.
    acknowledged: int = 0
    written: int = 0
    sent: int = 0
    end: bool = False
    end_sent: bool = False
    end_acknowledged: bool = False
    #: The code of RESET_STREAM.
    reset: int | None = None
    finished: bool = False
    _data: bytearray = field(default_factory=bytearray)
    _lost: list[range] = field(default_factory=list)
    _acknowledged_later: list[range] = field(default_factory=list)

    def write(self, data: bytes, end: bool) -> None:
        self._data += data
        self.written += len(data)
        self.end |= end

    def has_something(self, credit: int) -> bool:
        """Whether there is something to send, with so many bytes that the connection takes."""
        if self.finished or self.reset is not None:
            return False
        is_new = self.sent < min(self.written, self.limit) and credit > 0
        return bool(self._lost) or is_new or self._end_is_due()

    def _end_is_due(self) -> bool:
        return self.end and not self.end_sent and self.sent == self.written

    def take(self, room: int, credit: int) -> Piece:
        """The next piece, with ``room`` bytes at most; lost ones first."""
        if self._lost:
            start, stop = self._lost[0].start, min(self._lost[0].stop, self._lost[0].start + room)
            if stop == self._lost[0].stop:
                del self._lost[0]
            else:
                self._lost[0] = range(stop, self._lost[0].stop)
        else:
            start, stop = self.sent, min(self.written, self.limit, self.sent + room, self.sent + credit)
            self.sent = stop
        data = bytes(self._data[start - self.acknowledged : stop - self.acknowledged])
        end = self.end and stop == self.written and not self._lost
        self.end_sent |= end
        return Piece(start, data, end)

    def delivered(self, piece: Piece) -> None:
        """``piece`` was acknowledged."""
        if self.finished or self.reset is not None:
            return
        self.end_acknowledged |= piece.end
        start, stop = max(piece.start, self.acknowledged), piece.start + len(piece.data)
        if start < stop:
            later = self._acknowledged_later
            add_range(later, start, stop)
            self._lost = [part for held in self._lost for part in _without(held, start, stop)]
            if later[0].start == self.acknowledged:
                del self._data[: len(later[0])]
                self.acknowledged = later.pop(0).stop
        self.finished = self.end_acknowledged and self.acknowledged == self.written

    def lost(self, piece: Piece) -> None:
        """``piece`` has to be sent again, where no other packet has brought it."""
        if self.finished or self.reset is not None:
            return
        parts = [range(max(piece.start, self.acknowledged), piece.start + len(piece.data))]
        for held in self._acknowledged_later:
            parts = [part for each in parts for part in _without(each, held.start, held.stop)]
        for part in parts:
            if len(part):
                add_range(self._lost, part.start, part.stop)
        if piece.end and not self.end_acknowledged:
            self.end_sent = False

    def break_off(self, code: int) -> None:
        self.reset = code
        self._data.clear()
        self._lost.clear()


@dataclass(slots=True)
class ReceivePart:
    """What the peer sends on a stream."""

    #: The peer may send up to this offset; up to where it was told so.
    limit: int
    told: int
    #: The limit is moved by ``grant`` alone.
    granted: bool = False
    #: Up to where the bytes have come in order, and the highest offset of any.
    received: int = 0
    highest: int = 0
    final: int | None = None
    finished: bool = False
    _pieces: dict[int, bytes] = field(default_factory=dict)

    @property
    def has_gap(self) -> bool:
        return bool(self._pieces) and not self.finished

    def take(self, piece: Piece) -> tuple[bytes, bool] | None:
        """Take in a piece; the bytes that are in order now, and whether they are the last. None if nothing
        is new."""
        stop = piece.start + len(piece.data)
        self.highest = max(self.highest, stop)
        if piece.end:
            self.final = stop
        if self.finished:
            return None
        if len(piece.data) > len(self._pieces.get(piece.start, b"")):
            self._pieces[piece.start] = piece.data
        found = []
        for start in sorted(self._pieces):
            if start > self.received:
                break
            data = self._pieces.pop(start)[self.received - start :]
            self.received += len(data)
            found.append(data)
        self.finished = self.received == self.final
        data = b"".join(found)
        return (data, self.finished) if data or self.finished else None

    def stop(self) -> None:
        self.finished = True
        self._pieces.clear()


@dataclass(slots=True)
class Stream:
    send: SendPart
    receive: ReceivePart

    @property
    def is_over(self) -> bool:
        return self.send.finished and self.receive.finished


def _without(held: range, start: int, stop: int) -> list[range]:
    parts = range(held.start, min(held.stop, start)), range(max(held.start, stop), held.stop)
    return [part for part in parts if len(part)]
