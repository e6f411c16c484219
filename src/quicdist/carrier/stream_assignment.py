"""Assigns bulk messages to reserved data streams, so that messages of other pairs are not queued behind them.

Pairs share streams by their hash, and a message waits for all that was sent on its stream before. So a few of
the streams are reserved for bulk messages. Order within a pair is kept: data on the reserved stream is held
until all that the pair sent on its home stream is acknowledged, and the pair returns home when all of the
reserved stream is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from quicdist.protocol import ControlMessage

#: Messages of at least so many bytes are bulk.
BULK: Final = 64 * 1024


class StreamAssignment:
    """Chooses one of the data streams ``sending`` for a message.

    ``unacknowledged(stream_id)`` is the number of bytes of a stream that the peer may not have yet;
    ``hold(stream_id, other)`` holds a stream until all that was written to ``other`` is acknowledged.
    """

    def __init__(
        self,
        sending: tuple[int, ...],
        unacknowledged: Callable[[int], int],
        hold: Callable[[int, int], None],
    ) -> None:
        reserved = len(sending) // 4
        homes, self._reserved = sending[: len(sending) - reserved], sending[len(sending) - reserved :]
        #: The stream of a pair's small messages, by the one that its hash gives.
        self.homes = {stream_id: homes[index % len(homes)] for index, stream_id in enumerate(sending)}
        self._unacknowledged = unacknowledged
        self._hold = hold
        #: The pairs that are not on their home stream, and the reserved stream of each.
        self.moved: dict[Hashable, int] = {}

    def place(self, home: int, control: ControlMessage | None, pair: Hashable, size: int) -> int:
        """The stream for a message of ``size`` bytes whose pair has the home stream ``home``: ``home`` itself
        for a small message while no pair is moved. ``pair`` None: that of ``control``."""
        if pair is None and control is not None:
            pair_of: Any = type(control).pair
            pair = pair_of(control)
        if pair is None:
            return home
        moved = self.moved.get(pair)
        if moved is not None:
            return moved
        if size < BULK or not self._reserved:
            return home
        stream_id = self.moved[pair] = min(self._reserved, key=self._unacknowledged)
        if self._unacknowledged(home):
            self._hold(stream_id, home)
        return stream_id

    def keep(self, pair: Hashable, stream_id: int) -> None:
        """A further fragment of a message of ``pair`` is written to ``stream_id``, where its first one went:
        if that stream is reserved, the pair stays there until all of it is acknowledged."""
        if stream_id in self._reserved:
            self.moved[pair] = stream_id

    def events_processed(self) -> None:
        """Acknowledgements were processed: pairs whose bulk messages have arrived return to their home
        stream."""
        if self.moved:
            busy = {stream_id for stream_id in self._reserved if self._unacknowledged(stream_id)}
            if not busy.issuperset(self.moved.values()):
                self.moved = {pair: at for pair, at in self.moved.items() if at in busy}
