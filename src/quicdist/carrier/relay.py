"""Links of a gateway: what comes on one is sent on the other (:mod:`quicdist.protocol.relay`).

A handshake is relayed before (:mod:`quicdist.protocol.handshake_relay`). The near end is the node on this
machine, over TCP; the far end is the node in the cluster, over QUIC.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from quicdist.carrier.contract import LostHandler
from quicdist.carrier.link import LinkBase
from quicdist.carrier.stream_assignment import BULK
from quicdist.protocol.relay import FrameKind, RelayConnection

if TYPE_CHECKING:
    from quicdist.protocol import Chunk


class NearReceiver(Protocol):
    """Receives what the near node sends in a handshake."""

    def near_received(self, data: bytes) -> bool:
        """Take bytes; False if the handshake is over, and they belong to the link."""

    def near_closed(self) -> None:
        """The near node has closed its connection."""


class NearEnd(Protocol):
    """The connection of the near node, in a handshake."""

    def write(self, data: bytes) -> None:
        """Send bytes to the near node."""

    def attach(self, receiver: NearReceiver) -> None:
        """From now on ``receiver`` gets what the near node sends."""


class RelayLink(LinkBase):
    """A link whose messages are frames. What comes is relayed by another one, the sink: see
    :meth:`relay_to`.

    :meth:`pause_receiving` holds the node back: it is called while the sink is not
    :attr:`~quicdist.carrier.Link.writable`.
    """

    _dist: RelayConnection
    _sink: RelayLink | None = None
    _relayed: Callable[[], None]
    #: :meth:`pause_receiving` was called.
    receiving_paused = False

    def relay_to(self, sink: RelayLink, relayed: Callable[[], None], on_lost: LostHandler) -> None:
        """Start the link: all that comes is sent on ``sink``, and ``relayed`` is called after each batch."""
        self._sink, self._relayed = sink, relayed
        self.start(no_message, on_lost)

    def _deliver(self, messages: Iterable[Any]) -> None:
        if self._sink is not None:
            self._sink.relay(messages)
            self._relayed()

    def _forget(self) -> None:
        super()._forget()
        self._sink = None

    def relay(self, frames: Iterable[tuple[FrameKind, Chunk]]) -> None:
        """Send frames that came together, those of one stream as one piece. Does nothing on a link that has
        ended. As with :meth:`~quicdist.carrier.Link.send`, a link on which too much is queued ends."""
        batch: dict[int, list[Chunk]] = {}
        for kind, frame in frames:
            length = len(frame)
            if kind is not FrameKind.WHOLE or length >= BULK:
                # What was written to a stream before may be waited for.
                self._write_batch(batch)
                self._relay_bulk(kind, frame)
                continue
            stream_id = self._stream_of(kind, frame)
            parts = batch.get(stream_id)
            if parts is None:
                parts = batch[stream_id] = []
            parts.append(length.to_bytes(4, "big"))
            parts.append(frame)
        self._write_batch(batch)

    def _write_batch(self, batch: dict[int, list[Chunk]]) -> None:
        """Write whole messages, those of each stream in order."""
        for stream_id, parts in batch.items():
            self._relay(stream_id, [b"".join(parts)], len(parts) // 2)
        batch.clear()

    def _relay_bulk(self, kind: FrameKind, frame: Chunk) -> None:
        if self._takes_no_more():
            return
        stream_id = self._stream_of(kind, frame)
        parts = self._dist.divide(frame) if kind is FrameKind.WHOLE else None
        self._relay(stream_id, parts or [len(frame).to_bytes(4, "big"), frame], int(kind.ends_message))

    def _takes_no_more(self) -> bool:
        """Whether the link has ended, or ends because too much is queued."""
        return self.closed or (self._paused and self.queued > self._max_queued and not self._has_room())

    def _relay(self, stream_id: int, parts: Sequence[Chunk], messages: int) -> None:
        if self._takes_no_more():
            return
        size = sum(map(len, parts))
        stats = self.stats
        stats.sent += 1
        stats.bytes_out += size
        stats.messages_out += messages
        queued = self._write(stream_id, parts, size)
        if queued > self._limits.high_water and not self._paused:
            self._paused = True
            self._max_queued = self._limits.max_pending + size

    @abstractmethod
    def _stream_of(self, kind: FrameKind, frame: Chunk) -> int:
        """The stream that a frame takes. Raises :class:`~quicdist.protocol.ProtocolError`."""

    @abstractmethod
    def pause_receiving(self) -> None:
        """Deliver no more than what is on its way, until :meth:`resume_receiving`."""

    @abstractmethod
    def resume_receiving(self) -> None:
        """Undo :meth:`pause_receiving`."""

    def _received(self, messages: list[Any]) -> None:
        self.stats.messages_in += sum(
            kind is FrameKind.WHOLE or kind is FrameKind.LAST for kind, _ in messages
        )
        self._hand_over(messages)


def no_message(control: Any, payload: Any) -> None:
    """Frames are relayed: no message is delivered."""
