"""The send queues of a connection: chooses the bytes that the engine gets next.

An engine such as aioquic copies data into one unbounded buffer per stream, and serves its streams in turn. So
it gets no more than it is about to send, in this order:

1. small data: the control stream, and messages without bulk before them on their stream;
2. bulk messages, a slice of each stream in turn;
3. user streams, while no message is queued: the lowest priority number first, equals in turn.

:mod:`quicdist.carrier.quic.driver.bulk_window` limits the bytes of 2 and 3 that are in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from quicdist.carrier.quic.driver.bulk_window import STEP, BulkWindow
from quicdist.carrier.quic.engine.contract import Engine

#: Up to so many queued bytes of one stream are small, and leave at once.
SMALL = 8 * 1024
#: Bytes of one stream before it is the next one's turn.
SLICE = 16 * 1024

#: The priority of messages: before all user streams, which have 16 to 255.
MESSAGES = 0


class _Queue:
    """The queue of one stream."""

    __slots__ = ("bulk", "end", "held", "parts", "priority", "size")

    def __init__(self, priority: int) -> None:
        #: By stream, the offset up to which it has to be acknowledged before this queue is sent.
        self.held: dict[int, int] = {}
        self.priority = priority
        self.parts: deque[bytes | memoryview] = deque()
        self.size = 0
        self.end = False
        #: More than ``SMALL`` bytes were queued, and some of them still are.
        self.bulk = False

    def take(self, budget: int) -> bytes:
        """Up to ``budget`` bytes from the front."""
        taken: list[bytes | memoryview] = []
        parts = self.parts
        while parts and budget > 0:
            part = parts.popleft()
            size = len(part)
            if size > budget:
                view = memoryview(part)
                parts.appendleft(view[budget:])
                part, size = view[:budget], budget
            taken.append(part)
            budget -= size
            self.size -= size
        # A memoryview is as good for an engine.
        return taken[0] if len(taken) == 1 else b"".join(taken)  # type: ignore[return-value]


class SendScheduler:
    """The queues of one connection's streams."""

    __slots__ = ("_bulk_waits", "_bulk_window", "_engine", "_fed", "_queues", "size", "user_size")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: By stream, in the order of their turns.
        self._queues: dict[int, _Queue] = {}
        #: Streams of which the engine may hold bytes that it has not sent.
        self._fed: set[int] = set()
        self._bulk_window = BulkWindow()
        #: Bulk was queued at the last :meth:`feed`.
        self._bulk_waits = False
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
        """Hold the queue of ``stream_id``, and what is about to be added, until all that was written to
        ``other`` so far is acknowledged."""
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
        """Queue data of a user stream, and its ``end``."""
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
        """Drop the queue of a user stream."""
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

    # -- to the engine -----------------------------------------------------------------------

    def feed(self, now: float) -> None:
        """Write as much to the engine as it is about to send; ``now`` is in seconds."""
        bulk_window = self._bulk_window
        if not self._queues:
            bulk_window.idle()
            self._bulk_waits = False
            return
        bulk = []
        small = False
        for stream_id, queue in list(self._queues.items()):
            if queue.priority != MESSAGES or (queue.held and self._is_held(queue)):
                continue
            if queue.size > SMALL or queue.bulk:
                queue.bulk = True
                bulk.append((stream_id, queue))
            else:
                self._give(stream_id, queue, queue.size)
                small = True
        if small:
            bulk_window.small_sent(now, bulk_waits=self._bulk_waits, bulk_begins=bool(bulk))
        self._bulk_waits = bool(self._queues)
        if not self._queues:
            return
        engine = self._engine
        unsent = self._unsent()
        in_flight = engine.in_flight()
        budget = min(bulk_window.window(engine, now) - in_flight, engine.connection_credit()) - unsent
        if budget < STEP and in_flight:
            return  # Less than a datagram: wait for more.
        left = self._serve(bulk, budget)
        if not self.size:
            left = self._serve_users(left)
        if left < budget:
            bulk_window.sent(limited=left <= 0)

    def _serve_users(self, budget: int) -> int:
        by_priority: dict[int, list[tuple[int, _Queue]]] = {}
        for item in self._queues.items():
            by_priority.setdefault(item[1].priority, []).append(item)
        for priority in sorted(by_priority):
            budget = self._serve(by_priority[priority], budget)
            if budget <= 0:
                break
        return budget

    def _serve(self, queues: Iterable[tuple[int, _Queue]], budget: int) -> int:
        """Give slices of ``queues`` in turn, as far as ``budget`` and the peer's limits go. Returns the rest
        of the budget, in bytes."""
        turns = deque(queues)
        while turns and budget > 0:
            stream_id, queue = turns.popleft()
            if queue.priority != MESSAGES and not self._engine.is_writable(stream_id):
                self.drop(stream_id)  # The peer has reset it; the event for its owner follows.
                continue
            if not self._engine.stream_exists(stream_id):
                self.open_stream(stream_id)
            size = min(queue.size, SLICE, budget, self._engine.stream_credit(stream_id))
            if size <= 0 and queue.size:
                continue
            self._give(stream_id, queue, size)
            budget -= size
            if queue.size:
                # The other streams come first the next time.
                self._queues[stream_id] = self._queues.pop(stream_id)
                turns.append((stream_id, queue))
        return budget

    def _give(self, stream_id: int, queue: _Queue, size: int) -> None:
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
            # The peer has sent STOP_SENDING: the event for the handler follows, and the data is dropped.
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
        """Open a stream, and those with lower ids that are not open yet. Nothing is sent for that."""
        self._open_up_to(stream_id)
        self._engine.send_stream_data(stream_id, b"")

    def _open_up_to(self, stream_id: int) -> None:
        # The engine takes a stream that was skipped for a closed one.
        engine = self._engine
        while (lower := engine.get_next_available_stream_id()) < stream_id and not (lower ^ stream_id) & 3:
            engine.send_stream_data(lower, b"")
