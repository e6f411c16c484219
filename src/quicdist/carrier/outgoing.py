"""Bytes that wait to be handed to aioquic, in the buffers they came in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from aioquic.quic.connection import QuicConnection

from quicdist.carrier import aioquic_adapter as adapter

#: Bytes of one stream handed to aioquic ahead of what it has sent: more than it sends in one go,
#: little enough that the rest can stay where it is, uncopied.
FEED = 256 * 1024


class Outgoing:
    """The queues of one connection's streams.

    aioquic copies what it is given into one buffer a stream and keeps it until it is acknowledged,
    without bound. So it is given no more than it is about to send.
    """

    __slots__ = ("_queues", "_quic", "size")

    def __init__(self, quic: QuicConnection) -> None:
        self._quic = quic
        self._queues: dict[int, deque[bytes | memoryview]] = {}
        #: Bytes in all queues.
        self.size = 0

    def add(self, stream_id: int, parts: Sequence[bytes | memoryview], size: int) -> None:
        """Queue ``parts``, ``size`` bytes in all."""
        queue = self._queues.get(stream_id)
        if queue is None:
            queue = self._queues[stream_id] = deque()
        queue.extend(parts)
        self.size += size

    def size_of(self, stream_id: int) -> int:
        """Bytes in the queue of one stream."""
        return sum(map(len, self._queues.get(stream_id, ())))

    def clear(self) -> None:
        self._queues.clear()
        self.size = 0

    def feed(self) -> None:
        """Hand on as much as aioquic is about to send."""
        if not self.size:
            return
        quic = self._quic
        for stream_id, queue in list(self._queues.items()):
            room = FEED - adapter.unsent(quic, stream_id)
            if room <= 0:
                continue
            self._open_up_to(stream_id)
            parts: list[bytes | memoryview] = []
            while queue and room > 0:
                part = queue.popleft()
                size = len(part)
                if size > room:
                    view = memoryview(part)
                    queue.appendleft(view[room:])
                    part, size = view[:room], room
                parts.append(part)
                room -= size
                self.size -= size
            # What aioquic does with it a view is as good for.
            data: bytes = parts[0] if len(parts) == 1 else b"".join(parts)  # type: ignore[assignment]
            quic.send_stream_data(stream_id, data)
            if not queue:
                del self._queues[stream_id]

    def _open_up_to(self, stream_id: int) -> None:
        """Open the streams below as well: one that is passed over is a closed one to aioquic."""
        quic = self._quic
        while (lower := quic.get_next_available_stream_id()) < stream_id and not (lower ^ stream_id) & 3:
            quic.send_stream_data(lower, b"")
