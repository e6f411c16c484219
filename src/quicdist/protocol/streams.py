"""Which QUIC stream is for what, and which one a message takes.

Stream ids are those of RFC 9000, section 2.1: the lowest bit says who opened it (0 the client), the next
whether it is unidirectional. As ``quic_dist`` lays them out, with N data streams in each direction:

=========  ================  ================  =====================================
streams    by the client     by the server     use
=========  ================  ================  =====================================
control    0                                   the handshake; afterwards ticks
data       4, 8 ... 4N       1, 5 ... 4N-3     messages, each side on those it opened
user       from 4N+4 on      from 4N+1 on      streams of applications
=========  ================  ================  =====================================

N is 16 from quic_dist 1.4.0 on, 4 before.

**Order.** Erlang guarantees that signals from one process to another arrive in the order sent.
Streams keep no order between each other, so all signals from one sender to one destination take one
stream, chosen by hashing both, as quic_dist does from 1.4.0 on. The destination is what the control
message names: a pid, a registered name, an alias. Two of these may be one process, which the sender
cannot know; quic_dist keeps no order between them then. Where it is known here (a reply to an alias
whose owner is known, the end of a process that was monitored by its name), the ``pair`` given to
:meth:`~quicdist.protocol.DistConnection.send` says so and order holds there too.

A legacy peer (before 1.4.0) joins the bytes of all data streams in one buffer as they come in: two
streams at once would garble each other, so one is used, the first.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

from quicdist.protocol.flags import DistFlag
from quicdist.protocol.identity import Peer
from quicdist.term import Atom

#: Data streams each way, of quic_dist from 1.4.0 on.
DATA_STREAMS = 16
#: Data streams each way, of quic_dist before 1.4.0.
LEGACY_DATA_STREAMS = 4


class Role(Enum):
    """Which end of the QUIC connection a node is."""

    CLIENT = "client"
    SERVER = "server"


class StreamKind(Enum):
    """The use of a stream."""

    CONTROL = "control"
    DATA = "data"
    USER = "user"
    UNUSED = "unused"  #: unidirectional: quic_dist has no use for any


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """The streams of one connection, seen from this side.

    ``sending`` are the ids of those that messages are sent on, ``data_streams`` is N, 0 on a
    carrier with one stream.
    """

    control: int
    sending: tuple[int, ...]
    data_streams: int

    @classmethod
    def single(cls) -> StreamPlan:
        """One stream, 0, for everything: TCP, or any other carrier without streams."""
        return cls(control=0, sending=(0,), data_streams=0)

    @classmethod
    def quic(cls, role: Role, peer: Peer) -> StreamPlan:
        """The streams towards ``peer``, by which end of the connection this node is (``role``).

        A legacy peer is known by offering DIST_HDR_ATOM_CACHE, which later ones reject.
        """
        legacy = bool(peer.flags & DistFlag.DIST_HDR_ATOM_CACHE)
        count = LEGACY_DATA_STREAMS if legacy else DATA_STREAMS
        opened = range(4, 4 * count + 1, 4) if role is Role.CLIENT else range(1, 4 * count, 4)
        return cls(control=0, sending=tuple(opened)[: 1 if legacy else count], data_streams=count)

    def kind(self, stream_id: int) -> StreamKind:
        """The use of the stream ``stream_id``, opened by either side."""
        if stream_id == self.control:
            return StreamKind.CONTROL
        if not self.data_streams or stream_id & 2:
            return StreamKind.UNUSED
        return StreamKind.DATA if stream_id < self.first_user_stream(stream_id & 1) else StreamKind.USER

    def first_user_stream(self, opened_by_server: int | bool) -> int:
        """The lowest id of a user stream opened by the server, or by the client."""
        return 4 * self.data_streams + (1 if opened_by_server else 4)

    def choose(self, pair: Hashable) -> int:
        """The stream for signals of ``pair``, (from, to); the first for those that have none (None)."""
        sending = self.sending
        if len(sending) == 1 or pair is None:
            return sending[0]
        return sending[_steady_hash(pair) % len(sending)]


def _steady_hash(pair: Hashable) -> int:
    """A hash that is always the same for equal pairs. That of an atom is not: an atom without a reference is
    freed, and the next one of its name is another object with another hash."""
    if type(pair) is tuple:
        return hash(tuple([end.name if type(end) is Atom else end for end in pair]))
    return hash(pair.name if type(pair) is Atom else pair)
