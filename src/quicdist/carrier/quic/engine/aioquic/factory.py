"""The engine factory: makes connections of aioquic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aioquic import tls

from quicdist.carrier.quic.engine.aioquic import stateless_packets
from quicdist.carrier.quic.engine.aioquic.accepted_connection import AcceptedConnection
from quicdist.carrier.quic.engine.aioquic.configuration import (
    Configuration,
    client_configuration,
    server_configuration,
)
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.dialled_connection import DialledConnection
from quicdist.carrier.quic.engine.aioquic.tickets import SessionTicket
from quicdist.carrier.quic.engine.contract import EngineFactory, Ticket, TicketTable
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.engine.wire.long_header import LongHeader


class AioquicFactory:
    """See :class:`~quicdist.carrier.quic.engine.contract.EngineFactory`."""

    def dial(
        self, settings: EngineSettings, *, ticket: Ticket | None, on_ticket: Callable[[Ticket], None] | None
    ) -> Connection:
        configuration = client_configuration(settings)
        configuration.session_ticket = _session(ticket)
        return DialledConnection(
            configuration=configuration,
            session_ticket_handler=None
            if on_ticket is None
            else lambda session: on_ticket(SessionTicket(session)),
        )

    def listen(
        self,
        settings: EngineSettings,
        *,
        reset_token: Callable[[bytes], bytes],
        issued: TicketTable | None,
    ) -> AioquicAcceptor:
        return AioquicAcceptor(server_configuration(settings), reset_token, issued)


class AioquicAcceptor:
    """See :class:`~quicdist.carrier.quic.engine.contract.Acceptor`."""

    def __init__(
        self, configuration: Configuration, reset_token: Callable[[bytes], bytes], issued: TicketTable | None
    ) -> None:
        self._settings = configuration
        self._reset_token = reset_token
        self._issued = issued
        self.id_length = configuration.connection_id_length
        self.versions: Sequence[int] = tuple(configuration.supported_versions)
        self.packets = Packets(self.versions)

    def accept(self, original_id: bytes, retry_id: bytes | None) -> Connection:
        resumes = self._issued is not None
        return AcceptedConnection(
            reset_token=self._reset_token,
            configuration=self._settings,
            original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
            session_ticket_fetcher=self._ticket_shown if resumes else None,
            session_ticket_handler=self._ticket_issued if resumes else None,
        )

    def _ticket_shown(self, identity: bytes) -> tls.SessionTicket | None:
        return None if self._issued is None else _session(self._issued.take(identity))

    def _ticket_issued(self, session: tls.SessionTicket) -> None:
        if self._issued is not None:
            self._issued.put(session.ticket, SessionTicket(session))


class Packets:
    """See :class:`~quicdist.carrier.quic.engine.contract.StatelessPackets`."""

    connection_refused = staticmethod(stateless_packets.connection_refused)
    invalid_token = staticmethod(stateless_packets.invalid_token)
    retry = staticmethod(stateless_packets.retry)

    def __init__(self, versions: Sequence[int]) -> None:
        self._versions = versions

    def version_negotiation(self, header: LongHeader) -> bytes:
        return stateless_packets.version_negotiation(header, self._versions)


def _session(ticket: Ticket | None) -> tls.SessionTicket | None:
    if ticket is None:
        return None
    if not isinstance(ticket, SessionTicket):
        raise TypeError(f"a session ticket of aioquic expected, not {type(ticket).__name__}")
    return ticket.session


if TYPE_CHECKING:
    _FACTORY: type[EngineFactory] = AioquicFactory
