"""Admission of new connections: under load, the address of a client is validated first.

A Retry costs microseconds and needs no state (RFC 9000, section 8.1.2); a connection costs milliseconds and a
place. Refusals are sent without a connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from quicdist.carrier.datagram_socket import SocketAddress, to_address
from quicdist.carrier.quic.driver.retry_tokens import RetryTokens, StaleToken
from quicdist.carrier.quic.engine.contract import StatelessPackets
from quicdist.carrier.quic.engine.wire.long_header import MIN_FIRST_ID, LongHeader, initial_token, is_initial
from quicdist.carrier.rate_limits import TokenBucket
from quicdist.logs import RateLimit, get_logger

log = get_logger("quicdist.carrier.quic")

#: When a client's address is validated by a Retry; erlang_quic's option of this name has the last two.
AddressValidation = Literal["auto", "always", "never"]

#: ``auto`` sends Retry while more than this share of the half-open places is taken,
RETRY_SHARE: Final = 1 / 4
#: or while connections of unvalidated addresses are opened more often than this, per second and at once.
UNVALIDATED_RATE: Final = 50.0
UNVALIDATED_BURST: Final = 50.0
#: Packets sent without a connection, of each kind, per second; and refusals, which cost more.
ANSWER_RATE: Final = 5000.0
REFUSAL_RATE: Final = 50.0


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """How many connections may be half open, in all and of one source, and when the address of a client is
    validated first."""

    max_half_open: int
    max_half_open_per_source: int
    address_validation: AddressValidation = "auto"


class Opening(NamedTuple):
    """A connection is to be opened."""

    #: The connection id of the client's very first packet.
    original_id: bytes
    #: The connection id of our Retry, if there was one: the client's address is validated.
    retry_id: bytes | None


class Admission:
    """Decides about new connections at one listening socket. ``half_open`` counts the half-open connections,
    ``answer`` sends a datagram, ``packets`` makes its content."""

    def __init__(
        self,
        settings: AdmissionSettings,
        *,
        id_length: int,
        half_open: Callable[[], int],
        answer: Callable[[bytes, SocketAddress], None],
        packets: StatelessPackets,
    ) -> None:
        self._validation = settings.address_validation
        self._retry_from = RETRY_SHARE * settings.max_half_open
        self._id_length = id_length
        self._half_open = half_open
        self._answer = answer
        self._packets = packets
        self._tokens = RetryTokens()
        self._unvalidated = TokenBucket(UNVALIDATED_RATE, UNVALIDATED_BURST)
        self._retries = TokenBucket(ANSWER_RATE, ANSWER_RATE / 10)
        self._negotiations = TokenBucket(ANSWER_RATE, ANSWER_RATE / 10)
        self._refusals = TokenBucket(REFUSAL_RATE, REFUSAL_RATE)
        self._lines = RateLimit(lines=1)

    def consider(
        self, header: LongHeader, data: bytes, address: SocketAddress, now: float, *, accepting: bool
    ) -> Opening | None:
        """Decide about a datagram of at least 1200 bytes that belongs to no connection: the connection that
        it opens, or None; then it was answered if it has to be. ``now`` is in seconds of any steady clock;
        ``accepting``: connections are accepted at all."""
        if not is_initial(data) or len(header.destination) < MIN_FIRST_ID:
            return None
        token = initial_token(data, header)
        if token is None:
            return None
        if not accepting:
            if self._refusals.take(now):
                self._answer(
                    self._packets.connection_refused(header, "no longer accepting connections"), address
                )
            return None
        if self._validation == "never":
            return Opening(header.destination, None)
        try:
            original_id = self._tokens.check(token, address, header.destination, now) if token else None
        except StaleToken:
            if self._refusals.take(now):
                self._answer(self._packets.invalid_token(header), address)
            return None
        if original_id is not None:
            return Opening(original_id, header.destination)
        if not self._asks_for_validation(address, now):
            return Opening(header.destination, None)
        if self._retries.take(now):
            retry_id = os.urandom(self._id_length)
            issued = self._tokens.issue(address, header.destination, retry_id, now)
            self._answer(self._packets.retry(header, retry_id, issued), address)
        return None

    def may_negotiate(self, now: float) -> bool:
        """Whether a datagram of an unknown version is answered with Version Negotiation."""
        return self._negotiations.take(now)

    def _asks_for_validation(self, address: SocketAddress, now: float) -> bool:
        if self._validation == "always":
            return True
        taken = self._half_open()
        if taken <= self._retry_from and self._unvalidated.take(now):
            return False
        note = self._lines.admit()
        if note is not None:
            log.warning(
                "%d connections are in their handshake: the addresses of new clients are validated first "
                "(Retry), starting with %s%s",
                taken,
                to_address(address),
                note,
            )
        return True
