"""Dialling over QUIC: addresses, source ports, repeated attempts, and the first that succeeds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import Carrier, LocalNode
from quicdist.carrier.errors import (
    ConnectError,
    DialAgain,
    PeerUnreachable,
    SetupTimeout,
)
from quicdist.carrier.happy_eyeballs import Candidate, Claim, candidates, race
from quicdist.carrier.quic.close_codes import close_code, close_reason
from quicdist.carrier.quic.connect_options import ConnectOptions
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.dial_handshake import DialHandshake, Dialling
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.dial_endpoint import UNREACHABLE_NETWORK, DialEndpoint
from quicdist.carrier.quic.driver.endpoint import register
from quicdist.carrier.quic.engine.contract import EngineFactory
from quicdist.carrier.quic.handshake import QuicHandshake
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.resumption import Resumption
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.quic.simultaneous_connect import Attempts
from quicdist.carrier.quic.source_ports import EXTRA_DIAL_TIME, MAX_EXTRA_DIALS, dial_from_several_ports
from quicdist.carrier.udp import UdpSocket
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: Makes the handshake of one attempt.
BeginDial = Callable[[QuicSettings, Claim], Dialling]

#: A QUIC handshake is tried so many times, each in its share of the set-up time: quic_dist up to 1.8.1 does
#: not retransmit its part of a handshake if it was lost.
TRIES: Final = 3
#: A peer that has answered and is then silent for so many seconds is dialled again; the next time after twice
#: as long, and so on: a slow peer is not dialled again for ever.
STALL: Final = 0.5
#: It is dialled again only if so many times as much time is left.
STALLS_LEFT: Final = 4


class QuicDialler(Carrier):
    """The dialling half of a QUIC carrier."""

    def __init__(self, settings: QuicSettings, engines: EngineFactory) -> None:
        self.settings = settings
        #: Makes the connections.
        self.engines = engines
        self.resumption = Resumption(settings)
        #: Options for single nodes, by their names; read at every dial.
        self.connect_options: dict[str, ConnectOptions] = {}
        self._attempts = Attempts()
        self._stream_counts = StreamCounts()
        self._extra_dials = asyncio.Semaphore(MAX_EXTRA_DIALS)

    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> QuicLink:
        def begin(settings: QuicSettings, claim: Claim) -> Dialling:
            return DialHandshake(node, address, local, settings, self._stream_counts, claim)

        return await self._dial(node, address, begin, setup_time)

    async def _dial(self, node: str, address: Address, begin: BeginDial, setup_time: float) -> QuicLink:
        if not self.select(node):
            raise ConnectError(node, address, "not a node name (name@host)")
        deadline = asyncio.get_running_loop().time() + setup_time
        found = await _resolve(node, address, setup_time)

        async def attempt(candidate: Candidate, claim: Claim) -> QuicLink:
            dial = _Dial(self, node, address, candidate, begin, deadline, setup_time)
            return await dial_from_several_ports(
                lambda claim: dial.first(claim, alone=len(found) == 1),
                dial.extra,
                silent=dial.is_silent,
                claim=claim,
                places=self._extra_dials,
            )

        try:
            return await race(attempt, found, passing=(PeerUnreachable, SetupTimeout))
        except ExceptionGroup as group:
            raise _of_all(node, address, found, group) from group

    def settings_for(self, node: str) -> QuicSettings:
        """The settings for dialling ``node``."""
        options = self.connect_options.get(node)
        return self.settings if options is None else options.applied_to(self.settings)


class _Dial:
    """All attempts at one address of a node, until ``deadline`` in the loop's time."""

    def __init__(
        self,
        dialler: QuicDialler,
        node: str,
        address: Address,
        candidate: Candidate,
        begin: BeginDial,
        deadline: float,
        setup_time: float,
    ) -> None:
        self._dialler = dialler
        self._node = node
        self._address = address
        self._candidate = candidate
        self._begin = begin
        self._deadline = deadline
        self._setup_time = setup_time
        self._loop = asyncio.get_running_loop()
        #: The sockets of all attempts.
        self._sockets: list[UdpSocket] = []

    def is_silent(self) -> bool:
        """Whether no datagram has come back to any attempt."""
        return not any(udp.datagrams_in for udp in self._sockets)

    async def first(self, claim: Claim, *, alone: bool) -> QuicLink:
        """The first attempt, repeated while it stalls. ``alone``: no other address is dialled for the
        same link."""
        share, stall = self._setup_time / TRIES, STALL
        while True:
            left = self._deadline - self._loop.time()
            try:
                return await self._connect(
                    claim,
                    alone=alone,
                    patience=share if left >= 1.5 * share else None,
                    stall=stall if left >= STALLS_LEFT * stall else None,
                )
            except DialAgain as error:
                log.info("%s: trying again, without early data", error)
                alone = False
                stall *= 2

    async def extra(self, claim: Claim) -> QuicLink:
        """An attempt from another port, concurrent with the first."""
        log.debug("no answer from %s at %s: dialling from another port too", self._node, self._candidate)
        return await self._connect(claim, alone=False, patience=EXTRA_DIAL_TIME)

    async def _connect(
        self, claim: Claim, *, alone: bool, patience: float | None, stall: float | None = None
    ) -> QuicLink:
        """One attempt. Raises :class:`DialAgain` if a session ticket is refused, and if the peer has not
        answered within ``patience`` seconds, or was silent for ``stall`` seconds after an answer."""
        dialler, loop = self._dialler, self._loop
        node, address = self._node, self._address
        family, remote = self._candidate
        settings = dialler.settings_for(node)
        try:
            engine_settings = settings.for_dialling(node.partition("@")[2])
            udp = UdpSocket(settings.sockets(family, remote=remote))
        except OSError as refused:
            raise PeerUnreachable(node, address, f"{UNREACHABLE_NETWORK}: {refused.strerror}") from refused
        self._sockets.append(udp)
        tickets = dialler.resumption.for_dialling(node, engine_settings, alone=alone)
        handshake = self._begin(settings, claim)
        engine = dialler.engines.dial(
            engine_settings,
            ticket=tickets.ticket if tickets else None,
            on_ticket=tickets.keep if tickets else None,
        )
        endpoint = DialEndpoint(udp, remote, engine, handshake, sockets=settings.sockets)
        connection = handshake.connection = endpoint.connection
        try:
            if tickets is not None:
                tickets.engine = engine
                handshake.begin(tickets.ticket)
            connection.transmit()
            await register(endpoint)
            with dialler._attempts.under_way(node, handshake):
                begun = loop.time()
                if patience is not None or stall is not None:
                    limit = self._deadline - begun if patience is None else patience
                    if not await handshake.begun(limit, stall) and loop.time() < self._deadline:
                        text = f"no QUIC handshake response within {loop.time() - begun:.3g} s"
                        raise DialAgain(node, address, text)
                return await handshake.link(self._deadline - loop.time())
        except BaseException as raised:
            error = meaning(raised, handshake, self._setup_time)
            give_up(connection, handshake, error, dialler.settings.linger)
            handshake.forget()
            if error is raised:
                del error  # Its traceback holds this frame: avoid the cycle.
                raise
        # Not in the handler: as a context, a TimeoutError would be kept, and by its frames the task.
        try:
            raise error
        finally:
            del error


