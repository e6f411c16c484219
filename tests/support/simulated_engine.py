"""A QUIC engine without QUIC: what stands behind the contract
(:mod:`quicdist.carrier.quic.engine.contract`) in place of aioquic in tests.

Its headers are those of RFC 8999, so that a listener can route and admit; all else is as small as the
contract allows. Nothing is encrypted: a CRC tells a packet from noise. Each side says hello with what QUIC
says in TLS, on a stream of its own, and the handshake takes one round trip. TLS is faked: certificates are
shown and not verified, pre-shared keys are refused, no tickets are issued.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from quicdist.carrier import TransportStats
from quicdist.carrier.datagram_socket import Datagram, SocketAddress
from quicdist.carrier.quic.engine import own_parameters
from quicdist.carrier.quic.engine.closing import CRYPTO_ERROR, Closing
from quicdist.carrier.quic.engine.contract import (
    AMPLIFICATION,
    UNLIMITED,
    Acceptor,
    Engine,
    EngineFactory,
    Ticket,
    TicketTable,
)
from quicdist.carrier.quic.engine.events import (
    ConnectionIdIssued,
    ConnectionTerminated,
    Event,
    HandshakeCompleted,
    StreamData,
    StreamReset,
)
from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.engine.state import EngineState
from quicdist.carrier.quic.engine.wire import frames as wire
from quicdist.carrier.quic.engine.wire.long_header import LONG, LongHeader, long_header
from tests.support.simulated_streams import Piece, ReceivePart, SendPart, Stream, add_range

VERSION: Final = 0x1A2A_3A4A
ID_LENGTH: Final = 8
TOKEN_LENGTH: Final = 16
#: The stream that the hellos are sent on, apart from all others.
HELLO: Final = 1 << 60
#: Types of packets with a long header, and of frames; those of RFC 9000 where it has them.
INITIAL, RETRY = 0xC0, 0xF0
RESET, STOP, MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS = 0x04, 0x05, 0x10, 0x11, 0x12
CHALLENGE, RESPONSE, CLOSE = 0x1A, 0x1B, 0x1C
#: What is used of a packet beside its frames: a short header, a number and a CRC; what a STREAM frame adds.
OVERHEAD: Final = 1 + ID_LENGTH + 4 + 4
STREAM_OVERHEAD: Final = 1 + 8 + 8 + 4
LONG_OVERHEAD: Final = 64
WINDOW: Final = 128 * 1024
STREAMS: Final = 128
RANGES: Final = 64
CLOSE_REASON: Final = 256
FLOW_CONTROL_ERROR: Final = 0x03
NO_ALPN: Final = CRYPTO_ERROR + 120


@dataclass(slots=True)
class Sent:
    """A packet that is neither acknowledged nor lost."""

    number: int
    at: float
    size: int
    in_flight: bool
    control: list[bytes] = field(default_factory=list)
    pieces: list[tuple[int, Piece]] = field(default_factory=list)
    on_done: list[Callable[[bool], None]] = field(default_factory=list)


class SimulatedEngine:
    """See :class:`~quicdist.carrier.quic.engine.contract.Engine`."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        is_client: bool,
        host_cid: bytes | None = None,
        reset_token: Callable[[bytes], bytes] = lambda _: os.urandom(TOKEN_LENGTH),
        validated: bool = False,
    ) -> None:
        if settings.external_psk is not None:
            raise ValueError("the simulated engine has no pre-shared keys")
        self._settings = settings
        self._is_client = is_client
        self._state = EngineState.FIRST_FLIGHT
        self._closing: Closing | None = None
        self._close_due = False
        self._over_at: float | None = None
        self._events: list[Event] = []
        self.host_cid = host_cid or os.urandom(ID_LENGTH)
        others = [os.urandom(ID_LENGTH) for _ in range(3)]
        self._ids = {each: reset_token(each) for each in (self.host_cid, *others)}
        self._peer_ids: deque[tuple[bytes, bytes]] = deque([(os.urandom(ID_LENGTH), b"")])
        self._peer: dict[str, Any] | None = None
        self._peer_certificates: tuple[x509.Certificate, ...] = ()
        self._token = b""
        self._handshake_completed = False
        # paths
        self._address: SocketAddress | None = None
        self._path_is_valid = is_client or validated
        self._credit = 0
        self._challenge = b""
        self._datagram_size = settings.datagram_size
        # packets
        self._number = 0
        self._sent: dict[int, Sent] = {}
        self._in_flight = self._packets_lost = 0
        self._received: list[range] = []
        self._largest = -1
        self._acknowledgement_due = False
        self._control: deque[bytes] = deque()
        self._ping = self._probing = False
        self._timeouts = 0
        self._rtt, self._rtt_min, self._rtt_latest = settings.initial_rtt, float("inf"), 0.0
        self._rounds = self._round_end = 0
        self._waiting_since = self._heard_at = 0.0
        # streams
        self._streams: dict[int, Stream] = {}
        self._over: set[int] = set()
        self._next_own = 0 if is_client else 1
        self._opened_by_peer = [0, 0]
        self._streams_granted = STREAMS
        self._limit = self._limit_told = settings.max_data
        self._used = self._credit_used = 0
        self._limits_held = False
        self._turn = 0
        self._hello = Stream(SendPart(limit=UNLIMITED), ReceivePart(UNLIMITED, UNLIMITED))
        self._hello_received = b""
        self._hello.send.write(self._own_hello(), True)

    def _own_hello(self) -> bytes:
        settings, own = self._settings, [own_parameters.PACED]
        if self._is_client:
            own.append(own_parameters.JOINED_MESSAGES)
        if settings.longest_datagram > MIN_SIZE:
            own.append(own_parameters.LONG_DATAGRAMS)
        shown = settings.credentials
        certificates = [] if shown is None or self._is_client else [shown.certificate, *shown.chain]
        return json.dumps(
            {
                "alpn": settings.alpn,
                "ids": [(each.hex(), token.hex()) for each, token in self._ids.items()],
                "max_data": settings.max_data,
                "max_stream_data": settings.max_stream_data,
                "max_streams": STREAMS,
                "parameters": own,
                "certificates": [
                    base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in certificates
                ],
            }
        ).encode()

    # -- datagrams and timers --------------------------------------------------------------------

    def connect(self, addr: SocketAddress, now: float) -> None:
        self._address = addr
        self._heard_at = self._waiting_since = now

    def receive_datagrams(self, datagrams: Sequence[Datagram], now: float) -> None:
        for data, addr in datagrams:
            self.receive_datagram(data, addr, now)

    def receive_datagram(self, data: bytes, addr: SocketAddress, now: float) -> None:
        if self._state not in (EngineState.FIRST_FLIGHT, EngineState.CONNECTED) or len(data) < OVERHEAD:
            return
        header = long_header(data) if data[0] & LONG else None
        if self._address is None:
            self._address = addr
        if addr == self._address and not self._path_is_valid:
            self._credit += AMPLIFICATION * len(data)
        if header is not None and data[0] == RETRY:
            self._retried(header, data, now)
            return
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:]):
            return
        if header is not None:
            length, at = wire.read_uint(data, header.end)
            at += length
        elif data[0] == 0x40 and data[1 : 1 + ID_LENGTH] in self._ids and self._peer is not None:
            at = 1 + ID_LENGTH
        else:
            return
        number, body = int.from_bytes(data[at : at + 4]), data[at + 4 : -4]
        if any(number in held for held in self._received) or (
            len(self._received) >= RANGES and number < self._received[0].start
        ):
            return
        if header is not None and self._state is EngineState.FIRST_FLIGHT:
            self._state = EngineState.CONNECTED
            self._peer_ids[0] = header.source, b""
        self._heard_at = now
        add_range(self._received, number, number + 1)
        del self._received[:-RANGES]
        if header is None:
            self._established(addr, number, len(data), now)
        self._largest = max(self._largest, number)
        self._receive_frames(body, now)

    def _established(self, addr: SocketAddress, number: int, size: int, now: float) -> None:
        """A packet with a short header came: what was sent to the peer's address arrives there."""
        if not self._handshake_completed:
            self._complete_handshake()
        if addr != self._address and number > self._largest:
            self._address, self._path_is_valid = addr, False
            self._credit = AMPLIFICATION * size
            self._challenge = os.urandom(8)
            self._control.append(b"%c%b" % (CHALLENGE, self._challenge))

    def _complete_handshake(self) -> None:
        self._handshake_completed = self._path_is_valid = True
        self._events.append(HandshakeCompleted(session_resumed=False, early_data_accepted=False))
        self._events += [ConnectionIdIssued(each) for each in self._ids if each != self.host_cid]

    def _retried(self, header: LongHeader, data: bytes, now: float) -> None:
        """Begin anew, with the token in ``data``."""
        if self._is_client and not self._token and self._state is EngineState.FIRST_FLIGHT:
            self._token = data[header.end :]
            self._peer_ids[0] = header.source, b""
            self._lose(list(self._sent.values()))

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        if self._close_due:
            self._close_due = False
            return [self._close_datagram(now)]
        datagrams: list[Datagram] = []
        if self._state in (EngineState.FIRST_FLIGHT, EngineState.CONNECTED) and self._address is not None:
            self._raise_limits()
            while (datagram := self._next_datagram(now)) is not None:
                datagrams.append(datagram)
        return datagrams

    def get_timer(self) -> float | None:
        if self._state is EngineState.TERMINATED:
            return None
        if self._over_at is not None:
            return self._over_at
        idle = self._heard_at + self._settings.idle_timeout
        return min(idle, self._probe_at()) if self._waits_for_peer() else idle

    def handle_timer(self, now: float) -> None:
        if self._over_at is not None:
            if now >= self._over_at and self._state is not EngineState.TERMINATED:
                self._terminate()
        elif now >= self._heard_at + self._settings.idle_timeout:
            self._closing = Closing(0, "Idle timeout", is_idle=True)
            self._terminate()
        elif self._waits_for_peer() and now >= self._probe_at():
            self._timeouts += 1
            self._waiting_since = now
            self._probing = self._ping = True
            self._lose([sent for sent in self._sent.values() if sent.in_flight][:2])

    def _waits_for_peer(self) -> bool:
        return bool(self._sent) or (self._is_client and not self._handshake_completed)

    def _probe_at(self) -> float:
        return self._waiting_since + min(self.probe_timeout() * (1 << min(self._timeouts, 10)), 2.0)

    def _terminate(self) -> None:
        self._state = EngineState.TERMINATED
        self._events.append(ConnectionTerminated())

    # -- packets out -------------------------------------------------------------------------------

    def _next_datagram(self, now: float) -> Datagram | None:
        is_long = not self._handshake_completed
        size = MIN_SIZE if is_long else self._datagram_size
        padded = MIN_SIZE if is_long and self._is_client else 0
        if not self._path_is_valid:
            size = min(size, self._credit)
        room = size - (LONG_OVERHEAD + len(self._token) if is_long else OVERHEAD)
        if room < STREAM_OVERHEAD:
            return None
        sent = Sent(self._number, now, 0, in_flight=True)
        frames = []
        if self._acknowledgement_due:
            frames.append(wire.ack(self._received, 0, room // 2))
            room -= len(frames[0])
        if self._in_flight < WINDOW or self._probing:
            while self._control and len(self._control[0]) <= room:
                sent.control.append(self._control.popleft())
                room -= len(sent.control[-1])
            frames += sent.control
            for stream_id, piece in self._pieces(room):
                sent.pieces.append((stream_id, piece))
                kind = wire.STREAM | piece.end
                head = b"%c%b%b" % (kind, wire.uint(stream_id), wire.uint(piece.start))
                frames.append(b"%b%b%b" % (head, wire.uint(len(piece.data)), piece.data))
            if self._ping and not (sent.control or sent.pieces):
                sent.control.append(b"%c" % wire.PING)
                frames += sent.control
            self._ping = self._probing = False
        if not frames:
            return None
        self._acknowledgement_due = False
        return self._datagram(frames, padded, now, sent if sent.control or sent.pieces else None)

    def _pieces(self, room: int) -> Iterator[tuple[int, Piece]]:
        """Pieces of streams with ``room`` bytes in all, each stream in turn."""
        room -= STREAM_OVERHEAD
        while self._hello.send.has_something(UNLIMITED) and room > 0:
            piece = self._hello.send.take(room, UNLIMITED)
            room -= STREAM_OVERHEAD + len(piece.data)
            yield HELLO, piece
        if self._peer is None:
            return
        waiting = list(self._streams)
        first = self._turn % max(1, len(waiting))
        for stream_id in waiting[first:] + waiting[:first]:
            part = self._streams[stream_id].send
            while room > 0 and part.has_something(self.connection_credit()):
                before = part.sent
                piece = part.take(room, self.connection_credit())
                self._credit_used += part.sent - before
                room -= STREAM_OVERHEAD + len(piece.data)
                yield stream_id, piece
        self._turn += 1

    def _datagram(self, frames: list[bytes], size: int, now: float, sent: Sent | None) -> Datagram:
        """A datagram of at least ``size`` bytes; ``sent`` is noted as under way."""
        peer_id, number = self._peer_ids[0][0], self._number.to_bytes(4)
        if self._handshake_completed:
            head = b"\x40%b%b" % (peer_id, number)
        else:
            token = wire.uint(len(self._token)) + self._token
            head = _long(INITIAL, peer_id, self.host_cid) + token + number
        data = (head + b"".join(frames)).ljust(max(size - 4, 0), b"\0")
        data += zlib.crc32(data).to_bytes(4)
        self._number += 1
        self._credit -= len(data)
        if sent is not None:
            sent.size = len(data)
            if not self._sent:
                self._waiting_since = now
            self._sent[sent.number] = sent
            self._in_flight += len(data) if sent.in_flight else 0
        assert self._address is not None
        return data, self._address

    def _close_datagram(self, now: float) -> Datagram:
        assert self._closing is not None
        closing = self._closing
        self._over_at = now + 3 * self.probe_timeout()
        return self._datagram([_close(closing.code, closing.reason, closing.is_application)], 0, now, None)

    # -- packets in --------------------------------------------------------------------------------

    def _receive_frames(self, data: bytes, now: float) -> None:
        at = 0
        while at < len(data) and self._state is EngineState.CONNECTED:
            kind = data[at]
            at += 1
            if kind == wire.PADDING:
                return
            if kind == wire.ACK:
                ranges, _, at = wire.read_ack(data, at)
                self._acknowledged(ranges, now)
                continue
            self._acknowledgement_due = True
            if kind in (wire.STREAM, wire.STREAM | wire.FIN):
                stream_id, at = wire.read_uint(data, at)
                start, at = wire.read_uint(data, at)
                size, at = wire.read_uint(data, at)
                self._stream_received(stream_id, Piece(start, data[at : at + size], bool(kind & wire.FIN)))
                at += size
            elif kind in (CHALLENGE, RESPONSE):
                value, at = data[at : at + 8], at + 8
                if kind == CHALLENGE:
                    self._control.append(b"%c%b" % (RESPONSE, value))
                elif value == self._challenge:
                    self._path_is_valid = True
            elif kind == CLOSE:
                is_application, at = bool(data[at]), at + 1
                code, at = wire.read_uint(data, at)
                size, at = wire.read_uint(data, at)
                reason = data[at : at + size].decode()
                self._closing = Closing(code, reason, by_peer=True, is_application=is_application)
                self._state = EngineState.DRAINING
                self._over_at = now + 3 * self.probe_timeout()
            elif kind != wire.PING:
                at = self._limit_received(kind, data, at)

    def _limit_received(self, kind: int, data: bytes, at: int) -> int:
        """RESET, STOP and the limits: frames of two or three numbers."""
        first, at = wire.read_uint(data, at)
        second, at = wire.read_uint(data, at)
        if kind == MAX_DATA:
            self._peer_says("max_data", first)
        elif kind == MAX_STREAMS:
            self._peer_says("max_streams", first)
        elif (stream := self._stream(first)) is not None:
            if kind == MAX_STREAM_DATA:
                stream.send.limit = max(stream.send.limit, second)
            elif kind == RESET and not stream.receive.finished:
                stream.receive.stop()
                self._events.append(StreamReset(first, second))
            elif kind == STOP and stream.send.reset is None and not stream.send.finished:
                self.reset_stream(first, second)
                self._events.append(StreamReset(first, second))
            self._discard(first)
        return at

    def _peer_says(self, name: str, value: int) -> None:
        assert self._peer is not None
        self._peer[name] = max(self._peer[name], value)

    def _stream_received(self, stream_id: int, piece: Piece) -> None:
        if stream_id == HELLO:
            taken = self._hello.receive.take(piece)
            if taken is not None:
                self._hello_received += taken[0]
                if taken[1]:
                    self._hello_complete(json.loads(self._hello_received))
            return
        stream = self._stream(stream_id)
        if stream is None:
            return
        part = stream.receive
        new = max(0, piece.start + len(piece.data) - part.highest)
        if piece.start + len(piece.data) > part.limit or self._used + new > self._limit:
            self._fail(FLOW_CONTROL_ERROR, "too many bytes")
            return
        self._used += new
        taken = part.take(piece)
        if taken is not None:
            self._events.append(StreamData(stream_id, *taken))
        self._discard(stream_id)

    def _hello_complete(self, hello: dict[str, Any]) -> None:
        self._peer = hello
        self._peer_ids = deque((bytes.fromhex(each), bytes.fromhex(token)) for each, token in hello["ids"])
        self._peer_certificates = tuple(
            x509.load_der_x509_certificate(base64.b64decode(each)) for each in hello["certificates"]
        )
        if hello["alpn"] != self._settings.alpn:
            self._fail(NO_ALPN, "no common ALPN protocol")
        elif self._is_client:
            self._complete_handshake()

    def _acknowledged(self, ranges: list[range], now: float) -> None:
        found = [sent for sent in self._sent.values() if any(sent.number in held for held in ranges)]
        if not found:
            return
        self._timeouts = 0
        self._waiting_since = now
        largest = found[-1]
        self._rtt_latest = now - largest.at
        self._rtt_min = min(self._rtt_min, self._rtt_latest)
        self._rtt += (self._rtt_latest - self._rtt) / 8
        if largest.number >= self._round_end:
            self._rounds += 1
            self._round_end = self._number
        for sent in found:
            self._forget(sent)
            for stream_id, piece in sent.pieces:
                part = self._send_part(stream_id)
                if part is not None:
                    part.delivered(piece)
                    self._discard(stream_id)
            for frame in sent.control:
                self._control_delivered(frame)
            for on_done in sent.on_done:
                on_done(True)
        self._lose([sent for sent in self._sent.values() if sent.number <= largest.number - 3])

    def _control_delivered(self, frame: bytes) -> None:
        if frame[0] == RESET:
            stream_id, _ = wire.read_uint(frame, 1)
            if stream_id in self._streams:
                self._streams[stream_id].send.finished = True
                self._discard(stream_id)

    def _forget(self, sent: Sent) -> None:
        del self._sent[sent.number]
        self._in_flight -= sent.size if sent.in_flight else 0

    def _lose(self, lost: list[Sent]) -> None:
        self._packets_lost += len(lost)
        for sent in lost:
            self._forget(sent)
            self._control.extend(frame for frame in sent.control if frame[0] != wire.PING)
            for stream_id, piece in sent.pieces:
                part = self._send_part(stream_id)
                if part is not None:
                    part.lost(piece)
            for on_done in sent.on_done:
                on_done(False)

    # -- events, and the end ---------------------------------------------------------------------

    def events_waiting(self) -> int:
        return len(self._events)

    def take_events(self) -> list[Event]:
        taken, self._events = self._events, []
        return taken

    def join_events(self, start: int) -> None:
        events, self._events[start:] = self._events[start:], []
        for event in events:
            last = self._events[-1] if len(self._events) > start else None
            if (
                isinstance(event, StreamData)
                and isinstance(last, StreamData)
                and event.stream_id == last.stream_id
            ):
                self._events[-1] = StreamData(last.stream_id, last.data + event.data, event.end_stream)
            else:
                self._events.append(event)

    def authenticated(self) -> None:
        """Nothing is bounded here."""

    def close(self, error_code: int, *, reason_phrase: str) -> None:
        self._fail(error_code, reason_phrase, is_application=True)

    def _fail(self, code: int, reason: str, *, is_application: bool = False) -> None:
        if self._closing is None:
            self._closing = Closing(code, reason, is_application=is_application)
            self._state = EngineState.CLOSING
            self._close_due = True
            self._over_at = self._heard_at

    def closing(self) -> Closing | None:
        return self._closing

    def state(self) -> EngineState:
        return self._state

    def release(self) -> None:
        self._events.clear()
        self._sent.clear()
        self._streams.clear()

    # -- streams -----------------------------------------------------------------------------------

    def _stream(self, stream_id: int) -> Stream | None:
        """A stream, opened if it is a new one of the peer's; None if it is over."""
        stream = self._streams.get(stream_id)
        if stream is None and stream_id not in self._over:
            number, is_own = stream_id >> 2, stream_id & 1 != self._is_client
            if is_own and (stream_id & 2 or stream_id >= self._next_own):
                return None
            if not is_own:
                kind = (stream_id & 2) >> 1
                self._opened_by_peer[kind] = max(self._opened_by_peer[kind], number + 1)
            stream = self._new_stream(stream_id)
        return stream

    def _new_stream(self, stream_id: int) -> Stream:
        window = self._settings.max_stream_data
        stream = Stream(SendPart(), ReceivePart(window, window))
        if self._peer is not None:
            stream.send.limit = self._peer["max_stream_data"]
        if stream_id & 2:
            part = stream.receive if stream_id & 1 != self._is_client else stream.send
            part.finished = True
        self._streams[stream_id] = stream
        return stream

    def _send_part(self, stream_id: int) -> SendPart | None:
        stream = self._hello if stream_id == HELLO else self._streams.get(stream_id)
        return None if stream is None else stream.send

    def _discard(self, stream_id: int) -> None:
        if stream_id in self._streams and self._streams[stream_id].is_over:
            del self._streams[stream_id]
            self._over.add(stream_id)

    def get_next_available_stream_id(self) -> int:
        return self._next_own

    def streams_allowed(self) -> int:
        return 0 if self._peer is None else self._peer["max_streams"]

    def stream_exists(self, stream_id: int) -> bool:
        return stream_id in self._streams

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        stream = self._streams.get(stream_id)
        if stream is None and stream_id not in self._over:
            if stream_id & 1 != self._is_client and not stream_id & 2:
                self._next_own = max(self._next_own, stream_id + 4)
            stream = self._new_stream(stream_id)
        if stream is None or stream.send.reset is not None or stream.send.end:
            raise RuntimeError(f"stream {stream_id} takes no data")
        stream.send.write(data, end_stream)

    def is_writable(self, stream_id: int) -> bool:
        return stream_id in self._streams and self._streams[stream_id].send.reset is None

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        stream = self._streams[stream_id]
        if stream.send.reset is None and not stream.send.finished:
            stream.send.break_off(error_code)
            self._control.append(_frame(RESET, stream_id, error_code))

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        if not self._streams[stream_id].receive.finished:
            self._control.append(_frame(STOP, stream_id, error_code))

    def stop_receiving(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.receive.finished:
            self._limit += max(0, stream.receive.limit - stream.receive.highest)
            stream.receive.stop()
            self._discard(stream_id)

    # -- flow control --------------------------------------------------------------------------------

    def keep_window(self, stream_id: int, window: int) -> int:
        stream = self._streams.get(stream_id)
        if stream is None:
            return window
        stream.receive.granted = True
        stream.receive.limit = max(window, stream.receive.limit)
        return stream.receive.limit

    def grant(self, stream_id: int, limit: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.receive.granted:
            stream.receive.limit = max(limit, stream.receive.limit)

    @contextmanager
    def limits_held(self) -> Iterator[None]:
        self._limits_held = True
        try:
            yield
        finally:
            self._limits_held = False

    def _raise_limits(self) -> None:
        """Queue the frames that tell the peer of larger limits."""
        if not self._handshake_completed:
            return
        if not self._limits_held:
            while self._used * 2 > self._limit:
                self._limit *= 2
            while self._opened_by_peer[0] * 2 > self._streams_granted:
                self._streams_granted *= 2
                self._control.append(_frame(MAX_STREAMS, self._streams_granted, 0))
            if self._limit > self._limit_told:
                self._limit_told = self._limit
                self._control.append(_frame(MAX_DATA, self._limit, 0))
        for stream_id, stream in self._streams.items():
            part = stream.receive
            if part.finished:
                continue
            while not (part.granted or self._limits_held) and part.highest * 2 > part.limit:
                part.limit *= 2
            if part.limit > part.told:
                part.told = part.limit
                self._control.append(_frame(MAX_STREAM_DATA, stream_id, part.limit))

    def stream_credit(self, stream_id: int) -> int:
        part = self._streams[stream_id].send
        return part.limit - part.written

    def connection_credit(self) -> int:
        return 0 if self._peer is None else self._peer["max_data"] - self._credit_used

    # -- what is under way ---------------------------------------------------------------------------

    def written(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.send.written

    def unsent(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return (
            0 if stream is None or stream.send.reset is not None else stream.send.written - stream.send.sent
        )

    def unacknowledged(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        if stream is None or stream.send.reset is not None:
            return 0
        return stream.send.written - stream.send.acknowledged

    def total_unacknowledged(self) -> int:
        return sum(map(self.unacknowledged, self._streams))

    def acknowledged(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return UNLIMITED if stream is None else stream.send.acknowledged

    def in_flight(self) -> int:
        return self._in_flight

    def waiting_for(self) -> dict[int, int]:
        return {
            stream_id: stream.receive.received
            for stream_id, stream in list(self._streams.items())
            if stream.receive.has_gap
        }

    def unacknowledged_from(self) -> dict[int, int]:
        return {
            stream_id: stream.send.acknowledged
            for stream_id, stream in list(self._streams.items())
            if stream.send.acknowledged < stream.send.sent and stream.send.reset is None
        }

    def stream_bytes_received(self) -> int:
        return sum(stream.receive.received for stream in list(self._streams.values()))

    def stream_bytes_acknowledged(self) -> int:
        return sum(stream.send.acknowledged for stream in list(self._streams.values()))

    # -- life and time ---------------------------------------------------------------------------------

    def packets_received(self) -> int:
        return self._largest + 1 if self._handshake_completed else 0

    def packets_sent(self) -> int:
        return self._number

    def transport_stats(self) -> TransportStats:
        return TransportStats(
            round_trip=None if self._rtt_min == float("inf") else self._rtt,
            packets_sent=self._number,
            retransmissions=self._packets_lost,
            congestion_window=WINDOW,
            in_flight=self._in_flight,
        )

    def send_ping(self, uid: int) -> None:
        self._ping = True

    def acknowledge_apart(self, apart: bool) -> None:
        """Nothing is too long here."""

    def acknowledge_now(self, now: float) -> None:
        """No acknowledgement waits."""

    def quickest_round_trip(self) -> float:
        return self._rtt_min

    def probe_timeout(self) -> float:
        return 2 * self._rtt + 0.025

    def rounds(self) -> tuple[int, float, int]:
        return self._rounds, self._rtt_latest, WINDOW

    # -- paths and the size of datagrams -------------------------------------------------------------

    def reset_tokens(self) -> list[bytes]:
        return [token for _, token in list(self._peer_ids)[:1] if token]

    def change_connection_id(self) -> None:
        self._peer_ids.rotate(-1)

    def get_peer_address(self) -> SocketAddress | None:
        return self._address

    def path_is_valid(self) -> bool:
        return self._path_is_valid

    def unvalidated_credit(self) -> int | None:
        return None if self._path_is_valid else self._credit

    def longest_datagram(self) -> int:
        return max(self._settings.longest_datagram, self._settings.datagram_size)

    def datagram_size(self) -> int:
        return self._datagram_size

    def set_datagram_size(self, size: int) -> None:
        self._datagram_size = size

    def make_probe(self, size: int, now: float, on_done: Callable[[bool], None]) -> Datagram:
        sent = Sent(self._number, now, 0, in_flight=False, on_done=[on_done])
        return self._datagram([b"%c" % wire.PING], size, now, sent)

    def forget_probe(self) -> None:
        del self._sent[self._number - 1]

    def watch(self, count: int, on_done: Callable[[bool], None]) -> bool:
        sent = self._sent.get(self._number - count)
        if sent is None:
            return False
        sent.on_done.append(on_done)
        return True

    def watch_long_packets(
        self, size: int, after: int, on_acknowledged: Callable[[int], None]
    ) -> tuple[int, int]:
        found = [sent for sent in self._sent.values() if sent.size > size and sent.number >= after]
        for sent in found:
            sent.on_done.append(partial(_call_if_acknowledged, on_acknowledged, sent.size))
        return len(found), max((sent.size for sent in found), default=0)

    # -- TLS, and what the peer has said of itself ---------------------------------------------------

    def peer_certificates(self) -> tuple[x509.Certificate, ...]:
        return self._peer_certificates

    def why_not_named(self, host: str) -> str | None:
        return None

    def is_resumed(self) -> bool:
        return False

    def can_send_early_data(self) -> bool:
        return False

    def early_data_refused(self, now: float) -> None:
        """There are none."""

    def peer_is_quicdist(self) -> bool:
        return self.peer_says(own_parameters.PACED)

    def peer_says(self, parameter: int) -> bool:
        return self._peer is not None and parameter in self._peer["parameters"]

    def peer_max_datagram(self) -> int:
        return 65527


def _call_if_acknowledged(on_acknowledged: Callable[[int], None], size: int, delivered: bool) -> None:
    if delivered:
        on_acknowledged(size)


# -- frames and headers ----------------------------------------------------------------------------


def _frame(kind: int, first: int, second: int) -> bytes:
    return b"%c%b%b" % (kind, wire.uint(first), wire.uint(second))


def _close(code: int, reason: str, is_application: bool) -> bytes:
    text = reason.encode()[:CLOSE_REASON]
    return b"%c%c%b%b%b" % (CLOSE, is_application, wire.uint(code), wire.uint(len(text)), text)


def _long(kind: int, destination: bytes, source: bytes, version: int = VERSION) -> bytes:
    ids = b"%c%b%c%b" % (len(destination), destination, len(source), source)
    return b"%c%b%b" % (kind, version.to_bytes(4), ids)


# -- listeners and diallers ------------------------------------------------------------------------


class SimulatedPackets:
    """See :class:`~quicdist.carrier.quic.engine.contract.StatelessPackets`."""

    def connection_refused(self, header: LongHeader, reason: str) -> bytes:
        return self._closed(header, 0x02, reason)

    def invalid_token(self, header: LongHeader) -> bytes:
        return self._closed(header, 0x0B, "")

    def _closed(self, header: LongHeader, code: int, reason: str) -> bytes:
        data = _long(INITIAL, header.source, header.destination) + b"\0" + bytes(4)
        data += _close(code, reason, is_application=False)
        return data + zlib.crc32(data).to_bytes(4)

    def retry(self, header: LongHeader, retry_id: bytes, token: bytes) -> bytes:
        return _long(RETRY, header.source, retry_id) + token

    def version_negotiation(self, header: LongHeader) -> bytes:
        return _long(LONG, header.source, header.destination, 0) + VERSION.to_bytes(4)


class SimulatedAcceptor:
    """See :class:`~quicdist.carrier.quic.engine.contract.Acceptor`."""

    id_length = ID_LENGTH
    versions: Sequence[int] = (VERSION,)
    packets = SimulatedPackets()

    def __init__(self, settings: EngineSettings, reset_token: Callable[[bytes], bytes]) -> None:
        self._settings = settings
        self._reset_token = reset_token

    def accept(self, original_id: bytes, retry_id: bytes | None) -> SimulatedEngine:
        return SimulatedEngine(
            self._settings,
            is_client=False,
            host_cid=retry_id,
            reset_token=self._reset_token,
            validated=retry_id is not None,
        )


class SimulatedEngines:
    """See :class:`~quicdist.carrier.quic.engine.contract.EngineFactory`."""

    def dial(
        self, settings: EngineSettings, *, ticket: Ticket | None, on_ticket: Callable[[Ticket], None] | None
    ) -> SimulatedEngine:
        return SimulatedEngine(settings, is_client=True)

    def listen(
        self,
        settings: EngineSettings,
        *,
        reset_token: Callable[[bytes], bytes],
        issued: TicketTable | None,
    ) -> SimulatedAcceptor:
        return SimulatedAcceptor(settings, reset_token)


if TYPE_CHECKING:
    _ENGINE: type[Engine] = SimulatedEngine
    _ACCEPTOR: type[Acceptor] = SimulatedAcceptor
    _FACTORY: type[EngineFactory] = SimulatedEngines
