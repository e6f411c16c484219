"""Assigns large messages to data streams of their own, so that no other pair's messages are behind them.

Pairs share streams by their hash, and what follows a large message on its stream waits for all of
it. So a few of the streams have no pair at home and are kept for large messages. Order within a
pair holds: what is on the other stream waits until all that was sent at home before is acknowledged,
and the pair is at home again when all of the other stream is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from quicdist.protocol import ControlMessage

#: Messages of so many bytes are large.
LARGE: Final = 64 * 1024


class StreamAssignment:
    """Which of the data streams ``sending`` a message takes. ``unacknowledged`` says how many bytes of a
    stream the peer may not have yet; ``hold`` keeps a stream back until all that was written to
    another so far is acknowledged."""

    def __init__(
        self,
        sending: tuple[int, ...],
        unacknowledged: Callable[[int], int],
        hold: Callable[[int, int], None],
    ) -> None:
        kept = len(sending) // 4
        homes, self._kept = sending[: len(sending) - kept], sending[len(sending) - kept :]
        self._homes = {stream_id: homes[index % len(homes)] for index, stream_id in enumerate(sending)}
        self._unacknowledged = unacknowledged
        self._hold = hold
        self._moved: dict[Hashable, int] = {}

    def place(self, stream_id: int, control: ControlMessage, pair: Hashable, size: int) -> int:
        """The stream for a message of ``size`` bytes whose pair's hash chose ``stream_id``."""
        home = self._homes[stream_id]
        if size < LARGE and not self._moved:
            return home
        if pair is None:
            pair_of: Any = type(control).pair
            pair = pair_of(control)
            if pair is None:
                return home
        moved = self._moved.get(pair)
        if moved is not None:
            return moved
        if size < LARGE or not self._kept:
            return home
        stream_id = self._moved[pair] = min(self._kept, key=self._unacknowledged)
        if self._unacknowledged(home):
            self._hold(stream_id, home)
        return stream_id

    def turn_ended(self) -> None:
        """Acknowledgements have been seen: pairs whose large messages have arrived are at home again."""
        if self._moved:
            busy = {stream_id for stream_id in self._kept if self._unacknowledged(stream_id)}
            if not busy.issuperset(self._moved.values()):
                self._moved = {pair: at for pair, at in self._moved.items() if at in busy}
