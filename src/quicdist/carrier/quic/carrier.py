"""The QUIC carrier, wire-compatible with erlang_quic's ``quic_dist``.

Dialling is in :mod:`quicdist.carrier.quic.dialling`, listeners in :mod:`quicdist.carrier.quic.listener`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, TypeVar

from quicdist.carrier.addresses import Address, NetAddress, source_of
from quicdist.carrier.contract import Incoming, Listener, LocalNode
from quicdist.carrier.datagram_socket import DatagramSocket, OpenSocket
from quicdist.carrier.errors import (
    AcceptError,
    CarrierError,
    CertificateError,
    ListenError,
    Refusal,
)
from quicdist.carrier.event_loops import getaddrinfo
from quicdist.carrier.quic import DEFAULT_PORT
from quicdist.carrier.quic.accept_handshake import AcceptHandshake, Accepting
from quicdist.carrier.quic.dialling import QuicDialler, give_up, meaning
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.endpoint import register
from quicdist.carrier.quic.driver.listen_endpoint import ListenEndpoint
from quicdist.carrier.quic.driver.stateless_reset import StatelessResets
from quicdist.carrier.quic.engine.contract import EngineFactory
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.listener import IncomingState, QuicIncoming, QuicListener
from quicdist.carrier.quic.reset_secret import reset_secret
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.rate_limits import FailureDelay
from quicdist.carrier.udp import UdpSocket
from quicdist.logs import get_logger
from quicdist.protocol import WrongCookie

log = get_logger("quicdist.carrier.quic")

T = TypeVar("T")


class QuicCarrier(QuicDialler):
    """Links over QUIC. One carrier can listen in several places and dial at the same time."""

    family: ClassVar[str] = "quic"

    def __init__(self, settings: QuicSettings | None = None) -> None:
        settings = settings or QuicSettings()
        super().__init__(settings, settings.engines or _aioquic())
        self._wrong_cookies = FailureDelay()

    def address(self) -> NetAddress:
        return NetAddress("", 0, self.family)

    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> QuicListener:
        """Listen on UDP ``port`` of ``host``; 0 lets the system choose, ``DEFAULT_PORT`` is
        quic_dist's. Raises :class:`ListenError`, also without a certificate."""
        try:
            engine_settings = self.settings.for_listening()
        except CertificateError as error:
            raise ListenError(host, port, str(error)) from error
        udp = UdpSocket(await _bind(self.settings.sockets, host, port))
        try:
            secret = reset_secret(self.settings.reset_secret, self.settings.tls, name, udp.local.port)
        except CertificateError as error:
            udp.close()
            raise ListenError(host, port, str(error)) from error
        listener = QuicListener(udp, self.family)
        resets = StatelessResets(secret)
        issued = self.resumption.for_listening(engine_settings)
        endpoint = ListenEndpoint(
            udp,
            self.engines.listen(engine_settings, reset_token=resets.token, issued=issued),
            lambda endpoint: QuicIncoming(endpoint, listener),
            admission=self.settings.admission,
            resets=resets,
        )
        listener.endpoint = endpoint
        await register(endpoint)
        log.info("%s listens at %s, buffers %s", name, listener.address, listener.buffers)
        return listener

    async def accept(self, listener: Listener) -> AsyncIterator[QuicIncoming]:
        arrived = _ours(listener, QuicListener).arrived
        while (incoming := await arrived.get()) is not None:
            if incoming.state is not IncomingState.CLOSED:
                yield incoming
            del incoming
        arrived.put_nowait(None)  # for other callers of accept()

    async def accept_connection(self, incoming: Incoming, local: LocalNode, *, setup_time: float) -> QuicLink:
        def begin(connection: QuicConnection) -> AcceptHandshake:
            return AcceptHandshake(connection, local, self.settings, self._stream_counts, self._attempts)

        return await self._accept(incoming, begin, setup_time)

    async def _accept(
        self, incoming: Incoming, begin: Callable[[QuicConnection], Accepting], setup_time: float
    ) -> QuicLink:
        waiting = _ours(incoming, QuicIncoming)
        handshake = waiting.accept(begin)
        connection = waiting.connection
        try:
            link = await handshake.link(setup_time)
        except BaseException as raised:
            error = meaning(raised, handshake, setup_time)
            try:
                if isinstance(error, WrongCookie):
                    await self._delay(incoming.remote_address)
            finally:
                give_up(connection, handshake, error, self.settings.linger)
            reason = error.reason if isinstance(error, AcceptError) else error
            # When two nodes dial each other, one dial is dropped as a matter of course.
            dropped = isinstance(error, AcceptError) and error.refusal is Refusal.SIMULTANEOUS
            level = logging.DEBUG if dropped else logging.WARNING
            waiting.refused(level, str(reason or "given up"))
            handshake.forget()
            try:
                raise error from (None if error is not raised else raised.__cause__)
            finally:
                del error, reason
        waiting.endpoint.half_open.leave(connection)
        return link

    async def _delay(self, where: Address) -> None:
        """Delay the answer to a wrong cookie, if others came from there before. The connection stays half
        open meanwhile, unless it is evicted."""
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self._wrong_cookies.failed(source_of(where.host), now))

    async def close(self, listener: Listener) -> None:
        _ours(listener, QuicListener).close()


def _aioquic() -> EngineFactory:
    # Imported only here: a carrier with another engine does not load aioquic.
    from quicdist.carrier.quic.engine.aioquic.factory import AioquicFactory

    return AioquicFactory()


async def _bind(open_socket: OpenSocket, host: str | None, port: int) -> DatagramSocket:
    """A socket bound to ``host``, or to every address of both families. Raises ListenError."""
    try:
        if host is None:
            with contextlib.suppress(OSError):
                return open_socket(socket.AF_INET6, local=("::", port))
            return open_socket(socket.AF_INET, local=("0.0.0.0", port))
        found = await getaddrinfo(host, port, kind=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, _, _, _, local = found[0]
        return open_socket(family, local=local)
    except OSError as error:
        raise ListenError(host, port, error.strerror or str(error)) from error


def _ours(thing: object, kind: type[T]) -> T:
    if not isinstance(thing, kind):
        raise CarrierError(f"{thing!r} is not of a QUIC carrier")
    return thing


__all__ = ["DEFAULT_PORT", "QuicCarrier", "QuicIncoming", "QuicListener", "QuicSettings"]
