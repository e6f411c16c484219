"""The fast path: data arrive whole over networks with faults, and aioquic's private state after
every packet, compared with what aioquic itself makes of it."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from enum import Enum
from random import Random
from types import MethodType
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic import statistics
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.fast_send import BuiltPacket
from quicdist.carrier.quic.engine.aioquic.send_run import RunPacket
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.simulated import CLIENT, STREAMS, Faults, Network

PLAIN = QuicConnection
DIRECT = Connection
BAD = Faults(lost=0.05, twice=0.05, corrupted=0.03, delay=0.01)


def talk(network: Network, steps: int, *, faults: Faults) -> None:
    """Random bytes both ways on many streams, little and large, keys updated and addresses changed in
    between; then all is brought home."""
    random = network.random
    client, server = network.ends
    network.faults = faults
    for step in range(steps):
        for end, first in ((client, 0), (server, 1)):
            for _ in range(random.randrange(4)):
                size = random.choice((1, 64, 64, 200, 3000, random.randrange(20_000)))
                end.write(4 * random.randrange(STREAMS) + first, random.randbytes(size))
        if step % 20 == 10:
            random.choice(network.ends).quic.send_ping(step)
        if step % 20 == 5:
            client.quic.request_key_update()
        if step % 20 == 13:
            client.address = (CLIENT[0], 6000 + step)
            client.quic.change_connection_id()
        network.run(0.02)
    network.faults = Faults()


def all_came(network: Network) -> None:
    """All arrives in the end, as it was written."""
    client, server = network.ends
    for _ in range(60):
        network.run(1.0)
        if not any(statistics.total_unacknowledged(end.quic) for end in network.ends):
            break
    for one, other in ((client, server), (server, client)):
        assert one.ended is None
        assert {key: len(data) for key, data in one.wrote.items()} == {
            key: len(data) for key, data in other.came.items()
        }
        assert one.wrote == other.came
        # Both agree on what was sent and on what came, and nothing is under way any more.
        quic, peer = one.quic, other.quic
        assert statistics.in_flight(quic) == statistics.total_unacknowledged(quic) == 0
        assert quic._remote_max_data_used == peer._local_max_data.used
        assert all(statistics.unsent(quic, stream_id) == 0 for stream_id in one.wrote)


class Detours:
    """How many packets went aioquic's way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.received = self.built = 0
        receive, build = QuicConnection.receive_datagram, QuicConnection.datagrams_to_send

        def receive_datagram(quic: QuicConnection, data: bytes, addr: Any, now: float) -> None:
            self.received += 1
            receive(quic, data, addr, now)

        def datagrams_to_send(quic: QuicConnection, now: float) -> list[tuple[bytes, Any]]:
            datagrams = build(quic, now)
            self.built += len(datagrams)
            return datagrams

        monkeypatch.setattr(QuicConnection, "receive_datagram", receive_datagram)
        monkeypatch.setattr(QuicConnection, "datagrams_to_send", datagrams_to_send)


@pytest.mark.parametrize(("client", "server"), [(DIRECT, DIRECT), (DIRECT, PLAIN), (PLAIN, DIRECT)])
@pytest.mark.parametrize("faults", [Faults(), BAD], ids=["good", "bad"])
def test_all_data_arrive_complete(
    certificates: CertificateFiles,
    client: type[QuicConnection],
    server: type[QuicConnection],
    faults: Faults,
) -> None:
    network = Network(certificates, 1, client=client, server=server)
    talk(network, 100, faults=faults)
    all_came(network)


