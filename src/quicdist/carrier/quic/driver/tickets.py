"""Session tickets: kept for nodes dialled before, and those a listener has issued.

A ticket is used once: by the dialler so that nobody can tell its connections from each other by it
(RFC 8446, appendix C.4), by the listener so that a captured first flight opens nothing a second time
(RFC 8446, section 8.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from quicdist.carrier.quic.engine.contract import Ticket
from quicdist.carrier.quic.engine.settings import EngineSettings

#: Tickets one store keeps; the oldest give way.
CAPACITY = 1024

K = TypeVar("K", bound=Hashable)


class TicketStore(Generic[K]):
    """At most ``capacity`` tickets, one to a key, each taken out when it is used."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tickets: dict[K, Ticket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def put(self, key: K, ticket: Ticket) -> None:
        """Keep ``ticket`` in place of the one there was."""
        tickets = self._tickets
        tickets.pop(key, None)  # the new one counts as new
        tickets[key] = ticket
        while len(tickets) > self._capacity:
            del tickets[next(iter(tickets))]

    def take(self, key: K) -> Ticket | None:
        """The ticket for ``key``, which is then no longer here; None if there is none or it has
        expired."""
        ticket = self._tickets.pop(key, None)
        return ticket if ticket is not None and ticket.is_valid else None


class TicketKey(NamedTuple):
    """What a dialler's ticket is good for. ``trust`` is a digest of everything that decided whether
    the peer was believed when the ticket was got: a resumed session shows no certificate, so a
    ticket from a peer that nobody verified must not stand in for one."""

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
