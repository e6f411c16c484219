"""What a hostile peer makes a connection keep and compute: linear in what it sends, and little before it
has been authenticated."""

from __future__ import annotations

import itertools
import logging
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from random import Random

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import StopSendingReceived
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import Epoch

from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.aioquic import flow_control, statistics
from quicdist.carrier.quic.engine.aioquic import state as engine_state
from quicdist.carrier.quic.engine.aioquic.bounds import BOUNDS, Bounded
from quicdist.carrier.quic.engine.aioquic.reassembly import CryptoReceiver
from quicdist.carrier.quic.engine.aioquic.recovery import Recovery
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.quic.engine.wire.frames import uint
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.crafted import Crafted, crypto_frame, packed, seal, stream_frame
from tests.carrier.simulated import Faults, Network
from tests.carrier.test_fast_path import all_came

Frames = Callable[[int], bytes]


def ack(largest: int, count: int) -> bytes:
    return b"\2" + uint(largest) + b"\0" + uint(count) + b"\0" + b"\0\0" * count


#: Frames of all types, by a running number; the server is who gets them, but for those of SERVERS.
FRAMES: dict[str, Frames] = {
    "PADDING and PING": lambda i: b"\0\1",
    "PING": lambda i: b"\1",
    "ACK": lambda i: ack(5, 0),
    "ACK, many ranges": lambda i: ack(100_000, 600),
    "ACK, other ranges each": lambda i: ack(60 + i, 10),
    "RESET_STREAM": lambda i: b"\4" + uint(4 * (i % 120)) + b"\0\0",
    "STOP_SENDING": lambda i: b"\5" + uint(4 * (i % 120)) + b"\0",
    "CRYPTO, gaps": lambda i: crypto_frame(2 * i + 1, b"x"),
    "CRYPTO, again": lambda i: crypto_frame(1, b"x"),
    "NEW_TOKEN": lambda i: b"\7\1x",
    "STREAM, gaps": lambda i: stream_frame(0, 2 * i + 1, b"x"),
    "STREAM, gaps backwards": lambda i: stream_frame(0, 1_000_000 - 2 * i, b"x"),
    "STREAM, bytes backwards": lambda i: stream_frame(0, 1_000_000 - i, b"x"),
    "STREAM, bytes in order": lambda i: stream_frame(0, i, b"x"),
    "STREAM, the same byte": lambda i: stream_frame(0, 5, b"x"),
    "STREAM, empty": lambda i: stream_frame(0, 0, b""),
    "STREAM, many streams": lambda i: stream_frame(4 * (i % 128), 2 * i + 1, b"x"),
    "STREAM, ended": lambda i: b"\x0f" + uint(4 * (i % 128)) + b"\0\0",
    "MAX_DATA": lambda i: b"\x10" + uint((1 << 30) + i),
    "MAX_STREAM_DATA": lambda i: b"\x11" + uint(4 * (i % 128)) + uint(i),
    "MAX_STREAMS": lambda i: b"\x12" + uint(200 + i),
    "DATA_BLOCKED": lambda i: b"\x14" + uint(i),
    "STREAM_DATA_BLOCKED": lambda i: b"\x15" + uint(4 * (i % 128)) + uint(i),
    "STREAMS_BLOCKED": lambda i: b"\x16" + uint(i),
    "NEW_CONNECTION_ID": lambda i: b"\x18" + uint(i + 8) * 2 + b"\x08" + i.to_bytes(8) + bytes(16),
    "NEW_CONNECTION_ID, the same": lambda i: b"\x18\1\0\x08" + bytes(8) + bytes(16),
    "RETIRE_CONNECTION_ID": lambda i: b"\x19" + uint(i + 1),
    "RETIRE_CONNECTION_ID, the same": lambda i: b"\x19\1",
    "PATH_CHALLENGE": lambda i: b"\x1a" + i.to_bytes(8),
    "PATH_RESPONSE": lambda i: b"\x1b" + i.to_bytes(8),
    "HANDSHAKE_DONE": lambda i: b"\x1e",
    "DATAGRAM": lambda i: b"\x31\0",
}
SERVERS = {"NEW_TOKEN", "HANDSHAKE_DONE"}


