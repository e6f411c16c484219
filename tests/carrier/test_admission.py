"""Strangers at a QUIC listener: they are let in one by one, validated when many come, and bounded."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode

from quicdist.carrier import Address, refusal_log
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.driver import admission, unauthenticated_queue
from quicdist.carrier.quic.driver.retry_tokens import LIFETIME, RetryTokens, StaleToken
from quicdist.carrier.quic.driver.unauthenticated_queue import Stage
from quicdist.carrier.quic.engine.wire.long_header import long_header
from quicdist.carrier.quic.settings import ALPN, QuicSettings
from quicdist.logs import RateLimit
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import SETUP_TIME, Listening, listening, until_seen
from tests.carrier.strangers import Outside, Stranger, kind_of, noise, outside

SERVER = "server@127.0.0.1"
CLIENT = "client@127.0.0.1"
HERE = ("192.0.2.1", 5000)


@asynccontextmanager
async def world(settings: QuicSettings, **changes: object) -> AsyncIterator[tuple[Listening, Outside]]:
    changed = dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
    async with listening(changed) as server:
        with outside(server.listener.endpoint) as beyond:
            yield server, beyond


async def dial(settings: QuicSettings, address: Address, seconds: float = 10.0) -> Inbox:
    carrier = QuicCarrier(settings)
    return Inbox.of(await carrier.setup(SERVER, address, FakeNode(CLIENT), setup_time=seconds))


def made_up(number: int) -> tuple[str, int]:
    return f"192.0.2.{number % 250 + 1}", 1024 + number // 250


# -- Retry ---------------------------------------------------------------------------------------


async def test_retry_validates_the_address_and_the_handshake_continues(settings: QuicSettings) -> None:
    async with world(settings, address_validation="always") as (server, beyond):
        endpoint = server.listener.endpoint
        stranger = Stranger(settings, HERE)
        beyond.arrive(*stranger.datagrams())
        assert not endpoint.connections
        (retry,) = beyond.sent[HERE]
        assert kind_of(retry) == "retry"
        assert len(retry) < 200
        stranger.take(beyond)
        beyond.arrive(*stranger.datagrams())
        assert len(endpoint.half_open) == 1
        await beyond.answered(HERE)
        stranger.take(beyond)
        beyond.arrive(*stranger.datagrams())
        await beyond.answered(HERE)
        stranger.take(beyond)
        assert stranger.quic._handshake_confirmed


@pytest.mark.parametrize("early_data", [True, False])
async def test_dialling_a_listener_that_always_sends_retry(settings: QuicSettings, early_data: bool) -> None:
    changed = dataclasses.replace(settings, address_validation="always", early_data=early_data)
    carrier = QuicCarrier(changed)
    async with listening(changed) as server:
        for _ in range(3):
            link = await carrier.setup(SERVER, server.address, FakeNode(CLIENT), setup_time=5)
            accepted = Inbox.of(await server.link())
            Inbox.of(link).link.close()
            await accepted.end()


@pytest.mark.parametrize(
    "again",
    [("192.0.2.2", 5000), ("192.0.2.1", 5001)],
    ids=["other-address", "other-port"],
)
async def test_token_of_another_address_is_refused(settings: QuicSettings, again: tuple[str, int]) -> None:
    async with world(settings, address_validation="always") as (server, beyond):
        stranger = Stranger(settings, HERE)
        beyond.arrive(*stranger.datagrams())
        stranger.take(beyond)
        stranger.address = again
        beyond.arrive(*stranger.datagrams())
        assert not server.listener.endpoint.connections
        assert stranger.take(beyond) == 1
        assert stranger.quic._close_event is not None
        assert stranger.quic._close_event.error_code == QuicErrorCode.INVALID_TOKEN


async def test_foreign_token_is_no_token(settings: QuicSettings) -> None:
    async with world(settings, address_validation="always") as (server, beyond):
        stranger = Stranger(settings, HERE)
        stranger.quic._peer_token = b"of another server, some day"
        beyond.arrive(*stranger.datagrams())
        assert [kind_of(data) for data in beyond.sent[HERE]] == ["retry"]
        assert not server.listener.endpoint.connections


async def test_retry_is_followed_by_aioquic_as_it_is(settings: QuicSettings) -> None:
    async with world(settings, address_validation="always") as (_, beyond):
        stranger = Stranger(settings, HERE)
        configuration = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE)
        stranger.quic = QuicConnection(configuration=configuration)
        stranger.quic.connect(("192.0.2.254", 4433), 0.0)
        for _ in range(3):
            beyond.arrive(*stranger.datagrams())
            await beyond.answered(HERE)
            stranger.take(beyond)
            stranger.now += 0.1
        assert stranger.quic._handshake_confirmed


async def test_token_used_again_leads_to_the_same_connection(settings: QuicSettings) -> None:
    async with world(settings, address_validation="always") as (server, beyond):
        stranger = Stranger(settings, HERE)
        beyond.arrive(*stranger.datagrams())
        stranger.take(beyond)
        shown = stranger.datagrams()
        for _ in range(5):
            beyond.arrive(*shown)
        assert len(server.listener.endpoint.connections) == 1


def test_tokens_are_good_for_ten_seconds_and_one_connection_id() -> None:
    tokens = RetryTokens()
    token = tokens.issue(HERE, b"original", b"retry id", 100.0)
    assert tokens.check(token, HERE, b"retry id", 100.0) == b"original"
    assert tokens.check(token, HERE, b"retry id", 100.0 + LIFETIME - 0.1) == b"original"
    with pytest.raises(StaleToken):
        tokens.check(token, HERE, b"retry id", 100.0 + LIFETIME + 0.1)
    with pytest.raises(StaleToken):
        tokens.check(token, HERE, b"other id", 100.0)
    assert RetryTokens().check(token, HERE, b"retry id", 100.0) is None
    for length in range(len(token)):
        assert tokens.check(token[:length], HERE, b"retry id", 100.0) is None
    assert len({tokens.issue(HERE, b"original", b"retry id", 100.0) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "here", [("::ffff:192.0.2.1", 1, 0, 0), ("fe80::1%lo", 1, 0, 1), ("2001:db8::1", 1, 0, 0)]
)
def test_tokens_take_addresses_of_ipv6(here: tuple[object, ...]) -> None:
    tokens = RetryTokens()
    assert tokens.check(tokens.issue(here, b"o", b"r", 0.0), here, b"r", 1.0) == b"o"


# -- when many come ------------------------------------------------------------------------------


async def test_retry_begins_at_a_quarter_of_the_places(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(settings, max_half_open=16) as (server, beyond):
        endpoint = server.listener.endpoint
        for number in range(100):
            beyond.arrive(*Stranger(settings, made_up(number)).datagrams())
        await until_seen(server, lambda: len(endpoint.half_open) >= 4)
        kinds = [kind_of(data) for sent in beyond.sent.values() for data in sent]
        assert kinds.count("retry") > 90
        # Whoever answers gets in.
        client = await dial(settings, server.address)
        assert (await server.link()).peer.name == CLIENT
        assert len(endpoint.half_open) <= 6
        client.link.close()
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in lines if "validated" in line.getMessage()]) == 1


async def test_noise_in_initial_packets_brings_retry_and_keeps_nothing(settings: QuicSettings) -> None:
    async with world(settings) as (server, beyond):
        endpoint = server.listener.endpoint
        for number in range(500):
            beyond.arrive((noise(), made_up(number)))
            await until_seen(server, lambda: not endpoint._queue.size)
        kinds = [kind_of(data) for sent in beyond.sent.values() for data in sent]
        assert kinds.count("retry") > 250
        assert not endpoint.connections
        assert not endpoint.half_open
        assert not endpoint._routes


async def test_new_peer_evicts_a_validated_unauthenticated_one(settings: QuicSettings) -> None:
    async with world(settings, max_half_open=8, address_validation="always") as (server, beyond):
        endpoint = server.listener.endpoint
        for number in range(20):
            stranger = Stranger(settings, ("192.0.2.1", 5000 + number))
            beyond.arrive(*stranger.datagrams())
            stranger.take(beyond)
            beyond.arrive(*stranger.datagrams())
            await until_seen(server, lambda: not endpoint._queue.size)
        # A source has half of the places.
        assert len(endpoint.half_open) == 4
        began = time.monotonic()
        client = await dial(settings, server.address)
        await server.link()
        assert time.monotonic() - began < SETUP_TIME / 2
        client.link.close()


async def test_flood_from_one_port_leaves_retries_to_others(settings: QuicSettings) -> None:
    async with world(settings, address_validation="always") as (server, beyond):
        datagrams = Stranger(settings, HERE).datagrams()
        flood = [(noise(), ("192.0.2.9", 9)) for _ in range(2000)]
        beyond.arrive(*flood, *datagrams)
        await until_seen(server, lambda: not server.listener.endpoint._queue.size)
        assert len(beyond.sent["192.0.2.9", 9]) == unauthenticated_queue.MAX_NEW
        assert [kind_of(data) for data in beyond.sent[HERE]] == ["retry"]


@pytest.mark.parametrize("kind", ["noise", "wrong ALPN", "nothing said"])
async def test_many_refused_connections_write_a_few_log_lines(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal_log, "_of_library", RateLimit(refusal_log.LINES_OF_LIBRARY))
    caplog.set_level(logging.INFO, "quicdist")
    caplog.set_level(logging.INFO, "quic")
    if kind == "noise":
        flood, count = [noise() for _ in range(50)], 20_000
    else:
        flood, count = [], 200
        for _ in range(20):
            stranger = Stranger(settings, HERE)
            if kind == "wrong ALPN":
                stranger.quic.configuration.alpn_protocols = ["h3"]
                stranger.quic._connect(0.0)
            flood.append(stranger.datagrams()[-1][0])
    validation = "auto" if kind == "noise" else "never"
    async with world(settings, max_half_open=8, address_validation=validation) as (server, beyond):
        del caplog.records[:]
        waiting = server.listener.endpoint._queue
        for number in range(count):
            host = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
            beyond.arrive((flood[number % len(flood)], (host, 9, 0, 0)))
            if kind != "noise":
                await until_seen(server, lambda: not waiting.size)
        await until_seen(server, lambda: not waiting.size)
        assert len(caplog.records) <= 25, [record.getMessage() for record in caplog.records]


def test_lines_about_strangers_are_few_of_each_source_and_in_all() -> None:
    now = 0.0
    lines = refusal_log.RefusalLog(clock=lambda: now)
    notes = [lines.admit("192.0.2.1", logging.WARNING) for _ in range(100)]
    assert [note is not None for note in notes].count(True) == refusal_log.LINES_OF_SOURCE
    notes = [lines.admit(f"10.0.{number >> 8}.{number & 255}", logging.WARNING) for number in range(50_000)]
    written = [note for note in notes if note is not None]
    assert len(written) == refusal_log.LINES - refusal_log.LINES_OF_SOURCE
    assert "more like it" in written[-1]
    now = 61.0
    note = lines.admit("192.0.2.1", logging.WARNING)
    assert note is not None
    assert "95 more" in note
    assert len(lines._sources._windows) <= 256


# -- what is no connection -----------------------------------------------------------------------


async def test_refusal_without_a_connection(settings: QuicSettings) -> None:
    async with world(settings) as (server, beyond):
        client = await dial(settings, server.address)
        await server.link()
        await server.carrier.close(server.listener)
        stranger = Stranger(settings, HERE)
        datagrams = stranger.datagrams()
        beyond.arrive(*datagrams)
        assert len(server.listener.endpoint.connections) == 1
        assert beyond.bytes_sent(HERE) < 200
        assert stranger.take(beyond) == 1
        assert stranger.quic._close_event is not None
        assert stranger.quic._close_event.error_code == QuicErrorCode.CONNECTION_REFUSED
        beyond.arrive(*[(datagrams[0][0], made_up(number)) for number in range(1000)])
        assert sum(map(len, beyond.sent.values())) <= admission.REFUSAL_RATE
        client.link.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40",
        b"\xc0\0\0\0\1",
        b"\x40" + bytes(20),
        noise(1199),
        noise(1200, version=0),
        noise(1199, version=0x1A2A3A4A),
        noise(1200, kind=0xE3),  # Handshake
        noise(1200, kind=0xD3),  # 0-RTT
        noise(1200, kind=0xF3),  # Retry
        b"\xc3\0\0\0\1\x07" + bytes(1200),  # a connection id too short for a first packet
        b"\xc3\0\0\0\1\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x7f\xff" + bytes(1200),  # a token cut short
        noise(1200)[:6] + b"\xff" * 1200,
    ],
)
async def test_what_opens_no_connection_gets_no_answer_and_is_counted(
    settings: QuicSettings, data: bytes
) -> None:
    async with world(settings) as (server, beyond):
        endpoint = server.listener.endpoint
        beyond.arrive((data, HERE))
        assert not beyond.sent
        assert not endpoint.connections
        assert not endpoint._queue.size
        assert endpoint.strays == 1


async def test_version_negotiation_is_shorter_than_what_it_answers(settings: QuicSettings) -> None:
    async with world(settings) as (server, beyond):
        beyond.arrive((noise(version=0x1A2A3A4A), HERE))
        (answer,) = beyond.sent[HERE]
        assert kind_of(answer) == "version negotiation"
        assert len(answer) < 64
        assert server.listener.endpoint.strays == 1


async def test_datagrams_of_links_are_handled_before_unauthenticated_ones(settings: QuicSettings) -> None:
    async with world(settings, address_validation="never") as (server, beyond):
        client = await dial(settings, server.address)
        await server.link()
        endpoint = server.listener.endpoint
        (connection,) = endpoint.connections
        order: list[object] = []
        handle = endpoint._queue._handle
        connection.receive = lambda data, *given: order.append("link")  # type: ignore[method-assign]
        endpoint._queue._handle = lambda where, came: (order.append(where), handle(where, came))  # type: ignore
        data = b"\x40" + connection.engine.host_cid + bytes(40)
        strangers = [(noise(), made_up(number)) for number in range(3)]
        endpoint._queue._paused_until = 0.0  # of the work for the client's handshake
        beyond.arrive(*strangers, (data, HERE))
        assert order[:2] == ["link", made_up(0)]
        del connection.receive
        await until_seen(server, lambda: not endpoint._queue.size)
        assert order == ["link", made_up(0), made_up(1), made_up(2)]
        client.link.close()


async def test_datagrams_that_are_too_many_at_once_are_sifted(settings: QuicSettings) -> None:
    async with world(settings) as (server, _):
        client = await dial(settings, server.address)
        await server.link()
        endpoint = server.listener.endpoint
        (connection,) = endpoint.connections
        data = b"\x40" + connection.engine.host_cid + bytes(40)
        links = [(data + bytes((number,)), HERE) for number in range(200)]
        strangers = [(noise(), made_up(number)) for number in range(5)]
        assert endpoint._sift([*strangers[:3], *links, *strangers[3:]]) == links
        assert endpoint._queue.size == 5
        client.link.close()


# -- the queue -----------------------------------------------------------------------------------


class Queue:
    """A queue whose work takes ``cost`` seconds for each address, on a clock that only that moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float = 0.0) -> None:
        self.clock = 0.0
        self.cost = cost
        self.handled: list[tuple[object, int]] = []
        self.asked: list[float] = []
        monkeypatch.setattr(time, "thread_time", lambda: self.clock)
        self.queue = unauthenticated_queue.UnauthenticatedQueue(self.handle, self.asked.append)

    def handle(self, address: object, datagrams: Sequence[object]) -> None:
        self.clock += self.cost
        self.handled.append((address, len(datagrams)))


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("sources", [1, 200])
def test_the_queue_has_room_for_the_next_whatever_others_send(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, sources: int
) -> None:
    queue = Queue(monkeypatch).queue
    for size in (65_000, 1500):
        for number in range(200):
            for _ in range(20):
                queue.put((bytes(size), (f"198.51.100.{number % sources}", number)), stage)
    assert queue.put((bytes(1200), HERE), stage)
    assert queue.put((bytes(1200), HERE), stage)


