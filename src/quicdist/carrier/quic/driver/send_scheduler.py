"""The send queues of a connection, and what of them is handed to the engine next.

aioquic, for one, copies what it is given into one buffer a stream, without bound, and serves its streams in
turn. So it is given no more than it is about to send, and what it is given is chosen here:

1. what is little on its stream: the control stream, and messages that have nothing large before them;
2. large messages, a slice of each stream in turn;
3. user streams, while no message waits: the lowest priority number first, equals in turn.

How much of 2 and 3 may be under way at once is :mod:`quicdist.carrier.quic.driver.bulk_window`'s to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from quicdist.carrier.quic.driver.bulk_window import STEP, BulkWindow
from quicdist.carrier.quic.engine.contract import Engine

#: Up to so many bytes on one stream are little, and leave at once.
LITTLE = 8 * 1024
#: Bytes of one stream handed on before it is the next one's turn.
SLICE = 16 * 1024

#: The priority of messages: before all user streams, which have 16 to 255.
MESSAGES = 0


class _Queue:
    """What waits on one stream."""

    __slots__ = ("end", "held", "large", "parts", "priority", "size")

    def __init__(self, priority: int) -> None:
        #: Stream to offset: what has to be acknowledged before any of this leaves.
        self.held: dict[int, int] = {}
        self.priority = priority
        self.parts: deque[bytes | memoryview] = deque()
        self.size = 0
        self.end = False
        #: More than what is little has waited here, and some of it does.
        self.large = False

    def take(self, room: int) -> bytes:
        """Up to ``room`` bytes from the front."""
        taken: list[bytes | memoryview] = []
        parts = self.parts
        while parts and room > 0:
            part = parts.popleft()
            size = len(part)
            if size > room:
                view = memoryview(part)
                parts.appendleft(view[room:])
                part, size = view[:room], room
            taken.append(part)
            room -= size
            self.size -= size
        # A view is as good for an engine.
        return taken[0] if len(taken) == 1 else b"".join(taken)  # type: ignore[return-value]


class SendScheduler:
    """The queues of one connection's streams."""

    __slots__ = ("_bulk_window", "_engine", "_fed", "_large_waits", "_queues", "size", "user_size")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: In the order in which it is their turn.
        self._queues: dict[int, _Queue] = {}
        #: Streams of which the engine may hold bytes that it has not sent.
        self._fed: set[int] = set()
        self._bulk_window = BulkWindow()
        #: Something large has waited since the last time.
        self._large_waits = False
        #: Bytes of messages in all queues.
        self.size = 0
        #: Bytes of user streams in all queues.
        self.user_size = 0

    def add(self, stream_id: int, parts: Sequence[bytes | memoryview], size: int) -> None:
        """Queue ``parts``, ``size`` bytes in all, of messages."""
        queue = self._queues.get(stream_id)
        if queue is None:
            queue = self._queues[stream_id] = _Queue(MESSAGES)
        queue.parts.extend(parts)
        queue.size += size
        self.size += size

    def hold(self, stream_id: int, other: int) -> None:
        """Keep back what waits on ``stream_id``, and what is about to be added, until all that was
        written to ``other`` so far is acknowledged."""
        queue = self._queues.get(stream_id)
        if queue is None:
            queue = self._queues[stream_id] = _Queue(MESSAGES)
        queue.held[other] = self._engine.written(other) + self.size_of(other)

    def _is_held(self, queue: _Queue) -> bool:
        engine = self._engine
        queue.held = {
            stream_id: offset
            for stream_id, offset in queue.held.items()
            if engine.acknowledged(stream_id) < offset
        }
        return bool(queue.held)

    def add_user(self, stream_id: int, priority: int, data: bytes, end: bool) -> None:
        """Queue what goes on a user stream, and its ``end``."""
        queue = self._queues.get(stream_id)
        if queue is None:
            queue = self._queues[stream_id] = _Queue(priority)
        queue.priority = priority
        queue.end = end
        if data:
            queue.parts.append(data)
            queue.size += len(data)
            self.user_size += len(data)

    def drop(self, stream_id: int) -> None:
        """Forget what waits on a user stream."""
        queue = self._queues.pop(stream_id, None)
        if queue is not None:
            self.user_size -= queue.size
        self._fed.discard(stream_id)

    def size_of(self, stream_id: int) -> int:
        """Bytes in the queue of one stream."""
        queue = self._queues.get(stream_id)
        return queue.size if queue is not None else 0

    def clear(self) -> None:
        self._queues.clear()
        self._fed.clear()
        self.size = self.user_size = 0

    # -- handing on --------------------------------------------------------------------------

    def feed(self, now: float) -> None:
        """Hand on as much as the engine is about to send; ``now`` is in seconds."""
        bulk_window = self._bulk_window
        if not self._queues:
            bulk_window.idle()
            return
        large = []
        little = False
        for stream_id, queue in list(self._queues.items()):
            if queue.priority != MESSAGES or (queue.held and self._is_held(queue)):
                continue
            if queue.size > LITTLE or queue.large:
                queue.large = True
                large.append((stream_id, queue))
            else:
                self._hand_on(stream_id, queue, queue.size)
                little = True
        if little and self._large_waits:
            bulk_window.little(now)
        self._large_waits = bool(self._queues)
        if not self._queues:
            return
        engine = self._engine
        unsent = self._unsent()
        in_flight = engine.in_flight()
        room = min(bulk_window.window(engine, now) - in_flight, engine.connection_credit()) - unsent
        if room < STEP and in_flight:
            return  # Less than a datagram: more comes together.
        left = self._serve(large, room)
        if not self.size:
            left = self._serve_users(left)
        if left < room:
            bulk_window.sent(limited=left <= 0)

    def _serve_users(self, room: int) -> int:
        by_priority: dict[int, list[tuple[int, _Queue]]] = {}
        for item in self._queues.items():
            by_priority.setdefault(item[1].priority, []).append(item)
        for priority in sorted(by_priority):
            room = self._serve(by_priority[priority], room)
            if room <= 0:
                break
        return room

    def _serve(self, queues: Iterable[tuple[int, _Queue]], room: int) -> int:
        """Hand on slices of ``queues`` in turn, as far as ``room`` and the peer's limits go; the room
        that is left."""
        turns = deque(queues)
        while turns and room > 0:
            stream_id, queue = turns.popleft()
            if queue.priority != MESSAGES and not self._engine.is_writable(stream_id):
                self.drop(stream_id)  # The peer has broken it off, of which its owner is about to hear.
                continue
            if not self._engine.stream_exists(stream_id):
                self.open_stream(stream_id)
            size = min(queue.size, SLICE, room, self._engine.stream_credit(stream_id))
            if size <= 0 and queue.size:
                continue
            self._hand_on(stream_id, queue, size)
            room -= size
            if queue.size:
                # The next time it is the others' turn first.
                self._queues[stream_id] = self._queues.pop(stream_id)
                turns.append((stream_id, queue))
        return room

    def _hand_on(self, stream_id: int, queue: _Queue, size: int) -> None:
        self._open_up_to(stream_id)
        data = queue.take(size)
        if queue.priority == MESSAGES:
            self.size -= size
        else:
            self.user_size -= size
        end = queue.end and not queue.size
        if end:
            queue.end = False
        try:
            self._engine.send_stream_data(stream_id, data, end)
        except RuntimeError:
            if self._engine.is_writable(stream_id):
                raise
            # The peer has sent STOP_SENDING, which the handler is told of in its turn: nobody wants it.
        else:
            self._fed.add(stream_id)
        if not queue.size:
            del self._queues[stream_id]

    def _unsent(self) -> int:
        """Bytes that the engine holds and has not sent."""
        total = 0
        for stream_id in list(self._fed):
            unsent = self._engine.unsent(stream_id)
            if unsent:
                total += unsent
            else:
                self._fed.discard(stream_id)
        return total

    def open_stream(self, stream_id: int) -> None:
        """Open a stream, and those below it that are not open yet. The peer hears nothing of it."""
        self._open_up_to(stream_id)
        self._engine.send_stream_data(stream_id, b"")

    def _open_up_to(self, stream_id: int) -> None:
        # One that is passed over is a closed one to the engine.
        engine = self._engine
        while (lower := engine.get_next_available_stream_id()) < stream_id and not (lower ^ stream_id) & 3:
            engine.send_stream_data(lower, b"")
