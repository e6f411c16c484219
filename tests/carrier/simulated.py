"""Two QUIC connections and a network in between that does what networks do, on a clock of its own."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

from quicdist.carrier.quic.engine.aioquic.bounds import Bounded
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration, server_configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles

SERVER = ("127.0.0.1", 4433)
CLIENT = ("127.0.0.1", 5544)

#: How many streams each end opens: those from 0 on of the client, those from 1 on of the server.
STREAMS = 6

Deliver = Callable[[QuicConnection, bytes, tuple[str, int], float], None]
Transmit = Callable[[QuicConnection, float], list[tuple[bytes, tuple[str, int]]]]


@dataclass
class Faults:
    """How often a datagram meets what. It is late by up to ``delay`` seconds, so that others overtake it."""

    lost: float = 0.0
    twice: float = 0.0
    corrupted: float = 0.0
    delay: float = 0.0


@dataclass
class End:
    """One end, what it wrote to each stream and what came on each."""

    quic: QuicConnection
    address: tuple[str, int]
    wrote: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    came: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    ended: ConnectionTerminated | None = None

    def write(self, stream_id: int, data: bytes) -> None:
        self.wrote[stream_id] += data
        self.quic.send_stream_data(stream_id, data)

    def take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, StreamDataReceived | StreamData):
                self.came[event.stream_id] += event.data
            elif isinstance(event, ConnectionTerminated):
                self.ended = event


class Network:
    """The ends are of the classes given; ``deliver`` and ``transmit`` may be replaced to look on."""

    def __init__(
        self,
        certificates: CertificateFiles,
        seed: int,
        *,
        client: type[QuicConnection] = Connection,
        server: type[QuicConnection] = Connection,
    ) -> None:
        settings = QuicSettings(tls=certificates.tls(verify=False), initial_rtt=0.02)
        self.random = Random(seed)
        self.faults = Faults()
        self.now = 0.0
        self.deliver: Deliver = lambda quic, data, source, now: quic.receive_datagram(data, source, now)
        self.transmit: Transmit = lambda quic, now: quic.datagrams_to_send(now)
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, End, bytes, tuple[str, int]]] = []
        dialler = client(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
        dialler.connect(SERVER, self.now)
        self.client = End(dialler, CLIENT)
        listener = server(
            configuration=server_configuration(settings.for_listening()),
            original_destination_connection_id=dialler.original_destination_connection_id,
        )
        self.server = End(listener, SERVER)
        self.ends = self.client, self.server
        self._send(self.client)
        self.run(1.0)
        for end in self.ends:
            if isinstance(end.quic, Bounded):
                end.quic.authenticated()
        for number, end in itertools.product(range(STREAMS), self.ends):
            end.quic.send_stream_data(4 * number + (end is self.server), b"")

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        self.flush()
        while True:
            times = [until]
            if self._under_way:
                times.append(self._under_way[0][0])
            times += [at for end in self.ends if (at := self._timer(end)) is not None]
            self.now = max(self.now, min(times))
            for end in self.ends:
                due = self._timer(end)
                if due is not None and due <= self.now:
                    end.quic.handle_timer(self.now)
                    self._send(end)
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, end, data, source = heapq.heappop(self._under_way)
                self.deliver(end.quic, data, source, self.now)
                end.take_events()
                if self.random.random() < 0.7:  # else several come before something is answered
                    self._send(end)
            if self.now >= until:
                return
            # No timer is due for ever.
            self.now += 1e-6

    def flush(self) -> None:
        """Send what was written."""
        for end in self.ends:
            self._send(end)

    def _timer(self, end: End) -> float | None:
        # aioquic has no timers for a server that has heard of no client.
        return end.quic.get_timer() if end.quic.get_peer_address() is not None else None

    def _send(self, end: End) -> None:
        if end.quic.get_peer_address() is None:
            return
        to = self.server if end is self.client else self.client
        for data, _ in self.transmit(end.quic, self.now):
            self._carry(to, data, end.address)
        end.take_events()

    def _carry(self, to: End, data: bytes, source: tuple[str, int]) -> None:
        random, faults = self.random, self.faults
        copies = (random.random() >= faults.lost) + (random.random() < faults.twice)
        for _ in range(copies):
            if random.random() < faults.corrupted:
                at = random.randrange(len(data))
                data = data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
            arrives = self.now + 0.001 + random.random() * faults.delay
            heapq.heappush(self._under_way, (arrives, next(self._order), to, data, source))
