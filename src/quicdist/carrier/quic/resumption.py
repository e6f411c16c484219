"""Session resumption and early data of one carrier, in both roles.

See ``docs/reference/resumption-and-migration.md``.

The only early data is the name message. Early data can be captured and replayed (RFC 8446, section 8); a name
message is what anyone may send to a listener at any time. It proves nothing and changes nothing: its answer
is a status, and a challenge that only a node with the cookie can answer."""

from __future__ import annotations

from quicdist.carrier.quic.driver.tickets import TicketKey, TicketStore
from quicdist.carrier.quic.engine.contract import Engine, Ticket
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.settings import QuicSettings


class Resumption:
    """The tickets of one carrier: ``kept`` for the nodes that it dials, ``issued`` by its listeners.

    Sessions are resumed only where nothing but the listener's certificate is checked: a ticket carries no
    client certificate, no pre-shared key and no result of an ``auth_callback``.
    """

    def __init__(self, settings: QuicSettings) -> None:
        self._settings = settings
        self._enabled = settings.resumption and settings.auth_callback is None
        self.kept: TicketStore[TicketKey] = TicketStore()
        self.issued: TicketStore[bytes] = TicketStore()

    def for_listening(self, engine: EngineSettings) -> TicketStore[bytes] | None:
        """The store for the tickets that a listener with these settings issues; None if it issues none."""
        checks_more = engine.clients is not None or engine.find_psk is not None
        return self.issued if self._enabled and not checks_more else None

    def for_dialling(self, node: str, engine: EngineSettings, *, alone: bool) -> TicketExchange | None:
        """The tickets for a dial of ``node``; None without resumption. ``alone``: no other address of it
        is dialled concurrently, so that early data is sent once."""
        if not self._enabled or engine.external_psk is not None:
            return None
        key = TicketKey.of(node, engine)
        ticket = self.kept.take(key)
        if ticket is not None and not (alone and self._settings.early_data and ticket.takes_early_data):
            ticket = ticket.without_early_data()
        return TicketExchange(self, key, ticket, verify=engine.verify)


class TicketExchange:
    """The tickets of one dial: the one that it shows, and those that it is issued."""

    def __init__(
        self, resumption: Resumption, key: TicketKey, ticket: Ticket | None, *, verify: bool
    ) -> None:
        self.key = key
        #: The ticket shown, if any.
        self.ticket = ticket
        self._resumption = resumption
        self._verify = verify
        self.engine: Engine | None = None

    def keep(self, ticket: Ticket) -> None:
        """Keep ``ticket`` for the next dial, no longer than the certificate of the peer is valid, nor the
        ticket that this session was itself resumed with."""
        ends = []
        if self.engine is not None and self._verify:
            ends = [shown.not_valid_after_utc for shown in self.engine.peer_certificates()]
            if self.ticket is not None and self.engine.is_resumed():
                ends.append(self.ticket.not_valid_after)
        self._resumption.kept.put(self.key, ticket.bounded(*ends))
