"""Detects peers that have another number of data streams than expected.

quic_dist has 16 each way from 1.4.0 on, 4 before. The number is compiled in, and no handshake carries it. It
is detected from what a peer does:

* It sends messages on a stream beyond those of the plan. The first bytes distinguish such a stream from a
  user stream, and its messages are delivered.
* It refuses a stream of the plan with 0x100, as a user stream that no process accepts. Data sent on it is
  lost, and the link ends. The next link to the same node counts only the data streams that were not refused,
  and sends on the first of them.

quicdist always has 16.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from quicdist.carrier.errors import LinkLost
from quicdist.logs import get_logger
from quicdist.protocol import StreamPlan
from quicdist.protocol.stream_detection import begins_with_frame

if TYPE_CHECKING:
    from quicdist.carrier.quic.engine.contract import Engine
    from quicdist.carrier.quic.user_streams import QuicUserStreams
    from quicdist.protocol import Peer, Role

log = get_logger("quicdist.carrier.quic")

#: Seconds and probe timeouts for which the first bytes of a stream may be too few to decide; then it is a
#: user stream. The next bytes may have to be retransmitted.
UNDECIDED: Final = 0.2
PROBE_TIMEOUTS: Final = 4
#: The largest first frame of a stream, in bytes: quic_dist sends pieces of 64 KiB. So a stream whose first
#: byte is not 0 is a user stream at once.
LONGEST_FRAME: Final = 0xFFFFFF
#: Nodes whose number is remembered.
_NODES: Final = 1024


class StreamCounts:
    """The number of data streams of each node that has fewer than expected, until it is restarted."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def plan(self, role: Role, peer: Peer) -> StreamPlan:
        """The streams of a connection to ``peer`` in which this node is ``role``."""
        plan = StreamPlan.quic(role, peer)
        creation, count = self._counts.get(peer.name, (peer.creation, plan.data_streams))
        if creation != peer.creation or count >= plan.data_streams:
            return plan
        return StreamPlan(plan.control, plan.sending[:1], count)

    def refused(self, peer: Peer, plan: StreamPlan, stream_id: int) -> LinkLost:
        """``peer`` has refused one of the streams that messages are sent on; the error for the link."""
        count = max(1, plan.sending.index(stream_id))
        self._counts[peer.name] = peer.creation, count
        self._counts.move_to_end(peer.name)
        if len(self._counts) > _NODES:
            self._counts.popitem(last=False)
        text = (
            f"the peer refused data stream {stream_id} as a user stream (code 0x100): it has at most {count} "
            f"data streams, {plan.data_streams} were expected; the next connection uses one of them"
        )
        return LinkLost(peer.name, text)


class ExtraStreams:
    """Distinguishes data streams beyond the plan from user streams. ``found`` is called with the id of a
    stream that carries messages, then ``messages`` with its bytes. The other streams go to ``users``."""

    def __init__(
        self,
        peer: Peer,
        plan: StreamPlan,
        users: QuicUserStreams,
        engine: Engine,
        max_frame: int,
        found: Callable[[int], None],
        messages: Callable[[int, bytes, bool], None],
    ) -> None:
        self._peer = peer
        self._plan = plan
        self._users = users
        self._engine = engine
        self._max_frame = min(max_frame, LONGEST_FRAME)
        self._found = found
        self._messages = messages
        self._ids: set[int] = set()
        #: The first bytes of undecided streams.
        self._begun: dict[int, bytes] = {}
        self._loop = asyncio.get_running_loop()

    def __contains__(self, stream_id: int) -> bool:
        """Whether a stream carries messages."""
        return stream_id in self._ids

    def data_received(self, stream_id: int, data: bytes, end: bool) -> None:
        """Bytes, in order, of a stream beyond the plan."""
        if stream_id in self._ids:
            self._messages(stream_id, data, end)
            return
        begun = self._begun.pop(stream_id, None)
        if begun is None and not self._users.is_new(stream_id):
            self._users.data_received(stream_id, data, end)
            return
        data = (begun or b"") + data
        verdict = begins_with_frame(data, self._max_frame)
        if verdict is None and not end:
            self._begun[stream_id] = data
            if begun is None:
                wait = max(UNDECIDED, PROBE_TIMEOUTS * self._engine.probe_timeout())
                self._loop.call_later(wait, self._decide, stream_id)
        elif verdict and not end:
            self._take(stream_id)
            self._messages(stream_id, data, end)
        else:
            self._users.data_received(stream_id, data, end)

    def reset_received(self, stream_id: int) -> None:
        """A stream was reset; it may be undecided."""
        self._begun.pop(stream_id, None)

    def _decide(self, stream_id: int) -> None:
        data = self._begun.pop(stream_id, None)
        if data is not None:
            self._users.data_received(stream_id, data, False)

    def _take(self, stream_id: int) -> None:
        if not self._ids:
            plan, count = self._plan, stream_id // 4 + (stream_id & 1)
            log.warning(
                "%s sends messages on stream %d: it has at least %d data streams, %d were expected. They are "
                "accepted; user streams to it cannot be opened",
                self._peer.name,
                stream_id,
                count,
                plan.data_streams,
            )
            text = f"it has more data streams than the {plan.data_streams} expected"
            self._users.unusable = f"{text} and takes them for data streams"
        self._ids.add(stream_id)
        self._users.not_a_user_stream(stream_id)
        self._found(stream_id)
