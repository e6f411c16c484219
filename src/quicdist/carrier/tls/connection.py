"""A TCP connection with TLS on it, before it is a link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.tcp.connection import TcpConnection
from quicdist.carrier.tls.session import TlsError, TlsSession
from quicdist.protocol import HandshakeFraming

#: Bytes of answers to a peer's TLS messages (key updates, renegotiations) that it has not read, at most.
MAX_UNSENT = 64 * 1024
NOT_READ = "the peer does not read the answers to its messages"


class TlsConnection(TcpConnection):
    """A TCP connection whose reads return plaintext and whose writes are encrypted.

    ``make_session`` is called when the TCP connection is made.
    """

    #: ``inet_tls_dist`` uses ``{packet, 4}`` in the handshake too, ``inet_tcp_dist`` ``{packet, 2}``.
    framing = HandshakeFraming.PACKET_4

    def __init__(
        self,
        make_session: Callable[[], TlsSession],
        on_made: Callable[[TcpConnection], None] | None = None,
    ) -> None:
        super().__init__(on_made)
        self._make_session = make_session
        self._session: TlsSession | None = None
        self._established = asyncio.get_running_loop().create_future()

    @property
    def session(self) -> TlsSession:
        assert self._session is not None, "no connection was made yet"
        return self._session

    # -- called by asyncio -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self._session = self._make_session()
            self._session.begin()
        except (TlsError, CertificateError) as error:
            self.fail(error)
        else:
            self._send_records()

    def data_received(self, data: bytes) -> None:
        session = self._session
        if session is None or self.error is not None:
            return
        try:
            plaintext = session.receive_data(data)
        except TlsError as error:
            self._refuse(error)
            return
        self._send_records()
        if self.transport.get_write_buffer_size() > MAX_UNSENT:
            self.fail(TlsError(f"TLS failed: {NOT_READ}"))
            return
        if session.is_established and not self._established.done():
            self._established.set_result(None)
        if plaintext:
            super().data_received(plaintext)

    def _wake(self) -> None:
        super()._wake()
        if self._ended and not self._established.done():
            self._established.set_result(None)

    def _refuse(self, error: TlsError) -> None:
        """Close after sending the TLS alert for ``error``."""
        self.error = error
        self._ended = True
        self._held.clear()
        self._send_records()
        self.transport.close()
        self._wake()

    def _send_records(self) -> None:
        if self._session is not None and (records := self._session.data_to_send()):
            super().write(records)

    # -- called by the handshake -----------------------------------------------------------

    async def secured(self) -> None:
        """Wait until the TLS handshake is over. Raises :class:`TlsError` and :class:`OSError`."""
        self.expected = "the TLS handshake"
        await self._established
        if self.error is not None:
            raise self.error
        if not self.session.is_established:
            raise TlsError("the peer closed the connection in the TLS handshake")

    def write(self, data: bytes) -> None:
        self.session.send(data)
        self._send_records()