def test_the_fast_path_is_the_usual_one(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(certificates, 2)
    detours = Detours(monkeypatch)
    carried = 0

    def transmit(quic: QuicConnection, now: float) -> list[tuple[bytes, Any]]:
        nonlocal carried
        datagrams = quic.datagrams_to_send(now)
        carried += len(datagrams)
        return datagrams

    network.transmit = transmit
    client, server = network.ends
    for _ in range(500):
        client.write(0, bytes(3000))
        server.write(1, bytes(100))
        network.run(0.002)
    all_came(network)
    assert carried > 2000
    # New streams have windows to be told of, and grow them.
    assert detours.received < carried // 50
    assert detours.built < carried // 50


# -- aioquic's state, compared with what it makes of the same itself ------------------------------


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Random:
    """What aioquic draws its connection ids and challenges from; to be seeded anew for a twin."""
    chance = Random()
    monkeypatch.setattr("os.urandom", chance.randbytes)
    return chance


#: What has no state to compare, or none that can be copied: shared by a connection and its twin.
SHARED = ("tls", "_configuration", "_logger")
NOT_STATE = (*SHARED, "_received_at", "_changed")


def twin(quic: QuicConnection) -> QuicConnection:
    """The same connection once more."""
    shared = [getattr(quic, name) for name in SHARED]
    shared += quic._crypto_buffers.values()
    for pair in quic._cryptos.values():
        others = [getattr(pair.recv, name, None) for name in ("_previous", "_next")]
        for keys in (pair.recv, pair.send, *others):
            shared += [] if keys is None else [keys.aead, keys.hp]
    return copy.deepcopy(quic, {id(thing): thing for thing in shared})


def state(quic: QuicConnection) -> Any:
    """All of its state, as something that can be compared."""
    seen: dict[int, int] = {}
    made: list[QuicSentPacket] = []

    def of(thing: Any) -> Any:
        if isinstance(thing, RunPacket | BuiltPacket):
            attributes = {each.name for each in dataclasses.fields(QuicSentPacket)} - {"quic_logger_frames"}
            thing = QuicSentPacket(**{name: getattr(thing, name) for name in attributes})
            made.append(thing)  # or its id would be another's
        if thing is None or isinstance(thing, (int, float, str, bytes, range, Enum)):
            return thing
        if isinstance(thing, bytearray):
            return bytes(thing)
        if isinstance(thing, MethodType):
            return thing.__name__
        if id(thing) in seen:
            return seen[id(thing)]
        seen[id(thing)] = len(seen)
        if isinstance(thing, Mapping):
            return [(of(key), of(value)) for key, value in thing.items()]
        if isinstance(thing, Set):
            return sorted(thing, key=str)
        if isinstance(thing, (Sequence, deque)):
            return [of(element) for element in thing]
        if not hasattr(thing, "__dict__"):
            return type(thing).__name__
        values = {name: of(value) for name, value in vars(thing).items() if name not in NOT_STATE}
        return type(thing).__name__, values

    return of(quic)[1]


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    if type(one) is type(other) and isinstance(one, (dict, list, tuple)) and len(one) == len(other):
        keys = one if isinstance(one, dict) else range(len(one))
        found = [differences(one[key], other[key], f"{where}.{key}") for key in keys]
        return list(itertools.chain.from_iterable(found))
    return [] if one == other else [f"{where}: {one!r} is not {other!r}"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("faults", [Faults(delay=0.002), BAD], ids=["good", "bad"])
def test_a_packet_taken_in_leaves_the_state_that_aioquic_leaves(
    certificates: CertificateFiles, chance: Random, faults: Faults, seed: int
) -> None:
    network = Network(certificates, seed)
    twins: dict[QuicConnection, QuicConnection] = {}
    compared = 0

    def deliver(quic: QuicConnection, data: bytes, source: Any, now: float) -> None:
        nonlocal compared
        other = twins.get(quic)
        if other is None:
            other = twins[quic] = twin(quic)
        chance.seed(compared)
        quic.receive_datagram(data, source, now)
        chance.seed(compared)
        QuicConnection.receive_datagram(other, data, source, now)
        compared += 1
        assert quic.get_timer() == other.get_timer()
        assert differences(state(quic), state(other)) == []
        other._events.clear()

    def transmit(quic: QuicConnection, now: float) -> list[tuple[bytes, Any]]:
        twins.pop(quic, None)
        return quic.datagrams_to_send(now)

    network.deliver, network.transmit = deliver, transmit
    talk(network, 15, faults=faults)
    all_came(network)
    assert compared > 80


def without_order(quic: QuicConnection, now: float) -> Any:
    """The state, without what differs and means the same: whose turn it is among streams with nothing to
    send; and when the next packet, of which there is none, could leave."""
    other = twin(quic)
    other._pacing_at = None
    other._streams_queue.sort(key=lambda stream: stream.stream_id or 0)
    for stream in other._streams_queue:
        stream.sender.buffer_is_empty = not (len(stream.sender._pending) or stream.sender._pending_eof)
    return state(other)


@pytest.mark.parametrize("seed", range(2))
def test_packets_are_built_as_aioquic_builds_them(
    certificates: CertificateFiles, chance: Random, seed: int
) -> None:
    """To the byte, and with the same state after them; acknowledgements that ride along taken for due."""
    network = Network(certificates, seed)
    compared = 0

    def transmit(quic: QuicConnection, now: float) -> list[tuple[bytes, Any]]:
        nonlocal compared
        assert isinstance(quic, Connection)
        other = twin(quic)
        space = other._spaces.get(Epoch.ONE_RTT)
        direct = quic._keys is not None and quic._waiting(quic._keys) is not None
        owes = quic._owes_acknowledgement(now) and (direct or bool(quic._ping_pending) or quic._probe_pending)
        rides = owes or (direct and space is not None and space.ack_at is not None and space.ack_at > now)
        chance.seed(compared)
        built = quic.datagrams_to_send(now)
        if space is not None and rides and built:
            space.ack_at = now
        chance.seed(compared)
        expected = QuicConnection.datagrams_to_send(other, now)
        assert built == expected
        assert differences(without_order(quic, now), without_order(other, now)) == []
        compared += len(built)
        return built

    network.transmit = transmit
    talk(network, 30, faults=Faults())
    all_came(network)
    assert compared > 80


def test_streams_that_have_not_changed_have_no_frames_to_send(certificates: CertificateFiles) -> None:
    """Only the streams that have changed are checked: the result is that of checking all."""
    network = Network(certificates, 3)
    random = network.random
    checked = unusual = 0

    def check(quic: QuicConnection, change: Callable[[], object]) -> None:
        nonlocal checked, unusual
        assert isinstance(quic, Connection)
        if quic._keys is not None:
            quic._waiting(quic._keys)
        every = quic._changed.every
        change()
        if quic._keys is None or every or quic._changed.every:
            return
        found = quic._waiting(quic._keys)
        quic._changed.every = True
        assert quic._waiting(quic._keys) == found
        checked += 1
        unusual += found is None

    def deliver(quic: QuicConnection, data: bytes, source: Any, now: float) -> None:
        check(quic, lambda: quic.receive_datagram(data, source, now))

    network.deliver = deliver
    changes: list[Callable[[Connection, int], object]] = [
        lambda quic, stream_id: quic.keep_window(stream_id, random.randrange(1 << 26)),
        lambda quic, stream_id: quic.grant(stream_id, random.randrange(1 << 26)),
        lambda quic, stream_id: quic.send_stream_data(stream_id % (4 * STREAMS), bytes(10_000)),
        lambda quic, stream_id: quic.send_ping(stream_id),
    ]
    ends: list[Callable[[Connection, int], object]] = [
        lambda quic, stream_id: quic.reset_stream(stream_id, 1),
        lambda quic, stream_id: quic.stop_stream(stream_id, 1),
        lambda quic, stream_id: quic.stop_receiving(stream_id),
        lambda quic, stream_id: quic.send_stream_data(stream_id, b"end", True),
    ]

    def change(quic: QuicConnection, how: Callable[[Connection, int], object], stream_id: int) -> None:
        assert isinstance(quic, Connection)
        check(quic, lambda: how(quic, stream_id))

    for end in network.ends:
        for stream in end.quic._streams.values():
            # As if half of a small window were received soon.
            stream.max_stream_data_local = stream.max_stream_data_local_sent = 100_000
    for step in range(600):
        network.faults = BAD if step % 100 > 80 else Faults()
        quic = random.choice(network.ends).quic
        streams = list(quic._streams)
        change(quic, random.choice(changes), random.choice([*streams[-3:], *streams]))
        if step % 10 == 9:
            stream_id = quic.get_next_available_stream_id()
            quic.send_stream_data(stream_id, b"begin")
            network.run(0.05)
            for end in network.ends:
                if statistics.stream_exists(end.quic, stream_id):
                    change(end.quic, random.choice(ends), stream_id)
        network.run(0.01)
    assert checked > 300
    assert unusual > 30