@pytest.mark.parametrize("stage", Stage)
def test_queue_is_bounded_in_addresses_datagrams_and_bytes(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    queue = Queue(monkeypatch).queue
    waiting = queue._stages[stage]
    for number in range(100_000):
        queue.put((bytes(20), (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 9)), stage)
    assert queue.size == unauthenticated_queue.MAX_ADDRESSES
    for _ in range(1000):
        queue.put((bytes(20), HERE), stage)
    assert len(waiting._datagrams[HERE]) == waiting._most
    queue.work(0.0)
    assert not queue.size
    for number in range(1000):
        queue.put((bytes(65_000), ("192.0.2.7", number)), stage)
        for _ in range(20):
            queue.put((bytes(1500), ("192.0.2.7", number)), stage)
    for datagrams in waiting._datagrams.values():
        assert sum(len(data) for data, _ in datagrams) <= unauthenticated_queue.MAX_BYTES
    assert queue.size <= unauthenticated_queue.MAX_OF_SOURCE
    assert queue.dropped > 100_000


def test_queue_serves_handshakes_under_way_before_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Queue(monkeypatch, cost=0.0001)
    for number in range(1000):
        lab.queue.put((bytes(20), made_up(number)))
        lab.queue.put((bytes(20), made_up(number)), Stage.HANDSHAKE)
    lab.queue.put((bytes(20), HERE), Stage.VALIDATED)
    lab.queue.put((bytes(20), HERE), Stage.VALIDATED)
    lab.queue.work(0.0)
    assert lab.handled[0] == (HERE, 2)
    assert len(lab.handled) > 5


def test_queue_works_for_a_slice_and_pauses_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Queue(monkeypatch, cost=0.004)
    for number in range(3):
        lab.queue.put((bytes(20), made_up(number)))
    lab.queue.work(10.0)
    assert lab.handled == [(made_up(0), 1)]
    assert lab.asked == [pytest.approx(0.008)]
    lab.queue.work(10.007)
    assert len(lab.handled) == 1
    lab.queue.work_later(10.009)
    assert [address for address, _ in lab.handled] == [made_up(0), made_up(1)]
    lab.queue.work_later(10.018)
    assert not lab.queue.size
    lab.queue.work_later(20.0)
    assert len(lab.handled) == 3


def test_queue_serves_addresses_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Queue(monkeypatch, cost=0.004)
    for number in range(1000):
        lab.queue.put((bytes(20), ("192.0.2.9", 9)))
        if number == 500:
            lab.queue.put((bytes(20), HERE))
    lab.queue.work(0.0)
    lab.queue.put((bytes(20), ("192.0.2.9", 9)))
    lab.queue.work(1.0)
    assert lab.handled == [(("192.0.2.9", 9), unauthenticated_queue.MAX_NEW), (HERE, 1)]


def test_long_header_accepts_any_data() -> None:
    data = noise()
    assert long_header(data) is not None
    for length in range(23):
        header = long_header(data[:length])
        assert header is None or header.end <= length


async def test_server_accepts_a_peer_quickly_in_a_flood_from_the_same_address(
    settings: QuicSettings,
) -> None:
    """Everything comes from 127.0.0.1: strangers that are validated, and the peer that means it."""
    changed = dataclasses.replace(settings, max_half_open=16)
    async with listening(changed) as server:
        endpoint = server.listener.endpoint
        stop = asyncio.Event()

        async def flood() -> None:
            while not stop.is_set():
                endpoint.datagrams_received([(noise(), ("127.0.0.1", 9))] * 32)
                await asyncio.sleep(0)

        task = asyncio.create_task(flood())
        began = time.monotonic()
        client = await dial(settings, server.address)
        await server.link()
        assert time.monotonic() - began < SETUP_TIME / 2
        stop.set()
        await task
        client.link.close()
