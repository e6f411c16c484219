"""An established connection over TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from quicdist.carrier.errors import LinkLost
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tls.channel import TlsChannel
from quicdist.carrier.tls.session import TlsError
from quicdist.carrier.tls.writer import TlsWriter

if TYPE_CHECKING:
    from quicdist.carrier.tcp.channel import TcpChannel
    from quicdist.carrier.tcp.writer import Writer
    from quicdist.protocol import DistConnection


class TlsLink(TcpLink):
    """A :class:`~quicdist.carrier.Link` over TLS: that over TCP, with records in place of its bytes.

    Two threads use the session, under one lock: it writes while the event loop stands still.
    """

    carrier_name: ClassVar[str] = "tls"

    def __init__(
        self,
        connection: DistConnection,
        channel: TcpChannel,
        *,
        leftover: bytes = b"",
        limits: BufferLimits | None = None,
    ) -> None:
        assert isinstance(channel, TlsChannel)
        self._session = channel.session
        super().__init__(connection, channel, leftover=leftover, limits=limits)

    def _make_writer(self, channel: TcpChannel) -> Writer:
        return TlsWriter(channel.transport, self._session)

    def data_received(self, data: bytes) -> None:
        writer = self._writer
        assert isinstance(writer, TlsWriter)
        with self._lock:
            try:
                plaintext = self._session.receive_data(data)
            except TlsError as error:
                writer.flush_session()  # the alert
                failed: TlsError | None = error
            else:
                failed = None
                writer.flush_session()
        if failed is not None:
            self._fail(LinkLost(self.peer.name, str(failed)))
        elif plaintext:
            super().data_received(plaintext)

    def _write_eof(self) -> None:
        with self._lock:
            self._session.close()
            writer = self._writer
            assert isinstance(writer, TlsWriter)
            writer.flush_session()
        super()._write_eof()
