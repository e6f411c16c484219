"""Session tickets: kept for nodes dialled before, and those a listener has issued.

A ticket is used once: by the dialler so that nobody can tell its connections from each other by it
(RFC 8446, appendix C.4), by the listener so that a captured first flight opens nothing a second time
(RFC 8446, section 8.1).
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import SessionTicket
from cryptography.hazmat.primitives.serialization import Encoding

from quicdist.carrier.quic.engine.aioquic.transport_parameters import says
from quicdist.carrier.quic.engine.own_parameters import EARLY_DATA

#: Tickets one store keeps; the oldest give way.
CAPACITY = 1024
#: Seconds a ticket is kept at most, whatever its issuer says (RFC 8446, section 4.6.1: seven days).
MAX_LIFETIME = 7 * 24 * 3600

K = TypeVar("K", bound=Hashable)


class TicketStore(Generic[K]):
    """At most ``capacity`` tickets, one to a key, each taken out when it is used."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tickets: dict[K, SessionTicket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def put(self, key: K, ticket: SessionTicket) -> None:
        """Keep ``ticket`` in place of the one there was."""
        tickets = self._tickets
        tickets.pop(key, None)  # the new one counts as new
        tickets[key] = ticket
        while len(tickets) > self._capacity:
            del tickets[next(iter(tickets))]

    def take(self, key: K) -> SessionTicket | None:
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
    def of(cls, node: str, configuration: QuicConfiguration) -> TicketKey:
        """The key for dialling ``node`` by ``configuration``."""
        own = configuration.certificate
        facts = (
            configuration.verify_mode,
            configuration.server_name,
            configuration.cadata,
            configuration.cafile,
            configuration.capath,
            own.public_bytes(Encoding.DER) if own is not None else None,
            configuration.alpn_protocols,
            getattr(configuration, "check_use", None),
        )
        return cls(node, hashlib.sha256(repr(facts).encode()).digest())


def bounded(ticket: SessionTicket, *ends: datetime.datetime) -> SessionTicket:
    """``ticket``, valid no longer than any of ``ends``, nor than MAX_LIFETIME."""
    longest = ticket.not_valid_before + datetime.timedelta(seconds=MAX_LIFETIME)
    end = min(ticket.not_valid_after, longest, *ends)
    return ticket if end == ticket.not_valid_after else dataclasses.replace(ticket, not_valid_after=end)


def takes_early_data(ticket: SessionTicket) -> bool:
    """Whether the issuer of ``ticket`` has said so."""
    return says(ticket.other_extensions, EARLY_DATA)


def without_early_data(ticket: SessionTicket) -> SessionTicket:
    """``ticket``, to resume with and not to send early data."""
    return dataclasses.replace(ticket, max_early_data_size=None)