def payloads(frames: Frames, size: int) -> Iterator[bytes]:
    """``size`` bytes of frames, in packets."""
    sent = 0
    for payload in packed(map(frames, itertools.count())):
        yield payload
        sent += len(payload)
        if sent >= size:
            return


class Work:
    """Counts calls, of Python's functions and of C's; and memory that was kept."""

    def __enter__(self) -> Work:
        self.calls = 0
        sys.setprofile(self._called)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: object, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1


def test_the_table_has_every_type_of_frame(certificates: CertificateFiles) -> None:
    Crafted(certificates, connected=False)

    def kind(frame: bytes) -> int:
        return frame.lstrip(b"\0")[0]

    tried = {kind(frames(1)) for frames in FRAMES.values()}
    same = {0: 1, 3: 2, 0x13: 0x12, 0x17: 0x16, 0x30: 0x31, **dict.fromkeys(range(8, 16), 0x0E)}
    same[0x0F] = 0x0F
    ends = {0x1C, 0x1D}
    assert Bounded._handlers
    assert {same.get(kind, kind) for kind in Bounded._handlers} - ends == tried


@pytest.mark.parametrize("authenticated", [True, False], ids=["link", "stranger"])
@pytest.mark.parametrize("name", FRAMES)
def test_every_type_of_frame_costs_linear_time(
    certificates: CertificateFiles, name: str, authenticated: bool
) -> None:
    def calls(size: int) -> int:
        pair = Crafted(certificates, authenticated=authenticated)
        target = pair.client if name in SERVERS else pair.server
        # Something to be acknowledged, or not.
        own = 1 if target is pair.server else 0
        for _ in range(40):
            target.send_stream_data(own, b"x")
            pair.now += 1.0
            target.datagrams_to_send(pair.now)
        sealed = list(payloads(FRAMES[name], size))
        with Work() as work:
            pair.flood(target, sealed)
        return work.calls

    once = calls(20_000)
    # A hundred calls for each packet at most that do nothing about its frames.
    assert calls(40_000) < 2.2 * once + 3000
    # Where the connection is not closed: a few calls for each byte at most.
    assert once < 20 * 20_000


@pytest.mark.parametrize("authenticated", [True, False], ids=["link", "stranger"])
@pytest.mark.parametrize("name", FRAMES)
def test_no_type_of_frame_keeps_much_memory(
    certificates: CertificateFiles, name: str, authenticated: bool
) -> None:
    pair = Crafted(certificates, authenticated=authenticated)
    target = pair.client if name in SERVERS else pair.server
    sealed = list(payloads(FRAMES[name], 100_000))
    tracemalloc.start()
    try:
        pair.flood(target, sealed)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < (1_000_000 if authenticated else 250_000)


