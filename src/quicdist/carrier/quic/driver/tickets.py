"""Session tickets: those of nodes dialled before, and those that a listener has issued.

A ticket is used once: by the dialler, so that its connections cannot be linked by it (RFC 8446, appendix
C.4), and by the listener, so that a replayed first flight is not accepted (RFC 8446, section 8.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from quicdist.carrier.quic.engine.contract import Ticket
from quicdist.carrier.quic.engine.settings import EngineSettings

#: Tickets in one store; beyond that the oldest are dropped.
CAPACITY = 1024

K = TypeVar("K", bound=Hashable)


class TicketStore(Generic[K]):
    """At most ``capacity`` tickets, one per key, each removed when it is used."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tickets: dict[K, Ticket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def put(self, key: K, ticket: Ticket) -> None:
        """Keep ``ticket`` in place of an earlier one."""
        tickets = self._tickets
        tickets.pop(key, None)  # moves the key to the end
        tickets[key] = ticket
        while len(tickets) > self._capacity:
            del tickets[next(iter(tickets))]

    def take(self, key: K) -> Ticket | None:
        """Remove and return the ticket for ``key``; None if there is none or it has expired."""
        ticket = self._tickets.pop(key, None)
        return ticket if ticket is not None and ticket.is_valid else None


class TicketKey(NamedTuple):
    """The key of a dialler's ticket. ``trust`` is a digest of all settings by which the peer was verified
    when the ticket was issued: a resumed session shows no certificate, so a ticket of an unverified peer must
    not be used where the peer is verified."""

    node: str
    trust: bytes

    @classmethod
    def of(cls, node: str, settings: EngineSettings) -> TicketKey:
        """The key for dialling ``node`` by ``settings``."""
        own = settings.credentials
        facts = (
            settings.verify,
            settings.server_name,
            settings.ca,
            own.certificate.public_bytes(Encoding.DER) if own is not None else None,
            settings.alpn,
        )
        return cls(node, hashlib.sha256(repr(facts).encode()).digest())
