"""Links of a gateway: what comes on one is sent on the other (:mod:`quicdist.protocol.relay`).

A handshake is relayed before (:mod:`quicdist.protocol.handshake_relay`). The near end is the node on this
machine, over TCP; the far end is the node in the cluster, over QUIC.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from quicdist.carrier.link import LinkBase
from quicdist.protocol.relay import SPLIT_FROM, FrameKind, RelayConnection

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
    """A link whose messages are frames: ``on_message`` of :meth:`start` is called with the
    :class:`~quicdist.protocol.relay.FrameKind` of each and the frame without its length.

    :meth:`pause_receiving` holds the node back: it is called while the other link is not
    :attr:`~quicdist.carrier.Link.writable`.
    """

    _dist: RelayConnection
    #: :meth:`pause_receiving` was called.
    receiving_paused = False

    def relay(self, kind: FrameKind, frame: Chunk) -> None:
        """Send a frame. Does nothing on a link that has ended. As with :meth:`~quicdist.carrier.Link.send`,
        a link on which too much is queued ends."""
        if self.closed or (self._paused and self.queued > self._max_queued and not self._has_room()):
            return
        length = len(frame)
        stats = self.stats
        stats.sent += 1
        stats.bytes_out += length + 4
        if kind.ends_message:
            stats.messages_out += 1
        stream_id = self._stream_of(kind, frame)
        divided = self._dist.divide(frame) if kind is FrameKind.WHOLE and length >= SPLIT_FROM else None
        if divided is None:
            queued = self._write(stream_id, (length.to_bytes(4, "big"), frame), length + 4)
        else:
            queued = self._write(stream_id, divided, sum(map(len, divided)))
        if queued > self._limits.high_water and not self._paused:
            self._paused = True
            self._max_queued = self._limits.max_pending + length

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
        for kind, _ in messages:
            if kind.ends_message:
                self.stats.messages_in += 1
        self._hand_over(messages)