def test_the_last_byte_of_every_window_costs_a_byte(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    window = pair.server._local_max_stream_data_bidi_remote
    tracemalloc.start()
    try:
        for number in range(64):
            pair.feed(pair.server, stream_frame(4 * number, window - 1, b"x"))
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()
    assert engine_state.closing(pair.server) is None
    assert pair.server._local_max_data.used == 64 * window


@pytest.mark.parametrize("authenticated", [False, True])
def test_what_is_written_to_a_stream_that_was_stopped_is_dropped(
    certificates: CertificateFiles, *, authenticated: bool
) -> None:
    """A name and STOP_SENDING in one packet: the status that was written next made a traceback."""
    pair = Crafted(certificates, authenticated=authenticated)
    pair.feed(pair.server, stream_frame(0, 0, b"name") + b"\5" + uint(0) + uint(0))
    outgoing = SendScheduler(pair.server)
    outgoing.add(0, [b"sok"], 3)
    outgoing.feed(pair.now)
    assert outgoing.size == 0
    assert not statistics.is_writable(pair.server, 0)
    assert engine_state.closing(pair.server) is None


# -- Initial packets: no handshake ---------------------------------------------------------------


def initials(pair: Crafted, frames: Iterable[bytes]) -> None:
    """Give the server Initial packets of somebody who has not said anything yet."""
    for number, payload in enumerate(packed(frames, 1100)):
        data = seal(pair.client, payload, number, Epoch.INITIAL)
        pair.server.receive_datagram(data, ("127.0.0.1", 5544), pair.now)
        if engine_state.closing(pair.server) is not None:
            return


@pytest.mark.parametrize("step", [2, -2])
def test_crypto_bytes_with_gaps_are_few(certificates: CertificateFiles, step: int) -> None:
    pair = Crafted(certificates, connected=False)
    first = 1 if step > 0 else 30_001
    frames = (crypto_frame(first + step * i, b"x") for i in range(15_000))
    with Work() as work:
        initials(pair, frames)
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert (closing.code, closing.by_peer) == (QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, False)
    assert work.calls < 10_000


def test_crypto_bytes_in_order_make_no_long_message(certificates: CertificateFiles) -> None:
    """A ClientHello of 8,000 bytes, a byte in a frame: TLS joined what it had with each."""
    pair = Crafted(certificates, connected=False)
    hello = b"\1\0\x1f\x40" + bytes(8000)
    with Work() as work:
        initials(pair, (crypto_frame(i, hello[i : i + 1]) for i in range(len(hello))))
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert "frames" in closing.reason
    assert work.calls < 60 * BOUNDS.frames


def test_a_client_hello_is_short(certificates: CertificateFiles) -> None:
    """Its lists are read item by item: 25,000 names of protocols took 70 ms. It is refused by its head."""
    pair = Crafted(certificates, connected=False)
    size = 1 + CryptoReceiver.MAX_HELLO - 4
    with Work() as work:
        initials(pair, [crypto_frame(0, b"\1" + size.to_bytes(3, "big"))])
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert (closing.code, closing.by_peer) == (QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, False)
    assert work.calls < 10_000


def test_a_handshake_needs_few_frames(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates, authenticated=False)
    assert 0 < pair.server._frames < BOUNDS.frames // 100
    assert 0 < pair.client._frames < BOUNDS.frames // 100


# -- before the peer has been authenticated ------------------------------------------------------


def test_data_of_a_dialled_node_beyond_the_limit_come_again_later(certificates: CertificateFiles) -> None:
    network = Network(certificates, 3)
    client, server = network.ends
    for end in network.ends:
        assert isinstance(end.quic, Bounded)
        end.quic.is_authenticated = False
        end.quic._keys = None  # type: ignore[attr-defined]
    server.write(1, bytes(3_000_000))
    while not client.quic._dropped_packets:  # type: ignore[attr-defined]
        network.run(0.05)
    assert BOUNDS.stream_bytes <= len(client.came[1]) < BOUNDS.stream_bytes + 20_000
    assert client.ended is None
    for end in network.ends:
        assert isinstance(end.quic, Bounded)
        end.quic.authenticated()
    all_came(network)


@pytest.mark.parametrize("dials", [True, False], ids=["dialled", "dialling"])
def test_a_peer_that_keeps_exceeding_the_limits_is_closed(
    certificates: CertificateFiles, dials: bool
) -> None:
    pair = Crafted(certificates, authenticated=False)
    target, stream_id = (pair.client, 1) if dials else (pair.server, 0)
    pair.flood(target, (stream_frame(stream_id, 1000 * i, bytes(1000)) for i in range(10_000)))
    closing = engine_state.closing(target)
    assert closing is not None
    assert closing.code == QuicErrorCode.INTERNAL_ERROR
    assert "before the handshake" in closing.reason
    assert target._local_max_data.used <= BOUNDS.stream_bytes + 1000


def test_streams_beyond_the_limit_come_again_after_authentication(
    certificates: CertificateFiles,
) -> None:
    pair = Crafted(certificates, authenticated=False)
    for number in range(BOUNDS.streams + 5):
        pair.feed(pair.server, stream_frame(4 * number, 0, b"x"))
    assert len(pair.server._streams) == BOUNDS.streams
    pair.feed(pair.server, stream_frame(4 * BOUNDS.bidirectional, 0, b"x"))
    pair.feed(pair.server, stream_frame(2 + 4 * BOUNDS.unidirectional, 0, b"x"))
    assert len(pair.server._streams) == BOUNDS.streams
    assert engine_state.closing(pair.server) is None
    pair.server.authenticated()
    pair.feed(pair.server, stream_frame(4 * BOUNDS.bidirectional, 0, b"x"))
    assert len(pair.server._streams) == BOUNDS.streams + 1


def test_a_dropped_packet_is_not_acknowledged(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates, authenticated=False)
    taken = statistics.packets_received(pair.server)
    pair.feed(pair.server, stream_frame(4 * 100, 0, b"x"))
    assert statistics.packets_received(pair.server) == taken
    pair.feed(pair.server, stream_frame(4, 0, b"x"))
    assert statistics.packets_received(pair.server) > taken
    assert list(pair.server._spaces[Epoch.ONE_RTT].ack_queue)[-1] == range(
        pair.client._packet_number - 1, pair.client._packet_number
    )


# -- streams that are opened by a higher one ------------------------------------------------------


def test_streams_below_one_that_is_opened_are_open_too(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    client, server = pair.client, pair.server
    for stream_id in (8, 12, 16, 20):
        client.send_stream_data(stream_id, b"")  # It tells nobody.
    client.send_stream_data(40, b"x")
    pair.talk()
    assert list(server._streams) == [40]
    client.send_stream_data(8, b"y")
    pair.talk()
    assert list(server._streams) == [40, 8]
    # Those of which nothing came can be written to.
    server.send_stream_data(12, b"z")
    server.reset_stream(16, 7)
    pair.talk()
    assert set(server._streams) == {8, 12, 16, 40}
    # What is over stays over.
    client.send_stream_data(20, b"", end_stream=True)
    pair.talk()
    server.send_stream_data(20, b"", end_stream=True)
    pair.talk()
    assert 20 not in server._streams
    pair.feed(server, stream_frame(20, 0, b""))
    assert 20 not in server._streams
    assert engine_state.closing(server) is engine_state.closing(client) is None


def test_too_many_streams_are_an_error_still(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    pair.feed(pair.server, stream_frame(4 * 128, 0, b"x"))
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert closing.code == QuicErrorCode.STREAM_LIMIT_ERROR


def test_a_repeated_stop_sending_is_one_event(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    pair.server._events.clear()
    pair.feed(pair.server, (b"\5" + uint(4) + b"\7") * 100)
    told = [event for event in pair.server._events if isinstance(event, StopSendingReceived)]
    assert [(event.stream_id, event.error_code) for event in told] == [(4, 7)]


# -- connection ids -------------------------------------------------------------------------------


def test_only_connection_ids_that_were_sent_can_be_retired(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    server = pair.server
    assert len(server._host_cids) == 8
    pair.feed(server, b"\x19\7")
    assert engine_state.closing(server) is None
    # Its successor has not been sent yet.
    pair.feed(server, b"\x19\x08")
    closing = engine_state.closing(server)
    assert closing is not None
    assert closing.code == QuicErrorCode.PROTOCOL_VIOLATION


def test_a_client_may_retire_connection_ids_one_after_the_other(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    for _ in range(30):
        pair.client.change_connection_id()
        pair.talk()
    assert engine_state.closing(pair.server) is None
    assert engine_state.closing(pair.client) is None


# -- links: nothing honest meets the bounds -------------------------------------------------------


@pytest.mark.parametrize("size", [64, 1_000_000])
@pytest.mark.parametrize("seed", range(2))
def test_heavy_loss_of_full_windows_meets_no_bound(
    certificates: CertificateFiles, seed: int, size: int
) -> None:
    network = Network(certificates, seed)
    network.faults = Faults(lost=0.2, twice=0.05, delay=0.05)
    client, server = network.ends
    for end in network.ends:
        assert isinstance(end.quic._loss, Recovery)
        end.quic._loss.congestion.congestion_window = 16 * 1024 * 1024
    for _ in range(8 if size > 64 else 1500):
        client.write(0, bytes(size))
        server.write(1, bytes(size // 8))
        network.run(0.002 if size == 64 else 0.02)
    network.faults = Faults()
    all_came(network)
    for end in network.ends:
        assert isinstance(end.quic, Bounded)
        assert end.quic._dropped_packets == 0
        assert (end.quic._reassembly.pieces, end.quic._reassembly.size) == (0, 0)


def test_every_other_packet_of_a_full_window_is_kept(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    server = pair.server
    flow_control.keep_window(server, 0, 0)
    window = 16 * 1024 * 1024
    pair.feed(server, stream_frame(0, 0, b"x"))
    flow_control.keep_window(server, 0, window)
    size = 1200
    for offset in range(1 + size, window - size, 2 * size):
        pair.feed(server, stream_frame(0, offset, bytes(size)))
    assert server._dropped_packets == 0
    server._events.clear()
    for offset in range(1, window - size, 2 * size):
        pair.feed(server, stream_frame(0, offset, bytes(size)))
    came = sum(len(event.data) for event in server._events if isinstance(event, StreamData))
    assert came > window - 3 * size
    assert server._reassembly.pieces == 0


def test_a_link_survives_too_many_tiny_pieces(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    server = pair.server
    pair.flood(server, packed(stream_frame(0, 2 * i + 1, b"x") for i in range(10_000)))
    assert engine_state.closing(server) is None
    assert server._dropped_packets > 0
    assert server._reassembly.pieces < 300
    # What fills the gaps is taken.
    server._events.clear()
    pair.feed(server, stream_frame(0, 0, bytes(1000)))
    (event,) = server._events
    assert isinstance(event, StreamData)
    assert len(event.data) == 1000


# -- whatever comes ------------------------------------------------------------------------------


@pytest.mark.parametrize("authenticated", [True, False], ids=["link", "stranger"])
@pytest.mark.parametrize("seed", range(3))
def test_no_packet_content_raises(
    certificates: CertificateFiles, caplog: pytest.LogCaptureFixture, seed: int, authenticated: bool
) -> None:
    caplog.set_level(logging.INFO)
    random = Random(seed)
    names = list(FRAMES)
    for _ in range(40):
        pair = Crafted(certificates, authenticated=authenticated)
        target = random.choice((pair.server, pair.client))
        for _ in range(10):
            frames = [
                FRAMES[random.choice(names)](random.randrange(300)) for _ in range(random.randrange(1, 20))
            ]
            payload = bytearray(b"".join(frames))
            for _ in range(random.randrange(4)):
                payload[random.randrange(len(payload))] = random.randrange(256)
            if random.random() < 0.3:
                del payload[random.randrange(1, len(payload) + 1) :]
            pair.feed(target, bytes(payload))
            target.datagrams_to_send(pair.now)
            if engine_state.closing(target) is not None:
                break
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    "error", [IndexError("x"), UnicodeDecodeError("utf8", b"", 0, 0, ""), ValueError(), KeyError()]
)
def test_an_exception_of_the_engine_closes_the_connection_as_an_error_of_the_peer(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stumble(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(QuicConnection, "_handle_max_streams_bidi_frame", stumble)
    pair = Crafted(certificates)
    pair.feed(pair.server, b"\x12\1")
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert closing.code == QuicErrorCode.PROTOCOL_VIOLATION
    assert type(error).__name__ in closing.reason
    pair = Crafted(certificates, connected=False)
    monkeypatch.setattr("aioquic.tls.Context.handle_message", stumble)
    initials(pair, [crypto_frame(0, b"\1\0\0\0")])
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert closing.tls_alert == 80


def test_an_exception_outside_of_frames_closes_the_connection_only(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*arguments: object) -> None:
        raise IndexError("pop from empty list")

    pair = Crafted(certificates)
    monkeypatch.setattr(pair.server, "_find_network_path", stumble)
    pair.server._keys = None
    pair.feed(pair.server, b"\1")
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert closing.code == QuicErrorCode.INTERNAL_ERROR
    assert "IndexError" in closing.reason
    assert [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG] == []


class Handshake:
    """A handshake of which what one side says is changed on its way: CRYPTO data are decrypted, changed and
    sealed again."""

    def __init__(self, certificates: CertificateFiles, random: Random, *, of_client: bool) -> None:
        self.pair = Crafted(certificates, connected=False)
        self.random = random
        self.sender = self.pair.client if of_client else self.pair.server
        self.target = self.pair.other(self.sender)

    def run(self) -> None:
        pair = self.pair
        changed = False
        for _ in range(4):
            pair.now += 0.01
            for quic, other, address in (
                (pair.client, pair.server, ("127.0.0.1", 5544)),
                (pair.server, pair.client, ("127.0.0.1", 4433)),
            ):
                if quic.get_peer_address() is None or engine_state.closing(quic) is not None:
                    continue
                if quic is self.sender and not changed:
                    changed = self.change()
                for data, _ in quic.datagrams_to_send(pair.now):
                    other.receive_datagram(data, address, pair.now)

    def change(self) -> bool:
        """Change what waits to be sent of TLS; whether there was any."""
        random = self.random
        waiting = [stream.sender for stream in self.sender._crypto_streams.values() if stream.sender._buffer]
        for sender in waiting:
            for _ in range(random.randrange(1, 4)):
                at = random.randrange(len(sender._buffer))
                sender._buffer[at] = random.choice((0, 1, 255, random.randrange(256)))
        return bool(waiting)


@pytest.mark.parametrize("of_client", [True, False], ids=["of the client", "of the server"])
@pytest.mark.parametrize("seed", range(2))
def test_no_tls_message_raises(
    certificates: CertificateFiles, caplog: pytest.LogCaptureFixture, seed: int, of_client: bool
) -> None:
    caplog.set_level(logging.INFO)
    random = Random(seed)
    closed = 0
    for _ in range(60):
        handshake = Handshake(certificates, random, of_client=of_client)
        handshake.run()
        closing = engine_state.closing(handshake.target)
        closed += closing is not None
    assert closed > 20
    assert not any(record.exc_info for record in caplog.records)
    assert {record.levelno for record in caplog.records} <= {logging.INFO, logging.WARNING}


@pytest.mark.parametrize("seed", range(2))
def test_no_datagram_raises(
    certificates: CertificateFiles, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """Cut short, changed, joined."""
    caplog.set_level(logging.INFO)
    random = Random(seed)
    for _ in range(20):
        pair = Crafted(certificates, connected=False)
        for _ in range(6):
            pair.now += 0.01
            for quic, other, address in (
                (pair.client, pair.server, ("127.0.0.1", 5544)),
                (pair.server, pair.client, ("127.0.0.1", 4433)),
            ):
                if quic.get_peer_address() is None:
                    continue
                for data, _ in quic.datagrams_to_send(pair.now):
                    bad = bytearray(data)
                    for _ in range(random.randrange(4)):
                        bad[random.randrange(len(bad))] = random.randrange(256)
                    if random.random() < 0.5:
                        del bad[random.randrange(len(bad)) :]
                    other.receive_datagram(bytes(bad), address, pair.now)
                    other.receive_datagram(data, address, pair.now)
    assert not any(record.exc_info for record in caplog.records)
