"""The contract of the QUIC engine, as aioquic's connection fulfils it; where a carrier gets its engines."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import get_args

import pytest

from quicdist.carrier.quic.engine import events
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.factory import AioquicFactory
from quicdist.carrier.quic.engine.contract import Engine, Ticket
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.crafted import Crafted
from tests.carrier.quic_support import linked, quic_link

METHODS = [name for name, member in vars(Engine).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
def test_a_connection_of_aioquic_has_the_parameters_of_the_contract(name: str) -> None:
    asked = list(inspect.signature(getattr(Engine, name)).parameters)[1:]
    has = list(inspect.signature(getattr(Connection, name)).parameters)[1:]
    assert set(asked) <= set(has)


def test_events_taken_are_those_of_the_contract(certificates: CertificateFiles) -> None:
    both = Crafted(certificates, connected=False)
    both.talk()
    both.client.authenticated()
    both.server.authenticated()
    both.client.send_stream_data(0, b"bytes", True)
    both.client.send_stream_data(4, b"more")
    both.talk()
    both.client.reset_stream(4, 7)
    both.talk()
    both.client.close(3, reason_phrase="enough")
    both.talk()
    happened = both.server.take_events()
    assert both.server.events_waiting() == 0
    assert {type(event) for event in happened} <= set(get_args(events.Event))
    assert events.StreamData(0, b"bytes", True) in happened
    assert events.StreamReset(4, 7) in happened
    assert events.HandshakeCompleted(session_resumed=False, early_data_accepted=False) in happened
    assert any(isinstance(event, events.ConnectionIdIssued) for event in happened)
    closing = both.server.closing()
    assert closing is not None
    assert (closing.code, closing.reason, closing.by_peer) == (3, "enough", True)


async def test_a_carrier_dials_with_the_connections_of_its_engines(settings: QuicSettings) -> None:
    made: list[Engine] = []

    class Noting(AioquicFactory):
        def dial(
            self,
            settings: EngineSettings,
            *,
            ticket: Ticket | None,
            on_ticket: Callable[[Ticket], None] | None,
        ) -> Connection:
            quic = super().dial(settings, ticket=ticket, on_ticket=on_ticket)
            made.append(quic)
            return quic

    async with linked(dataclasses.replace(settings, engines=Noting())) as pair:
        assert made == [quic_link(pair.client.link)._connection.engine]
