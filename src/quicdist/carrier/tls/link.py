"""The established link to one node over TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from quicdist.carrier.errors import LinkLost
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tls.connection import MAX_UNSENT, NOT_READ, TlsConnection
from quicdist.carrier.tls.session import TlsError
from quicdist.carrier.tls.writer import TlsWriter

if TYPE_CHECKING:
    from quicdist.carrier.tcp.connection import TcpConnection
    from quicdist.carrier.tcp.writer import Writer
    from quicdist.protocol import DistConnection


class TlsLink(TcpLink):
    """A :class:`~quicdist.carrier.Link` over TLS: a TCP link whose bytes are encrypted.

    Two threads use the TLS session, under one lock: the keep-alive thread writes while the event loop is
    blocked.
    """

    carrier_name: ClassVar[str] = "tls"

    def __init__(
        self,
        dist: DistConnection,
        connection: TcpConnection,
        *,
        leftover: bytes = b"",
        limits: BufferLimits | None = None,
    ) -> None:
        assert isinstance(connection, TlsConnection)
        self._session = connection.session
        super().__init__(dist, connection, leftover=leftover, limits=limits)

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, if it showed one."""
        return self._session.peer_certificate

    def _make_writer(self, connection: TcpConnection) -> Writer:
        return TlsWriter(connection.transport, self._session)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        writer = self._writer
        assert isinstance(writer, TlsWriter)
        plaintext, failed = b"", None
        with self._lock:
            try:
                plaintext = self._session.receive_data(data)
            except TlsError as error:
                failed = error
            writer.add_session_records()
        if writer.session_size:
            self._flush()
            if writer.session_size > MAX_UNSENT:
                failed = TlsError(f"TLS failed: {NOT_READ}")
        if failed is not None:
            self._fail(LinkLost(self.peer.name, str(failed)))
        elif plaintext:
            super().data_received(plaintext)

    def _write_eof(self) -> None:
        writer = self._writer
        assert isinstance(writer, TlsWriter)
        with self._lock:
            self._session.close()
            writer.add_session_records()
        self._flush()
        if writer.is_empty:  # else it is called again when it is
            super()._write_eof()
