"""The near end of a gateway: the node on this machine, over TCP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quicdist.carrier.addresses import Address
from quicdist.carrier.errors import PeerUnreachable
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.relay import NearReceiver, RelayLink
from quicdist.carrier.tcp.connection import TcpConnection
from quicdist.carrier.tcp.link import STREAM, TcpLink
from quicdist.protocol import MAX_FRAME, HandshakeEnded, StreamPlan
from quicdist.protocol.handshake_relay import End, HandshakeRelay, Node
from quicdist.protocol.relay import FrameKind, RelayConnection

if TYPE_CHECKING:
    from quicdist.protocol import Chunk, LocalIdentity, Peer


class TcpRelayLink(RelayLink, TcpLink):
    """The link to the near node."""

    def _stream_of(self, kind: FrameKind, frame: Chunk) -> int:
        return STREAM

    def pause_receiving(self) -> None:
        # Frames of the last read are still delivered.
        self.receiving_paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_receiving(self) -> None:
        self.receiving_paused = False
        if self._undecoded is None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _resume_reading(self) -> None:
        if not self.receiving_paused:
            super()._resume_reading()


class TcpNearEnd:
    """The connection of the near node while its handshake is relayed, then its link."""

    def __init__(self, connection: TcpConnection) -> None:
        self.connection = connection
        self._reader: asyncio.Task[None] | None = None
        #: Bytes that came after the handshake.
        self._leftover = b""
        #: The near node was answered: its dial cannot be tried again elsewhere.
        self.attached = False

    def write(self, data: bytes) -> None:
        self.connection.write(data)

    async def name(self) -> tuple[Node, bytes]:
        """What the near node, which dials, says of itself, and its name message as it came. Raises
        :class:`~quicdist.protocol.HandshakeError` and :class:`OSError`."""
        relay = HandshakeRelay(self.connection.framing, self.connection.framing, "the local node")
        message = b""
        while relay.initiator is None:
            self.connection.expected = relay.expects
            data = await self.connection.read()
            if not data:
                raise HandshakeEnded("the local node", relay.expects)
            relay.receive_data(End.INITIATOR, data)
            message += data
        return relay.initiator, message

    def attach(self, receiver: NearReceiver) -> None:
        self.attached = True
        self._reader = asyncio.create_task(self._read(receiver), name="handshake of the local node")

    async def _read(self, receiver: NearReceiver) -> None:
        try:
            while data := await self.connection.read():
                if not receiver.near_received(data):
                    self._leftover = data
                    return
        except OSError:
            pass  # The connection broke.
        receiver.near_closed()

    def link(
        self,
        peer: Peer,
        local: LocalIdentity,
        leftover: bytes,
        limits: BufferLimits,
        max_frame: int = MAX_FRAME,
    ) -> TcpRelayLink:
        """The link, after the handshake; ``leftover`` is what came with its last message."""
        self._detach()
        dist = RelayConnection(peer, local, streams=StreamPlan.single(), max_frame=max_frame)
        return TcpRelayLink(dist, self.connection, leftover=leftover + self._leftover, limits=limits)

    def close(self) -> None:
        """Give up the handshake."""
        self._detach()
        self.connection.close()

    def _detach(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None


async def connect_near(node: str, address: Address) -> TcpNearEnd:
    """Connect to the near node ``node``. Raises :class:`~quicdist.carrier.PeerUnreachable`."""
    connection = TcpConnection()
    try:
        await asyncio.get_running_loop().create_connection(lambda: connection, address.host, address.port)
    except OSError as error:
        raise PeerUnreachable(node, address, error.strerror or str(error)) from error
    return TcpNearEnd(connection)
