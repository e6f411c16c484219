"""Session tickets: the contract's, with aioquic's inside."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from typing import Final

from aioquic import tls

from quicdist.carrier.quic.engine.aioquic.transport_parameters import says
from quicdist.carrier.quic.engine.own_parameters import EARLY_DATA

#: The maximum lifetime of a ticket in seconds (RFC 8446, section 4.6.1: seven days).
MAX_LIFETIME: Final = 7 * 24 * 3600


@dataclass(frozen=True)
class SessionTicket:
    """See :class:`~quicdist.carrier.quic.engine.contract.Ticket`."""

    session: tls.SessionTicket

    @property
    def identity(self) -> bytes:
        return self.session.ticket

    @property
    def is_valid(self) -> bool:
        return self.session.is_valid

    @property
    def not_valid_after(self) -> datetime.datetime:
        return self.session.not_valid_after

    @property
    def takes_early_data(self) -> bool:
        return says(self.session.other_extensions, EARLY_DATA)

    def without_early_data(self) -> SessionTicket:
        return SessionTicket(dataclasses.replace(self.session, max_early_data_size=None))

    def bounded(self, *ends: datetime.datetime) -> SessionTicket:
        session = self.session
        longest = session.not_valid_before + datetime.timedelta(seconds=MAX_LIFETIME)
        end = min(session.not_valid_after, longest, *ends)
        if end == session.not_valid_after:
            return self
        return SessionTicket(dataclasses.replace(session, not_valid_after=end))
