"""Dials remote nodes when the local node, or a tool beside it, dials them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final

from quicdist.carrier import Address, NetAddress, PeerUnreachable, SetupTimeout
from quicdist.carrier.happy_eyeballs import candidates
from quicdist.carrier.quic.relay import QuicRelayCarrier, QuicRelayLink
from quicdist.carrier.tcp.listener import TcpIncoming
from quicdist.carrier.tcp.relay import TcpNearEnd
from quicdist.discovery import Discovery
from quicdist.errors import QuicDistError
from quicdist.gateway.errors import GatewayError
from quicdist.gateway.hosts import RemoteHosts
from quicdist.gateway.relays import Relays
from quicdist.gateway.remote_nodes import addresses_of
from quicdist.gateway.traffic import Traffic
from quicdist.logs import RateLimit, get_logger

log = get_logger("quicdist.gateway")

#: Dials of the local node, and of other programs that dial in its place, that are under way at once; others
#: wait, within the time for a handshake.
MAX_DIALS: Final = 32


class LocalDials:
    """Dials over QUIC in place of the local node. ``setup_time`` is in seconds."""

    def __init__(
        self,
        carrier: QuicRelayCarrier,
        discovery: Discovery,
        hosts: RemoteHosts,
        relays: Relays,
        traffic: Traffic,
        setup_time: float,
    ) -> None:
        self._carrier = carrier
        self._discovery = discovery
        self._hosts = hosts
        self._relays = relays
        self._traffic = traffic
        self._setup_time = setup_time
        #: Where the gateway listens for QUIC, once it does.
        self.own_address: NetAddress | None = None
        self._undone = RateLimit()
        self._slots = asyncio.Semaphore(MAX_DIALS)
        self._begins = asyncio.Lock()

    async def dialled(self, node: str, incoming: TcpIncoming) -> None:
        """The local node, or a tool beside it, has connected to the port of ``node``."""
        near = TcpNearEnd(incoming.connection)
        try:
            try:
                async with asyncio.timeout(self._setup_time):
                    local, message = await near.name()
            except (OSError, TimeoutError) as error:
                raise GatewayError(
                    f"a dial to {node} sent no name message: {type(error).__name__}"
                ) from error
            incoming.listener.named(incoming)
            async with self._slot(node):
                link = await self._dial(node, message, near)
        except QuicDistError as error:
            near.close()
            self._traffic.dials_failed += 1
            note = self._undone.admit(node)
            if note is not None:
                log.warning("no connection to %s: %s%s", node, error, note)
        except BaseException:
            near.close()
            raise
        else:
            log.debug("%s has dialled %s", local.name, node)
            self._relays.connect(link, near)
        finally:
            incoming.listener.settled(incoming)

    @contextlib.asynccontextmanager
    async def _slot(self, node: str) -> AsyncIterator[None]:
        """One of the dials that may be under way at once."""
        try:
            async with asyncio.timeout(self._setup_time):
                await self._slots.acquire()
        except TimeoutError:
            raise GatewayError(f"{MAX_DIALS} other dials are under way") from None
        try:
            async with self._begins:  # Each costs a millisecond: one in a turn of the event loop.
                await asyncio.sleep(0)
            yield
        finally:
            self._slots.release()

    async def _dial(self, node: str, message: bytes, near: TcpNearEnd) -> QuicRelayLink:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._setup_time
        failed: QuicDistError | None = None
        for address in await addresses_of(self._discovery, node, self._setup_time):
            await self._check_address(node, address)
            try:
                return await self._carrier.relay_dial(
                    node, address, message, near, setup_time=max(0.0, deadline - loop.time())
                )
            except (PeerUnreachable, SetupTimeout) as error:
                if near.attached:
                    raise
                failed = error
        raise failed or GatewayError(f"discovery has no address of {node}")

    async def _check_address(self, node: str, address: Address) -> None:
        """A remote host must not resolve to the address that stands for it on this machine."""
        if self.own_address is None or address.port != self.own_address.port:
            return
        with contextlib.suppress(OSError, UnicodeError):
            for _, (host, *_) in await candidates(address, socket.SOCK_DGRAM):
                if host in self._hosts.addresses:
                    raise GatewayError(
                        f"{address.host} resolves to {host} here, which is the gateway itself: give the "
                        f"address of {node}, or name the hosts in ERL_INETRC and not in /etc/hosts"
                    )
