"""Sessions resumed and early data, of one carrier in both roles. See ``docs/resumption-and-migration.md``.

What goes as early data is the name message and nothing else. Early data can be captured and sent again
by others (RFC 8446, section 8); the name message says what anyone may say to a listener at any time,
proves nothing and changes nothing: all that follows of it is a status, and a challenge that only
somebody with the cookie can answer.
"""

from __future__ import annotations

from quicdist.carrier.quic.driver.tickets import TicketKey, TicketStore
from quicdist.carrier.quic.engine.contract import Engine, Ticket
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.settings import QuicSettings


class Resumption:
    """The tickets of one carrier: ``kept`` of nodes it has dialled, ``issued`` by its listeners.

    Sessions are resumed only where all there is to check is the listener's certificate: a ticket says
    nothing of a client's certificate, a pre-shared key or what an ``auth_callback`` found.
    """

    def __init__(self, settings: QuicSettings) -> None:
        self._settings = settings
        self._enabled = settings.resumption and settings.auth_callback is None
        self.kept: TicketStore[TicketKey] = TicketStore()
        self.issued: TicketStore[bytes] = TicketStore()

    def for_listening(self, engine: EngineSettings) -> TicketStore[bytes] | None:
        """Where a listener of these settings keeps what it issues, None if it issues nothing."""
        checks_more = engine.clients is not None or engine.find_psk is not None
        return self.issued if self._enabled and not checks_more else None

    def for_dialling(self, node: str, engine: EngineSettings, *, alone: bool) -> Dialling | None:
        """What to dial ``node`` with: see :class:`Dialling`; None without resumption. ``alone``: there
        is no other address at which it may be dialled at the same time, so that early data are said
        once."""
        if not self._enabled or engine.external_psk is not None:
            return None
        key = TicketKey.of(node, engine)
        ticket = self.kept.take(key)
        if ticket is not None and not (alone and self._settings.early_data and ticket.takes_early_data):
            ticket = ticket.without_early_data()
        return Dialling(self, key, ticket, verify=engine.verify)


class Dialling:
    """One connection on its way to a node: the ticket it shows, and the one it is given."""

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
        """Keep ``ticket`` for the next time, while the belief in the peer that it rests on lasts: no
        longer than the certificate, nor than the ticket this session was itself resumed with."""
        ends = []
        if self.engine is not None and self._verify:
            ends = [shown.not_valid_after_utc for shown in self.engine.peer_certificates()]
            if self.ticket is not None and self.engine.is_resumed():
                ends.append(self.ticket.not_valid_after)
        self._resumption.kept.put(self.key, ticket.bounded(*ends))
