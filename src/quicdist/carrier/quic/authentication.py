"""The callback between the QUIC handshake and the distribution handshake: quic_dist's ``auth_callback``.

quic_dist calls ``authenticate(Conn, client | server, Timeout)`` on both sides, before the distribution has a
stream, and the callback may open streams on ``Conn``. The first bidirectional stream is the control stream of
the distribution, so callbacks exchange data on unidirectional streams: 2 from the dialling side, 3 from the
other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.containment import settle
from quicdist.logs import get_logger
from quicdist.protocol import Role

if TYPE_CHECKING:
    from cryptography import x509

log = get_logger("quicdist.carrier.quic")

#: The unidirectional stream that each side writes to.
STREAMS: Final = {Role.CLIENT: 2, Role.SERVER: 3}
#: Bytes that a peer may send to authenticate.
MAX_BYTES = 64 * 1024


class AuthPeer:
    """The peer of a QUIC connection, for an ``auth_callback``.

    ``reader`` and :meth:`write` exchange bytes with the callback of the peer, if it has one.
    """

    def __init__(self, connection: QuicConnection, role: Role, node: str | None) -> None:
        #: The role of this node: it dialled (``Role.CLIENT``) or was dialled (``Role.SERVER``).
        self.role = role
        #: The name of the node that is dialled; None for a dialling node, which has not sent its name yet.
        self.node = node
        self.reader = asyncio.StreamReader(limit=MAX_BYTES)
        self._connection = connection
        self._ended = False
        self._received = 0

    @property
    def local_address(self) -> Address:
        return self._connection.local_address

    @property
    def remote_address(self) -> Address:
        return self._connection.remote_address

    @property
    def certificate(self) -> x509.Certificate | None:
        """The certificate that the peer has shown; the settings say whether it was verified. None for a
        dialling node that was not asked for one, and if a PSK or a resumed session was used instead."""
        return next(iter(self._connection.engine.peer_certificates()), None)

    @property
    def certificate_chain(self) -> tuple[x509.Certificate, ...]:
        """The intermediate certificates that the peer has shown."""
        return self._connection.engine.peer_certificates()[1:]

    def write(self, data: bytes) -> None:
        """Send ``data`` to the callback of the peer. Does nothing once the connection has ended."""
        self._send(data, end=False)

    def write_eof(self) -> None:
        """Finish the stream to the callback of the peer."""
        if not self._ended:
            self._ended = True
            self._send(b"", end=True)

    def _send(self, data: bytes, *, end: bool) -> None:
        if not self._connection.closed:
            self._connection.engine.send_stream_data(STREAMS[self.role], data, end)
            self._connection.touch()

    # -- called by the handshake ---------------------------------------------------------------

    def data_received(self, stream_id: int, data: bytes, end: bool) -> bool:
        """Bytes of a stream; False if it is not one for authentication."""
        if stream_id not in STREAMS.values():
            return False
        self._received += len(data)
        if self._received > MAX_BYTES:
            self._fail(f"it sent more than {MAX_BYTES} bytes to authenticate")
        elif self.reader.exception() is None:
            self.reader.feed_data(data)
            if end:
                self.reader.feed_eof()
        return True

    def stream_reset(self, stream_id: int) -> bool:
        """A stream was reset; False if it is not one for authentication."""
        if stream_id not in STREAMS.values():
            return False
        self._fail("the peer refused the stream for authentication: it has no auth_callback")
        return True

    def _fail(self, reason: str) -> None:
        if self.reader.exception() is None:
            self.reader.set_exception(ConnectionResetError(reason))


#: Called with the peer; True accepts it. False, or a str as the reason for the peer, refuses it, and so does
#: an exception.
AuthCallback = Callable[[AuthPeer], Awaitable[bool | str]]


class _TooLate(Exception):
    """The callback has not answered in time."""


async def _answer(callback: AuthCallback, peer: AuthPeer, seconds: float) -> bool | str:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await callback(peer)
    except TimeoutError:
        if limit.expired():
            raise _TooLate from None
        raise


async def why_refused(callback: AuthCallback, peer: AuthPeer, seconds: float) -> str | None:
    """Call the callback, for at most so many seconds. None if the peer is accepted, otherwise the reason."""
    answer, error = await settle(_answer(callback, peer, seconds))
    if isinstance(error, _TooLate):
        return f"authentication took longer than {seconds:g} s"
    if isinstance(error, ConnectionError | EOFError):
        return f"authentication was interrupted: {error}"
    if error is not None:
        log.error("auth_callback failed for %s", peer.remote_address, exc_info=error)
        return "authentication failed"
    if answer is True:
        return None
    return answer if isinstance(answer, str) and answer else "authentication refused"
