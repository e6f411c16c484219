"""The TCP carrier, compatible with OTP's ``inet_tcp_dist``, the default of every BEAM.

Handshake messages have a 2-byte length before them, everything after the handshake a 4-byte one.
Source: ERTS User's Guide, *Distribution Protocol*; OTP's ``inet_tcp_dist`` and ``dist_util``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import ClassVar, Literal

from quicdist.carrier.addresses import Address, NetAddress, source_of
from quicdist.carrier.contract import Carrier, Incoming, Listener, LocalNode
from quicdist.carrier.errors import (
    AcceptError,
    AcceptTimeout,
    ConnectError,
    ListenError,
    PeerUnreachable,
    SetupTimeout,
)
from quicdist.carrier.event_loops import connect, getaddrinfo
from quicdist.carrier.happy_eyeballs import Candidate, Claim, candidates, race
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.rate_limits import FailureDelay
from quicdist.carrier.tcp import handshake as tcp_handshake
from quicdist.carrier.tcp.connection import TcpConnection
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tcp.listener import TcpIncoming, TcpListener
from quicdist.errors import QuicDistError
from quicdist.forking import close_in_children
from quicdist.logs import clean, get_logger
from quicdist.protocol import MAX_FRAME, Connected, DistConnection, StreamPlan, WrongCookie

logger = get_logger("quicdist.carrier.tcp")

#: The listen backlog; ``inet_tcp_dist`` requests 128. A connection that finds it full is retried by its
#: kernel after a second.
BACKLOG = 1024
#: Connections that are accepted in one turn of the event loop: more would delay everything else.
AT_ONCE = 8
#: Half-open connections: accepted by the kernel, in their distribution handshake.
MAX_HALF_OPEN = 128

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_ANY = {"inet": "0.0.0.0", "inet6": "::"}


class TcpCarrier(Carrier):
    """Distribution over TCP.

    ``address_family`` is ``"inet"`` (``inet_tcp_dist``) or ``"inet6"`` (``inet6_tcp_dist``, which
    accepts IPv4 connections as well): the family to listen with if no host is specified. Dialling tries all
    addresses of a host. ``max_half_open`` limits the connections in their handshake; beyond it a new one
    evicts the oldest of the source with most (:mod:`quicdist.carrier.evicting_table`). ``max_frame`` limits
    the frames of a peer, in bytes. ``limits`` are the buffer limits of each link.
    """

    family: ClassVar[str] = "tcp"
    _link_class: ClassVar[type[TcpLink]] = TcpLink

    def __init__(
        self,
        *,
        address_family: Literal["inet", "inet6"] = "inet",
        max_half_open: int = MAX_HALF_OPEN,
        max_frame: int = MAX_FRAME,
        limits: BufferLimits | None = None,
    ) -> None:
        self._address_family = address_family
        self._max_half_open = max_half_open
        self._max_frame = max_frame
        self._limits = limits or BufferLimits()
        self._wrong_cookies = FailureDelay()

    def address(self) -> NetAddress:
        return NetAddress("", 0, self.family, self._address_family)

    def _incoming_connection(self, listener: TcpListener) -> TcpConnection:
        return TcpConnection(listener.came_in)

    def _outgoing_connection(self, node: str) -> TcpConnection:
        return TcpConnection()

    # -- the acceptor's side ---------------------------------------------------------------

    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> TcpListener:
        loop = asyncio.get_running_loop()
        listener = TcpListener(self._max_half_open)
        sock: socket.socket | None = None
        try:
            sock = await self._listening_socket(host, port)
            server = await loop.create_server(
                functools.partial(self._incoming_connection, listener), sock=sock, backlog=AT_ONCE
            )
            sock.listen(BACKLOG)
        except (OSError, UnicodeError, OverflowError) as error:
            if sock is not None:
                sock.close()
            raise ListenError(host, port, _why(error)) from error
        where = sock.getsockname()
        family = "inet6" if sock.family == socket.AF_INET6 else "inet"
        listener.listening(server, NetAddress(where[0], where[1], self.family, family))
        return listener

    async def _listening_socket(self, host: str | None, port: int) -> socket.socket:
        _check_port(port, 0)
        family = _FAMILIES[self._address_family] if host is None else socket.AF_UNSPEC
        found = await getaddrinfo(
            host or _ANY[self._address_family],
            port,
            family=family,
            kind=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        family, kind, protocol, _, where = found[0]
        sock = socket.socket(family, kind, protocol)
        close_in_children(sock.fileno())
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(where[0] != "::"))
            sock.setblocking(False)
            sock.bind(where)
        except BaseException:
            sock.close()
            raise
        return sock

    async def accept(self, listener: Listener) -> AsyncIterator[Incoming]:
        assert isinstance(listener, TcpListener)
        while (incoming := await listener.next()) is not None:
            yield incoming

    async def accept_connection(self, incoming: Incoming, local: LocalNode, *, setup_time: float) -> TcpLink:
        assert isinstance(incoming, TcpIncoming)
        connection = incoming.connection
        where = incoming.remote_address
        try:
            async with asyncio.timeout(setup_time):
                await connection.secured()
                connected = await tcp_handshake.accept(
                    connection, local, named=functools.partial(incoming.listener.named, incoming)
                )
            return self._link(connected, connection, local)
        except BaseException as error:
            try:
                if isinstance(error, WrongCookie):
                    await self._delay(connection, where)
            finally:
                connection.close()
            named = _as_accept_error(error, where, setup_time)
            try:
                if named is None:
                    raise
                _log_refused(incoming, named)
                if named is error:
                    raise
                raise named from error
            finally:
                # Its traceback holds this frame: avoid the cycle.
                del named
        finally:
            incoming.listener.settled(incoming)

    async def _delay(self, connection: TcpConnection, where: Address) -> None:
        """Delay the answer to a wrong cookie, if others came from there before. The connection stays half
        open meanwhile, unless it is evicted."""
        loop = asyncio.get_running_loop()
        seconds = self._wrong_cookies.failed(source_of(where.host), loop.time())
        if seconds:
            await connection.ends_within(seconds)

    async def close(self, listener: Listener) -> None:
        assert isinstance(listener, TcpListener)
        listener.close()

    # -- the initiator's side --------------------------------------------------------------

    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> TcpLink:
        connection = self._outgoing_connection(node)
        try:
            async with asyncio.timeout(setup_time):
                await self._connect(node, address, connection)
                await connection.secured()
                connected = await tcp_handshake.initiate(connection, node, local)
            return self._link(connected, connection, local)
        except BaseException as error:
            connection.close()
            if isinstance(error, QuicDistError):
                raise
            if _timed_out(error):
                reason = f"no {'answer' if connection.expected else 'connection'} within {setup_time:g} s"
                if connection.expected:
                    reason += f": expected {connection.expected}"
                raise SetupTimeout(node, address, reason) from error
            if isinstance(error, OSError):
                raise ConnectError(node, address, self._lost(error, connection)) from error
            raise

    def _lost(self, error: OSError, connection: TcpConnection) -> str:
        """Why a connection broke in its handshake, for an error."""
        return f"connection lost{_when(connection)}: {_why(error)}"

    async def _connect(self, node: str, address: Address, connection: TcpConnection) -> None:
        try:
            _check_port(address.port, 1)
            found = await candidates(address, socket.SOCK_STREAM)
            sock = await race(_connected_socket, found, passing=(OSError,))
            await asyncio.get_running_loop().create_connection(lambda: connection, sock=sock)
        except (OSError, UnicodeError, OverflowError) as error:
            raise PeerUnreachable(node, address, _why(error)) from error
        except ExceptionGroup as group:
            reasons = zip(found, group.exceptions, strict=True)
            text = "; ".join(f"{where}: {_why(error)}" for where, error in reasons)
            raise PeerUnreachable(node, address, text) from group

    def _link(self, connected: Connected, connection: TcpConnection, local: LocalNode) -> TcpLink:
        dist = DistConnection(
            connected.peer,
            connected.local,
            codec=local.codec,
            streams=StreamPlan.single(),
            max_frame=self._max_frame,
        )
        return self._link_class(dist, connection, leftover=connected.leftover, limits=self._limits)


async def _connected_socket(candidate: Candidate, claim: Claim) -> socket.socket:
    sock = socket.socket(candidate.family, socket.SOCK_STREAM)
    close_in_children(sock.fileno())
    try:
        sock.setblocking(False)
        await connect(sock, candidate.address)
        if claim():
            return sock
        raise asyncio.CancelledError
    except BaseException:
        sock.close()
        raise


def _log_refused(incoming: TcpIncoming, error: QuicDistError) -> None:
    where = incoming.remote_address
    reason = error.reason if isinstance(error, AcceptError) else error
    listener = incoming.listener
    if incoming.evicted:
        note = listener.evictions.admit()
    else:
        note = listener.refused.admit(where.host, logging.WARNING)
    if note is not None:
        logger.warning("connection from %s refused: %s%s", where, clean(str(reason), 1000), note)


def _as_accept_error(error: BaseException, where: Address, setup_time: float) -> QuicDistError | None:
    if isinstance(error, QuicDistError):
        return error
    if _timed_out(error):
        return AcceptTimeout(where, f"no handshake within {setup_time:g} s")
    if isinstance(error, OSError):
        return AcceptError(where, f"connection lost in the handshake: {_why(error)}")
    return None


def _timed_out(error: BaseException) -> bool:
    """Whether the set-up time is over, rather than the kernel's time-out (ETIMEDOUT)."""
    return isinstance(error, TimeoutError) and error.errno is None


def _check_port(port: int, least: int) -> None:
    # Some resolvers treat 65536 as 0.
    if not least <= port < 1 << 16:
        raise OverflowError(f"a port is a number from {least} to 65535")


def _when(connection: TcpConnection) -> str:
    """The message that was expected, for an error."""
    return f", while {connection.expected} was expected" if connection.expected else ""


def _why(error: Exception) -> str:
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)  # the text of asyncio has the call and the address too
    return str(error)