def meaning(raised: BaseException, handshake: QuicHandshake, seconds: float) -> BaseException:
    """The error of a handshake that ``raised``; for a TimeoutError, the one of a time-out after
    ``seconds``."""
    return handshake.timed_out(seconds) if isinstance(raised, TimeoutError) else raised


def give_up(
    connection: QuicConnection, handshake: QuicHandshake, error: BaseException, linger: float
) -> None:
    """Close the connection of a handshake that failed with ``error``, or the link that came too late."""
    done = handshake.done
    if done.done() and not done.cancelled() and done.exception() is None:
        done.result().close("given up")
        return
    reason = close_reason(error) if isinstance(error, QuicDistError) else "given up"
    quicdist = connection.engine.peer_is_quicdist()
    connection.close(close_code(error, quicdist=quicdist), reason, linger=linger)


# -- addresses ---------------------------------------------------------------------------------


async def _resolve(node: str, address: Address, setup_time: float) -> list[Candidate]:
    try:
        async with asyncio.timeout(setup_time):
            return await candidates(address, socket.SOCK_DGRAM)
    except TimeoutError:
        text = f"host {address.host} was not resolved within {setup_time:g} s"
        raise SetupTimeout(node, address, text) from None
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise PeerUnreachable(node, address, f"host {address.host} not found: {why}") from error


def _of_all(
    node: str, address: Address, found: Sequence[Candidate], group: ExceptionGroup[Exception]
) -> ConnectError:
    """One error with the reasons of all addresses."""
    reasons = [getattr(error, "reason", str(error)) for error in group.exceptions]
    kind = SetupTimeout if isinstance(group.exceptions[-1], SetupTimeout) else PeerUnreachable
    text = "; ".join(f"{where}: {reason}" for where, reason in zip(found, reasons, strict=True))
    return kind(node, address, text)
