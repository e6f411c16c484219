"""Who may begin a connection, and when: the work that strangers cause is small, and waits for that of links.

To open a connection costs milliseconds, most of it the signature of the TLS handshake. So connections are
opened one at a time, after what came for those there are, and not all the time; meanwhile newcomers wait,
a bounded number of them, one for each address and port. Where many come, their addresses are validated
first: a Retry costs microseconds, and nothing is kept for it (RFC 9000, section 8.1.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from quicdist.carrier.quic.driver.long_header import (
    MIN_FIRST_ID,
    LongHeader,
    initial_token,
    is_early,
    is_initial,
)
from quicdist.carrier.quic.driver.retry import RetryTokens, StaleToken, retry_packet
from quicdist.carrier.quic.driver.stateless_close import connection_refused, invalid_token
from quicdist.carrier.sources import Places, Source, TokenBucket, source_of
from quicdist.carrier.udp import Datagram, SocketAddress, to_address
from quicdist.logs import RateLimit, get_logger

log = get_logger("quicdist.carrier.quic")

#: When a client's address is validated by a Retry; erlang_quic's option of this name has the last two.
AddressValidation = Literal["auto", "always", "never"]

#: ``auto`` sends Retry while more than this share of the half-open places is taken,
RETRY_SHARE: Final = 1 / 4
#: or while connections of unvalidated addresses are opened more often than this, per second and at once.
UNVALIDATED_RATE: Final = 50.0
UNVALIDATED_BURST: Final = 50.0
#: Newcomers that wait to be opened, in all and of one source, and datagrams kept of each: a ClientHello may
#: take two, and early data may follow.
MAX_NEWCOMERS: Final = 64
MAX_OF_SOURCE: Final = 32
MAX_DATAGRAMS: Final = 4
#: Answers without a connection, of each kind, per second; and refusals, which cost more.
ANSWER_RATE: Final = 5000.0
REFUSAL_RATE: Final = 50.0
#: An address and port gets one Retry in so many seconds: a flood from there does not use up those of others.
RETRY_INTERVAL: Final = 0.01
_MAX_RETRIED: Final = 1024
#: After a connection was opened the next one waits for as long as that took, times this.
REST: Final = 1.0


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """How many connections may be on their way in at once, in all and of one source, and when the address of
    a new one is validated first."""

    max_half_open: int
    max_half_open_per_source: int
    address_validation: AddressValidation = "auto"


@dataclass(slots=True, eq=False)
class Newcomer:
    """A connection that is not opened yet, and what came for it."""

    header: LongHeader
    address: SocketAddress
    source: Source
    #: The connection id of the client's very first packet, and that of our Retry if there was one.
    original_id: bytes
    retry_id: bytes | None
    datagrams: list[Datagram]


class Admission:
    """The newcomers at one listening socket.

    ``half_open`` counts the connections that are no links yet; ``open_connection`` makes one of a newcomer,
    ``answer`` sends a datagram, ``later`` has :meth:`served_later` called in so many seconds.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        *,
        half_open: Callable[[], int],
        id_length: int,
        open_connection: Callable[[Newcomer], None],
        answer: Callable[[bytes, SocketAddress], None],
        later: Callable[[float], None],
    ) -> None:
        self.accepting = True
        self._half_open = half_open
        self._validation = settings.address_validation
        self._retry_from = RETRY_SHARE * settings.max_half_open
        self._id_length = id_length
        self._open = open_connection
        self._answer = answer
        self._later = later
        self._tokens = RetryTokens()
        self._waiting: dict[SocketAddress, Newcomer] = {}
        self._lobby: Places[SocketAddress] = Places(MAX_NEWCOMERS, MAX_OF_SOURCE)
        self._unvalidated = TokenBucket(UNVALIDATED_RATE, UNVALIDATED_BURST)
        self._retries = TokenBucket(ANSWER_RATE, ANSWER_RATE / 10)
        self._negotiations = TokenBucket(ANSWER_RATE, ANSWER_RATE / 10)
        self._refusals = TokenBucket(REFUSAL_RATE, REFUSAL_RATE)
        self._retried: set[SocketAddress] = set()
        self._retried_at = float("-inf")
        self._open_at = float("-inf")
        self._asked = False
        self._lines = RateLimit(lines=1)

    def arrived(self, header: LongHeader, data: bytes, address: SocketAddress, now: float) -> bool:
        """A datagram of at least 1200 bytes came for no connection there is: it may begin one. False if it
        is nothing that could."""
        newcomer = self._waiting.get(address)
        if newcomer is not None:
            if newcomer.header.destination == header.destination:
                if len(newcomer.datagrams) < MAX_DATAGRAMS:
                    newcomer.datagrams.append((data, address))
                return True
            return False
        if not is_initial(data) or len(header.destination) < MIN_FIRST_ID:
            return False
        token = initial_token(data, header)
        if token is None:
            return False
        original_id, retry_id = header.destination, None
        if not self.accepting:
            self._refuse(header, address, now)
            return True
        if self._validation != "never":
            try:
                found = self._tokens.check(token, address, header.destination, now) if token else None
            except StaleToken:
                if self._refusals.take(now):
                    self._answer(invalid_token(header), address)
                return True
            if found is not None:
                original_id, retry_id = found, header.destination
            elif self._asks_for_validation(address, now):
                if self._may_retry(address, now):
                    self._answer(retry_packet(self._tokens, header, address, self._id_length, now), address)
                return True
        source = source_of(str(address[0]))
        loser = self._lobby.enter(address, source, validated=retry_id is not None)
        if loser is not None:
            del self._waiting[loser]
        self._waiting[address] = Newcomer(header, address, source, original_id, retry_id, [(data, address)])
        return True

    def continued(self, header: LongHeader, data: bytes, address: SocketAddress) -> bool:
        """A shorter datagram came for no connection there is: whether it goes on with a newcomer's early
        data."""
        newcomer = self._waiting.get(address)
        if newcomer is None or newcomer.header.destination != header.destination or not is_early(data):
            return False
        if len(newcomer.datagrams) < MAX_DATAGRAMS:
            newcomer.datagrams.append((data, address))
        return True

    def serve(self, now: float) -> None:
        """Open the connection of the newcomer that waits longest, if it is time for that."""
        if not self._waiting:
            return
        if now >= self._open_at:
            address, newcomer = next(iter(self._waiting.items()))
            self._forget(address)
            began = time.perf_counter()
            self._open(newcomer)
            self._open_at = now + REST * (time.perf_counter() - began)
        if self._waiting and not self._asked:
            self._asked = True
            self._later(max(0.0, self._open_at - now))

    def served_later(self, now: float) -> None:
        """What ``later`` was asked for."""
        self._asked = False
        self.serve(now)

    def stop(self) -> None:
        """Open nothing any more."""
        self.accepting = False
        for address in tuple(self._waiting):
            self._forget(address)

    def may_negotiate(self, now: float) -> bool:
        """Whether a datagram of another version is answered (Version Negotiation)."""
        return self._negotiations.take(now)

    def _forget(self, address: SocketAddress) -> None:
        del self._waiting[address]
        self._lobby.leave(address)

    def _may_retry(self, address: SocketAddress, now: float) -> bool:
        if now - self._retried_at >= RETRY_INTERVAL:
            self._retried_at = now
            self._retried.clear()
        if address in self._retried or len(self._retried) >= _MAX_RETRIED:
            return False
        self._retried.add(address)
        return self._retries.take(now)

    def _asks_for_validation(self, address: SocketAddress, now: float) -> bool:
        if self._validation == "always":
            return True
        taken = self._half_open() + len(self._waiting)
        if taken <= self._retry_from and self._unvalidated.take(now):
            return False
        note = self._lines.admit("retry")
        if note is not None:
            log.warning(
                "%d connections are in their handshake: the addresses of new ones are validated first, "
                "from %s on (Retry)%s",
                taken,
                to_address(address),
                note,
            )
        return True

    def _refuse(self, header: LongHeader, address: SocketAddress, now: float) -> None:
        if self._refusals.take(now):
            self._answer(connection_refused(header, "it accepts no connections any more"), address)
