"""The contract of a QUIC engine, as aioquic and the simulated engine fulfil it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import get_args

import pytest

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.engine import events
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.factory import AioquicFactory
from quicdist.carrier.quic.engine.contract import UNLIMITED, Engine, EngineFactory, Ticket
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.engine.state import EngineState
from quicdist.carrier.quic.engine.wire.long_header import long_header
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.quic_support import linked, quic_link
from tests.support.simulated_engine import SimulatedEngine, SimulatedEngines

METHODS = [name for name, member in vars(Engine).items() if inspect.isfunction(member) and name[0] != "_"]

SERVER, CLIENT, ELSEWHERE = ("127.0.0.1", 4433), ("127.0.0.1", 5544), ("127.0.0.1", 5545)

ENGINES: dict[str, EngineFactory] = {"aioquic": AioquicFactory(), "simulated": SimulatedEngines()}


class Pair:
    """Two engines, the datagrams between them, and a clock."""

    def __init__(self, engines: EngineFactory, settings: QuicSettings) -> None:
        self.now = 0.0
        self.client = engines.dial(settings.for_dialling("127.0.0.1"), ticket=None, on_ticket=None)
        self.client.connect(SERVER, self.now)
        self.client_address = CLIENT
        first = self.client.datagrams_to_send(self.now)
        header = long_header(first[0][0])
        assert header is not None
        acceptor = engines.listen(settings.for_listening(), reset_token=lambda each: bytes(16), issued=None)
        self.server = acceptor.accept(header.destination, None)
        assert self.server.state() is EngineState.FIRST_FLIGHT
        self.deliver(first, self.server)

    def deliver(self, datagrams: list[Datagram], to: Engine) -> None:
        source = SERVER if to is self.client else self.client_address
        for data, _ in datagrams:
            to.receive_datagram(data, source, self.now)

    def talk(self, seconds: float = 1.0, lost: Callable[[Datagram], bool] = lambda _: False) -> None:
        """Let the two exchange what they have to say for so long."""
        end = self.now + seconds
        while self.now < end:
            for engine, other in ((self.client, self.server), (self.server, self.client)):
                timer = engine.get_timer()
                if timer is not None and timer <= self.now:
                    engine.handle_timer(self.now)
                sent = engine.datagrams_to_send(self.now)
                self.deliver([each for each in sent if not lost(each)], other)
            self.now += 0.01

    def authenticated(self) -> None:
        for engine in (self.client, self.server):
            engine.take_events()
            engine.authenticated()

    def data(self, engine: Engine) -> dict[int, bytes]:
        """The bytes that have come on each stream since the last time."""
        came: dict[int, bytes] = {}
        for event in engine.take_events():
            if isinstance(event, events.StreamData):
                came[event.stream_id] = came.get(event.stream_id, b"") + event.data
        return came


@pytest.fixture(params=ENGINES)
def engines(request: pytest.FixtureRequest) -> EngineFactory:
    return ENGINES[request.param]


@pytest.fixture
def new(engines: EngineFactory, settings: QuicSettings) -> Pair:
    """Engines in their handshake."""
    return Pair(engines, settings)


@pytest.fixture
def pair(new: Pair) -> Pair:
    """Engines after their handshake, whose peers are authenticated."""
    new.talk()
    new.authenticated()
    return new


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("engine", [Connection, SimulatedEngine])
def test_an_engine_has_the_parameters_of_the_contract(name: str, engine: type[Engine]) -> None:
    asked = list(inspect.signature(getattr(Engine, name)).parameters)[1:]
    has = list(inspect.signature(getattr(engine, name)).parameters)[1:]
    assert set(asked) <= set(has)


def test_a_handshake_tells_both_sides_of_each_other(new: Pair, certificates: CertificateFiles) -> None:
    assert new.client.state() is EngineState.FIRST_FLIGHT
    assert new.server.state() is EngineState.CONNECTED
    assert not new.server.path_is_valid()
    assert new.server.unvalidated_credit() is not None
    new.talk()
    for engine in (new.client, new.server):
        assert engine.state() is EngineState.CONNECTED
        assert engine.closing() is None
        assert engine.path_is_valid()
        assert engine.unvalidated_credit() is None
        assert engine.peer_is_quicdist()
        assert not engine.is_resumed()
        assert engine.packets_received() > 0
        assert engine.streams_allowed() > 16
        happened = engine.take_events()
        assert events.HandshakeCompleted(session_resumed=False, early_data_accepted=False) in happened
        assert any(isinstance(event, events.ConnectionIdIssued) for event in happened)
        assert {type(event) for event in happened} <= set(get_args(events.Event))
        assert engine.events_waiting() == 0
    assert new.client.peer_certificates()
    assert new.server.peer_certificates() == ()
    assert new.client.reset_tokens() == [bytes(16)]
    assert new.server.get_peer_address() is new.server.get_peer_address()


def test_data_arrive_in_order_although_a_third_of_the_datagrams_are_lost(pair: Pair) -> None:
    sent = bytes(range(256)) * 200
    count = 0

    def lost(datagram: Datagram) -> bool:
        nonlocal count
        count += 1
        return count % 3 == 0

    assert pair.client.get_next_available_stream_id() == 0
    assert pair.server.get_next_available_stream_id() == 1
    pair.client.send_stream_data(0, sent)
    pair.server.send_stream_data(1, sent)
    assert pair.client.written(0) == pair.client.unsent(0) == pair.client.unacknowledged(0) == len(sent)
    pair.talk(20, lost)
    pair.talk()
    stats = pair.client.transport_stats()
    assert (stats.packets_sent, stats.in_flight) == (pair.client.packets_sent(), 0)
    assert None not in (stats.retransmissions, stats.congestion_window)
    assert stats.retransmissions != 0
    assert stats.round_trip is not None
    assert 0.001 < stats.round_trip < 1
    assert pair.data(pair.server) == {0: sent}
    assert pair.data(pair.client) == {1: sent}
    for engine, stream_id in ((pair.client, 0), (pair.server, 1)):
        assert engine.acknowledged(stream_id) == engine.written(stream_id) == len(sent)
        assert engine.unsent(stream_id) == engine.total_unacknowledged() == engine.in_flight() == 0
        assert engine.unacknowledged_from() == engine.waiting_for() == {}
        assert engine.stream_bytes_acknowledged() == engine.stream_bytes_received() == len(sent)


def test_a_stream_that_ends_in_both_directions_is_over(pair: Pair) -> None:
    pair.client.send_stream_data(0, b"question", True)
    pair.talk()
    assert events.StreamData(0, b"question", True) in pair.server.take_events()
    assert pair.client.stream_exists(0)
    pair.server.send_stream_data(0, b"", True)
    pair.talk()
    assert events.StreamData(0, b"", True) in pair.client.take_events()
    for engine in (pair.client, pair.server):
        assert not engine.stream_exists(0)
        assert not engine.is_writable(0)
        assert engine.acknowledged(0) == UNLIMITED


def test_a_reset_is_told_and_a_stopped_stream_takes_no_data(pair: Pair) -> None:
    for stream_id in (0, 4):
        pair.client.send_stream_data(stream_id, b"some")
    pair.talk()
    pair.server.take_events()
    pair.client.reset_stream(0, 7)
    pair.server.stop_stream(4, 8)
    pair.talk()
    assert pair.server.take_events()[0] == events.StreamReset(0, 7)
    assert events.StreamReset(4, 8) in pair.client.take_events()
    assert not pair.client.is_writable(4)
    with pytest.raises(RuntimeError):
        pair.client.send_stream_data(4, b"more")


def test_a_peer_sends_what_it_is_granted_and_no_more(pair: Pair) -> None:
    window = 8_000_000
    pair.client.send_stream_data(0, b"x")
    pair.talk()
    assert pair.server.keep_window(0, window) == window
    pair.talk()
    assert pair.client.stream_credit(0) == window - 1
    pair.server.grant(0, window + 1000)
    with pair.server.limits_held():
        pair.talk()
    assert pair.client.stream_credit(0) == window + 999
    assert pair.client.connection_credit() > window
    assert pair.server.keep_window(400, 1000) == 1000  # there is no such stream


def test_neighbouring_data_of_one_stream_are_joined(pair: Pair) -> None:
    for stream_id, data in ((0, b"a"), (0, b"b"), (4, b"c"), (0, b"d")):
        pair.client.send_stream_data(stream_id, data)
        pair.talk(0.1)
    pair.server.join_events(0)
    assert [event.data for event in pair.server.take_events() if isinstance(event, events.StreamData)] == [
        b"ab",
        b"c",
        b"d",
    ]


def test_a_close_is_known_to_both_sides_at_once(pair: Pair) -> None:
    pair.client.close(3, reason_phrase="enough")
    assert pair.client.state() is EngineState.CLOSING
    pair.deliver(pair.client.datagrams_to_send(pair.now), pair.server)
    assert pair.server.state() is EngineState.DRAINING
    for engine, by_peer in ((pair.client, False), (pair.server, True)):
        closing = engine.closing()
        assert closing is not None
        assert (closing.code, closing.reason, closing.by_peer) == (3, "enough", by_peer)
        assert closing.is_application
        assert events.ConnectionTerminated() not in engine.take_events()
    pair.talk(5)
    for engine in (pair.client, pair.server):
        assert engine.state() is EngineState.TERMINATED
        assert events.ConnectionTerminated() in engine.take_events()
        engine.release()


def test_an_idle_connection_ends_after_the_idle_timeout(
    engines: EngineFactory, settings: QuicSettings
) -> None:
    pair = Pair(engines, dataclasses.replace(settings, idle_timeout=5.0))
    pair.talk()
    pair.talk(10)
    for engine in (pair.client, pair.server):
        closing = engine.closing()
        assert closing is not None
        assert closing.is_idle
        assert engine.state() is EngineState.TERMINATED


def test_a_probe_is_acknowledged_or_lost(pair: Pair) -> None:
    told: list[bool] = []
    pair.deliver([pair.client.make_probe(4000, pair.now, told.append)], pair.server)
    pair.talk()
    assert told == [True]
    assert len(pair.client.make_probe(4000, pair.now, told.append)[0]) == 4000
    for _ in range(8):
        pair.client.send_ping(0)
        pair.talk()
    assert told == [True, False]
    pair.client.make_probe(4000, pair.now, told.append)
    pair.client.forget_probe()
    assert pair.client.in_flight() == 0


def test_datagrams_are_as_long_as_they_may_be_and_can_be_watched(pair: Pair) -> None:
    told: list[bool] = []
    assert pair.client.longest_datagram() > 1200
    for size in (1200, 1400):
        pair.client.set_datagram_size(size)
        assert pair.client.datagram_size() == size
        pair.client.send_stream_data(0, bytes(10_000))
        datagrams = pair.client.datagrams_to_send(pair.now)
        assert size - 32 < max(len(data) for data, _ in datagrams) <= size
        assert pair.client.watch(len(datagrams), told.append)
        pair.deliver(datagrams, pair.server)
        pair.talk()
    assert told == [True, True]


def test_a_new_address_of_the_peer_is_validated(pair: Pair) -> None:
    known = pair.server.get_peer_address()
    pair.client_address = ELSEWHERE
    pair.client.change_connection_id()
    pair.client.send_ping(0)
    pair.deliver(pair.client.datagrams_to_send(pair.now), pair.server)
    assert known == CLIENT
    assert pair.server.get_peer_address() == ELSEWHERE
    assert not pair.server.path_is_valid()
    credit = pair.server.unvalidated_credit()
    assert credit is not None
    assert credit > 0
    pair.talk()
    assert pair.server.path_is_valid()


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
