"""A distribution connection after its handshake, sans-I/O: messages to bytes and back.

Source: ERTS User's Guide, *Distribution Protocol*, *Protocol between Connected Nodes*.

With FRAGMENTS negotiated every message is sent in dist-header form (``131 68 0``, control message,
payload), a large one in fragments; without, in pass-through form (``112 131`` control message
``131`` payload), one frame whatever its size. A BEAM drops messages in the other form.
"""

from __future__ import annotations

from collections.abc import Hashable
from struct import Struct
from typing import TYPE_CHECKING, Any

from quicdist.protocol.control import ControlMessage
from quicdist.protocol.downgrade import downgrades
from quicdist.protocol.flags import DistFlag
from quicdist.protocol.fragments import FRAGMENT_SIZE, MAX_PARTIAL_MESSAGES, FragmentAssembler
from quicdist.protocol.frames import MAX_FRAME, TICK, Chunk, FrameReader
from quicdist.protocol.payload import NO_PAYLOAD
from quicdist.protocol.peers import LocalIdentity, Peer
from quicdist.protocol.streams import StreamPlan

if TYPE_CHECKING:
    from quicdist.term import Codec

#: Up to here a message is joined to one chunk: a copy is cheaper than several writes.
_JOIN = 16 * 1024

_LENGTH_AND_HEADER = Struct(">IBBB")  # length, 131, 68, number of atom cache references
_LENGTH_AND_PASS_THROUGH = Struct(">IBB")  # length, 112, 131
_VERSION = b"\x83"


class DistConnection:
    """Encodes and decodes the messages of one connection.

    ``codec`` encodes and decodes the terms. ``fragment_size`` is what one outgoing fragment
    carries at most, ``max_frame`` the longest frame and ``max_message`` (``max_frame`` unless
    given) the longest message in fragments that is taken, in bytes; ``max_partial_messages`` the
    most that may be half there at once. Raises ValueError if an atom cache was negotiated, which
    is not spoken.
    """

    def __init__(
        self,
        peer: Peer,
        local: LocalIdentity,
        *,
        codec: Codec,
        streams: StreamPlan,
        max_frame: int = MAX_FRAME,
        max_message: int | None = None,
        max_partial_messages: int = MAX_PARTIAL_MESSAGES,
        fragment_size: int = FRAGMENT_SIZE,
    ) -> None:
        if peer.negotiated & DistFlag.DIST_HDR_ATOM_CACHE:
            raise ValueError("DIST_HDR_ATOM_CACHE was negotiated, and the atom cache is not spoken")
        self.peer = peer
        self.local = local
        self.streams = streams
        self._codec = codec
        self._max_frame = max_frame
        self._fragments = bool(peer.negotiated & DistFlag.FRAGMENTS)
        self._fragment_size = fragment_size
        self._sequence = 0
        self._downgrades = downgrades(peer.negotiated)
        self._readers: dict[int, FrameReader] = {}
        self._assembler = FragmentAssembler(
            peer.name,
            max_message=max_frame if max_message is None else max_message,
            max_partial_messages=max_partial_messages,
        )
        self.messages_in = 0
        self.messages_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.ticks_out = 0

    # -- sending -----------------------------------------------------------------------------

    def send(
        self, control: ControlMessage, payload: Any = NO_PAYLOAD, *, pair: Hashable = None
    ) -> tuple[int, list[Chunk]]:
        """Encode a message: the id of the stream it takes, and what is to be written there.

        Of two messages to one stream the first encoded has to be written first, whole. ``pair``
        overrides the pair that the control message names, see :mod:`quicdist.protocol.streams`.
        What the peer did not negotiate is sent as what it replaced. Raises
        :class:`~quicdist.term.EncodeError`, and ValueError for a payload that is missing or one
        too many; then nothing is sent and nothing has changed.
        """
        raise NotImplementedError

    def tick(self) -> tuple[int, bytes]:
        """A tick: the id of the stream it takes, and its bytes."""
        self.ticks_out += 1
        self.bytes_out += len(TICK)
        return self.streams.control, TICK

    # -- receiving ---------------------------------------------------------------------------

    def receive(self, stream_id: int, data: bytes) -> list[tuple[ControlMessage, Any]]:
        """Take bytes of a control or data stream; the messages they complete.

        Ticks are counted and not given. Raises :class:`ProtocolError`; then the connection is to
        be closed. Its ``messages`` are those that were complete before the fault.
        """
        raise NotImplementedError

    @property
    def ticks_in(self) -> int:
        """How many ticks have come."""
        return sum(reader.ticks for reader in self._readers.values())
