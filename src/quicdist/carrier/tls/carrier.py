"""The TLS carrier, compatible with OTP's ``inet_tls_dist``.

A TCP connection starts with the TLS handshake. The distribution handshake follows, its messages with a 4-byte
length, then frames as over TCP. Source: SSL User's Guide, *Erlang Distribution over TLS*; OTP's
``inet_tls_dist``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import LocalNode
from quicdist.carrier.errors import CertificateError, CertificateRefused, ConnectError, ListenError
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.carrier.tcp.connection import TcpConnection
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tcp.listener import TcpListener
from quicdist.carrier.tls.connection import TlsConnection
from quicdist.carrier.tls.context import ContextSource
from quicdist.carrier.tls.link import TlsLink
from quicdist.carrier.tls.session import TlsError, TlsSession
from quicdist.carrier.tls.settings import TlsSettings


class TlsCarrier(TcpCarrier):
    """Distribution over TLS. ``settings`` are the TLS options of both sides; the other parameters are those
    of :class:`~quicdist.carrier.TcpCarrier`."""

    family: ClassVar[str] = "tls"
    _link_class: ClassVar[type[TcpLink]] = TlsLink

    def __init__(self, settings: TlsSettings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings
        self._server = ContextSource(settings.server, server_side=True)
        self._client = ContextSource(settings.client, server_side=False)

    def _incoming_connection(self, listener: TcpListener) -> TlsConnection:
        return TlsConnection(self._server_session, listener.came_in)

    def _outgoing_connection(self, node: str) -> TlsConnection:
        return TlsConnection(lambda: self._client_session(node))

    def _server_session(self) -> TlsSession:
        return TlsSession(self._server.context(), server_side=True, depth=self._settings.server.depth)

    def _client_session(self, node: str) -> TlsSession:
        options = self._settings.client
        name = None
        if options.check_host:
            name = options.server_name or node.partition("@")[2]
        return TlsSession(self._client.context(), server_side=False, server_name=name, depth=options.depth)

    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> TcpListener:
        try:
            self._server.context()
        except CertificateError as error:
            raise ListenError(host, port, str(error)) from error
        return await super().listen(name, host=host, port=port)

    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> TcpLink:
        try:
            return await super().setup(node, address, local, setup_time=setup_time)
        except ConnectError as error:
            failed = error.__cause__
            if isinstance(failed, TlsError) and failed.certificate is not None:
                by_peer = failed.certificate == "ours"
                raise CertificateRefused(node, address, str(failed), by_peer=by_peer) from failed
            raise

    def _lost(self, error: OSError, connection: TcpConnection) -> str:
        return str(error) if isinstance(error, TlsError) else super()._lost(error, connection)
