"""Two connections and a path between them, in virtual time: delay, jitter, loss, reordering, doubling, cuts,
and a bottleneck with a queue. What a connection is given goes through the send scheduler, as in a node."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted

from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.aioquic.bounds import Bounded
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration, server_configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.quic.receive_window import ReceiveWindow
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles

SERVER = ("192.0.2.1", 4433)
#: Each of several clients has a port of its own.
CLIENT = ("192.0.2.2", 5544)
#: Seconds that an event loop sleeps at least: epoll takes whole milliseconds.
TICK = 0.001
#: Seconds that a turn of one takes.
TURN = 0.00005


@dataclass(frozen=True)
class Path:
    """What happens to the datagrams of one direction. Times are in seconds."""

    delay: float = 0.025
    #: Up to so much more, for each datagram, so that others overtake it.
    jitter: float = 0.0
    loss: float = 0.0
    #: The part that is late by up to ``late_by``.
    late: float = 0.0
    late_by: float = 0.0
    doubled: float = 0.0
    #: Bytes a second, and the queue before the bottleneck in bytes.
    rate: float = math.inf
    queue: float = math.inf

    def both(self) -> tuple[Path, Path]:
        return self, self


@dataclass
class Direction:
    """A path as it is now, shared by all that go that way."""

    path: Path
    #: When the bottleneck has sent all that waits before it.
    busy_until: float = 0.0
    sent: int = 0
    lost: int = 0
    dropped: int = 0
    #: Nothing gets through before.
    cut_until: float = -1.0
    #: The longest that anything waited before the bottleneck.
    longest_queue: float = 0.0

    def carry(self, size: int, now: float, random: Random) -> list[float]:
        """When the copies of a datagram arrive."""
        path = self.path
        self.sent += 1
        if now < self.cut_until or random.random() < path.loss:
            self.lost += 1
            return []
        wait = max(0.0, self.busy_until - now)
        if path.rate < math.inf:
            if wait * path.rate + size > path.queue:
                self.dropped += 1
                return []
            self.longest_queue = max(self.longest_queue, wait)
            self.busy_until = now + wait + size / path.rate
            wait += size / path.rate
        copies = 1 + (random.random() < path.doubled)
        arrivals = []
        for _ in range(copies):
            at = now + wait + path.delay + random.random() * path.jitter
            if random.random() < path.late:
                at += random.random() * path.late_by
            arrivals.append(at)
        return arrivals


@dataclass(eq=False)
class End:
    quic: Connection
    address: tuple[str, int]
    outgoing: SendScheduler = field(init=False)
    windows: dict[int, ReceiveWindow] = field(default_factory=dict)
    came: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    up: float | None = None
    ended: ConnectionTerminated | None = None
    peer: End = field(init=False)
    out: Direction = field(init=False)
    on_data: Callable[[int, bytes], None] | None = None
    keep: bool = False
    data: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    timer: float = -1.0
    dirty: bool = False

    def __post_init__(self) -> None:
        self.outgoing = SendScheduler(self.quic)

    def write(self, stream_id: int, data: bytes) -> None:
        self.outgoing.add(stream_id, [data], len(data))
        self.dirty = True


class Network:
    """Connections of ``pairs`` clients with as many servers; all share the two directions."""

    def __init__(
        self,
        certificates: CertificateFiles,
        there: Path,
        back: Path | None = None,
        *,
        seed: int = 1,
        pairs: int = 1,
        initial_rtt: float = 0.1,
        congestion_control: str | None = None,
        connection: type[Connection] = Connection,
        late_start: float = 0.0,
    ) -> None:
        tls = certificates.tls(verify=False)
        settings = QuicSettings(tls=tls, initial_rtt=initial_rtt, max_datagram_size=1452)
        if congestion_control is not None:
            settings = replace(settings, congestion_control=congestion_control)
        self.settings = settings
        self.random = Random(seed)
        self.now = 0.0
        self.there, self.back = Direction(there), Direction(there if back is None else back)
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, End, bytes, tuple[str, int]]] = []
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self.clients: list[End] = []
        self.servers: list[End] = []
        self.ends: list[End] = []
        for number in range(pairs):
            dialler = connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
            client = End(dialler, (CLIENT[0], CLIENT[1] + number))
            listener = connection(
                configuration=server_configuration(settings.for_listening()),
                original_destination_connection_id=dialler.original_destination_connection_id,
            )
            server = End(listener, SERVER)
            client.peer, server.peer = server, client
            client.out, server.out = self.there, self.back
            self.clients.append(client)
            self.servers.append(server)
            self.call_at(number * late_start, partial(self._dial, dialler, client))
        self.ends = self.clients + self.servers

    def _dial(self, dialler: QuicConnection, client: End) -> None:
        dialler.connect(SERVER, self.now)
        client.dirty = True

    @property
    def client(self) -> End:
        return self.clients[0]

    @property
    def server(self) -> End:
        return self.servers[0]

    def call_at(self, at: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._calls, (at, next(self._order), call))

    def establish(self, limit: float = 30.0) -> float:
        """Have all handshakes completed; how long it took."""
        self.run(limit, lambda: all(end.up is not None for end in self.ends))
        for end in self.ends:
            if isinstance(end.quic, Bounded):
                end.quic.authenticated()
        return self.now

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let so much time pass, or less if ``until`` holds; whether it does."""
        limit = self.now + seconds
        while True:
            self._flush()
            if until():
                return True
            times = [limit]
            if self._under_way:
                times.append(self._under_way[0][0])
            if self._calls:
                times.append(self._calls[0][0])
            times += [end.timer for end in self.ends if end.timer >= 0]
            self.now = max(self.now, min(times))
            if self.now >= limit:
                return until()
            while self._calls and self._calls[0][0] <= self.now:
                heapq.heappop(self._calls)[2]()
            for end in self.ends:
                if 0 <= end.timer <= self.now:
                    due = end.quic.get_timer()
                    end.timer = -1.0
                    end.dirty = True
                    if due is not None and due <= self.now:
                        end.quic.handle_timer(self.now)
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, end, data, source = heapq.heappop(self._under_way)
                if end.ended is None:
                    end.quic.receive_datagram(data, source, self.now)
                    end.dirty = True

    def _flush(self) -> None:
        for end in self.ends:
            if not end.dirty:
                continue
            end.dirty = False
            self._take_events(end)
            if end.quic.get_peer_address() is None:
                continue
            end.outgoing.feed(self.now)
            for data, _ in end.quic.datagrams_to_send(self.now):
                for at in end.out.carry(len(data), self.now, self.random):
                    heapq.heappush(self._under_way, (at, next(self._order), end.peer, data, end.address))
            self._take_events(end)
            due = end.quic.get_timer()
            end.timer = -1.0
            if due is not None:
                # As the event loop does: soon is now, what is later comes with the next whole millisecond.
                late = due - self.now
                end.timer = (
                    self.now + max(late, TURN)
                    if late < TICK / 2
                    else self.now + math.ceil(late / TICK) * TICK
                )

    def _take_events(self, end: End) -> None:
        while (event := end.quic.next_event()) is not None:
            if isinstance(event, StreamData):
                window = end.windows.get(event.stream_id)
                if window is None:
                    window = end.windows[event.stream_id] = ReceiveWindow(end.quic, event.stream_id, 16 << 20)
                window.consumed(len(event.data))
                if window.is_due:
                    window.grant()
                end.came[event.stream_id] += len(event.data)
                if end.keep:
                    end.data[event.stream_id] += event.data
                if end.on_data is not None:
                    end.on_data(event.stream_id, event.data)
            elif isinstance(event, HandshakeCompleted):
                end.up = self.now
            elif isinstance(event, ConnectionTerminated):
                end.ended = event

    def transfer(self, size: int, limit: float = 120.0, *, number: int = 0) -> float:
        """Send ``size`` bytes from a client to its server; the seconds it took, or infinity."""
        start = self.now
        server = self.servers[number]
        stream_id = 0
        wanted = server.came[stream_id] + size
        self.clients[number].write(stream_id, bytes(size))
        done = self.run(limit, lambda: server.came[stream_id] >= wanted)
        return self.now - start if done else math.inf
