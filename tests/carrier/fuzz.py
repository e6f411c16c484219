"""A fuzzer for the QUIC carrier: ``python -m tests.carrier.fuzz --seconds 60 [--seed N]``.

A listener and a dialler, with all of the carrier above the engine, meet peers that send changed frames,
transport parameters and TLS messages in packets that are sealed as they should be, frames of every kind,
and datagrams cut, doubled and out of order; before the handshake, after it, and as a link. Beside them a
good link stands. The clock jumps to the next timer. No exception may escape, no traceback be logged, no
log line be more than a line; one input may cost a bounded time and memory; the good link has to answer; and
when time has passed nothing of an input may be left.

Exit status 1 if anything else happens. The input is a plan in JSON; those in ``tests/carrier/corpus`` are
played again by ``make test``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted, StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicPacketType
from aioquic.tls import Epoch

from quicdist.carrier import Address
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration, server_configuration
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.security.certificates import make_development_certificates
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    Acceptor,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    PeerNamed,
    Status,
    StatusReceived,
)
from tests.carrier.mutations import Plan, mutate
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import LinkPair, Listening, linked_to, listening, settings_of
from tests.support.fuzzing import Finding, main
from tests.support.virtual_time import VirtualTimeLoop

CORPUS = Path(__file__).parent / "corpus"
#: Seconds of processor and bytes of memory that one input may cost, both ends of it.
MOST_TIME = 1.0
MOST_MEMORY = 3 << 20
#: Inputs after which all has been made that is made once.
WARM = 20
#: Seconds after which nothing of an input may be left: the idle time-out, and what closing takes.
SETTLED = 45.0
#: Turns of an input in which both sides have their say.
TURNS = 14

_EPOCHS = (Epoch.ONE_RTT, Epoch.HANDSHAKE, Epoch.INITIAL)
_TYPES = {
    Epoch.ONE_RTT: QuicPacketType.ONE_RTT,
    Epoch.HANDSHAKE: QuicPacketType.HANDSHAKE,
    Epoch.INITIAL: QuicPacketType.INITIAL,
}


_SILENT = logging.getLogger("tests.carrier.fuzz.hostile")
_SILENT.setLevel(logging.CRITICAL + 1)


class Watcher(logging.Handler):
    """What is logged that must not be."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.exc_info or record.levelno >= logging.ERROR:
            self.faults.append(f"logged: {text[-1500:]}")
        elif not text.isprintable():
            self.faults.append(f"a log record of more than a line: {text[:300]!r}")


class Hostile:
    """The other end: aioquic, made to send what a plan says."""

    def __init__(self, plan: Plan, quic: QuicConnection, sock: socket.socket, to: Any) -> None:
        self.plan = plan
        self.quic = quic
        quic._logger = quic._loss._logger = _SILENT  # type: ignore[assignment]
        self.sock = sock
        self.to = to
        self.random = Random(plan.seed)
        self.sealed = self.sent = 0
        self._late: list[bytes] = []
        self._wrapped: set[int] = set()
        self.machine: Any = None
        self.up = False

    # -- out -----------------------------------------------------------------------------------

    def _wrap(self) -> None:
        """Change the payloads of packets before they are sealed."""
        pairs = [*self.quic._cryptos.values(), *self.quic._cryptos_initial.values()]
        for pair in pairs:
            if id(pair) not in self._wrapped:
                self._wrapped.add(id(pair))
                pair.encrypt_packet = self._sealing(pair.encrypt_packet)  # type: ignore[method-assign, assignment]

    def _sealing(self, seal: Callable[[bytes, bytes, int], bytes]) -> Callable[[bytes, bytes, int], bytes]:
        def sealed(header: bytes, payload: bytes, number: int) -> bytes:
            if self.sealed in self.plan.packets:
                payload = mutate(self.random, payload)
            self.sealed += 1
            return seal(header, payload, number)

        return sealed

    def transmit(self, now: float) -> None:
        self._wrap()
        with contextlib.suppress(Exception):  # its own confusion is no finding
            for data, _ in self.quic.datagrams_to_send(now):
                self._send(data)

    def _send(self, data: bytes) -> None:
        what, at, bit = self.plan.datagrams.get(str(self.sent), ("", 0, 0))
        self.sent += 1
        out = [data]
        if what == "twice":
            out = [data, data]
        elif what == "cut":
            out = [data[: at % max(1, len(data))]]
        elif what == "flip":
            place = at % len(data)
            out = [data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]]
        elif what == "lost":
            out = []
        elif what == "garbage":
            out = [self.random.randbytes(at), data]
        elif what == "joined":
            out = [data + data]
        elif what == "late":
            self._late.append(data)
            return
        for one in (*out, *self._late):
            with contextlib.suppress(OSError):
                if self.to is None:
                    self.sock.send(one)
                else:
                    self.sock.sendto(one, self.to)
        self._late.clear()

    def extra(self, payloads: list[str], epochs: Sequence[Epoch] = _EPOCHS) -> None:
        """Payloads on top, sealed in the first of these epochs that has keys."""
        quic = self.quic
        for text in payloads:
            payload = bytes.fromhex(text).ljust(4, b"\0")
            for epoch in epochs:
                pair = quic._cryptos.get(epoch)
                if pair is None or not pair.send.is_valid():
                    continue
                self._wrap()
                number = quic._packet_number
                quic._packet_number += 1
                cid = quic._peer_cid.cid
                if epoch is Epoch.ONE_RTT:
                    head = bytes([0x41 | pair.key_phase << 2]) + cid
                else:
                    if epoch is Epoch.INITIAL:
                        payload = payload.ljust(1150, b"\0")
                    kind = 0xC1 if epoch is Epoch.INITIAL else 0xE1
                    head = bytes([kind]) + (1).to_bytes(4, "big") + bytes([len(cid)]) + cid
                    head += bytes([len(quic.host_cid)]) + quic.host_cid
                    head += b"\0" if epoch is Epoch.INITIAL else b""
                    head += (0x4000 | len(payload) + 18).to_bytes(2, "big")
                head += (number & 0xFFFF).to_bytes(2, "big")
                self._send(bytes(pair.encrypt_packet(head, payload, number)))
                break

    # -- in ------------------------------------------------------------------------------------

    def receive(self, now: float) -> None:
        while True:
            try:
                data, address = self.sock.recvfrom(65536)
            except OSError:
                break
            if self.to is None or not self.quic._is_client:
                self.to = address
            with contextlib.suppress(Exception):
                self.quic.receive_datagram(data, address, now)
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self.up = True
                if self.machine is not None:
                    self._say()
            elif (
                isinstance(event, StreamDataReceived | StreamData)
                and event.stream_id == 0
                and self.machine is not None
            ):
                self._said(event.data)

    def _say(self) -> None:
        for message in self.machine.data_to_send():
            self.quic.send_stream_data(0, message)

    def _said(self, data: bytes) -> None:
        try:
            for event in self.machine.receive_data(data):
                if isinstance(event, PeerNamed):
                    self.machine.send_status(Status.OK)
                elif isinstance(event, StatusReceived) and event.status is Status.ALIVE:
                    self.machine.send_alive_answer(True)
            self._say()
        except (QuicDistError, RuntimeError):
            self.machine = None

    def timer(self, now: float) -> None:
        timer = self.quic.get_timer()
        if timer is not None and timer <= now:
            with contextlib.suppress(Exception):
                self.quic.handle_timer(now)


class Stage:
    """A listener with a good link, and hostile peers one after another."""

    def __init__(self, server: Listening, pair: LinkPair, settings: Any) -> None:
        self.server = server
        self.pair = pair
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.errors: list[str] = []
        #: What came about of what was attacked.
        self.up = self.links = 0
        self.loop.set_exception_handler(self._escaped)
        self.carrier = QuicCarrier(settings)
        self.tasks = asyncio.all_tasks()
        self.connections = len(server.listener.endpoint.connections)
        self._echoing = asyncio.create_task(self._echo())
        self.tasks.add(self._echoing)

    def _escaped(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"escaped: {context.get('exception')!r} {context['message']}")

    async def _echo(self) -> None:
        while True:
            _, payload = await self.pair.server.messages.get()
            self.pair.to_client(payload)

    async def attack(self, plan: Plan) -> None:
        await (self._accepting(plan) if plan.side == "acceptor" else self._dialling(plan))

    async def _accepting(self, plan: Plan) -> None:
        configuration = client_configuration(self.settings.for_dialling("127.0.0.1"))
        quic = QuicConnection(configuration=configuration)
        address = self.server.address.host, self.server.address.port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            quic.connect(address, self.loop.time())
            hostile = Hostile(plan, quic, sock, address)
            if plan.login:
                identity = LocalIdentity("hostile@127.0.0.1", 1)
                hostile.machine = Initiator(identity, self.server.node.name, "secret", HandshakeFraming.BARE)
            await self._play(hostile)
        while not self.server.links.empty():
            self.links += 1
            self.server.links.get_nowait().close("over")
        while not self.server.errors.empty():
            error = self.server.errors.get_nowait()
            if not isinstance(error, QuicDistError):
                raise Finding(f"accept_connection raised {error!r}")

    async def _dialling(self, plan: Plan) -> None:
        node = FakeNode("dialler@127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            host, port = sock.getsockname()
            dial = asyncio.create_task(
                self.carrier.setup("hostile@127.0.0.1", Address(host, port), node, setup_time=5.0)
            )
            for _ in range(200):
                await asyncio.sleep(0.001)
                try:
                    first, address = sock.recvfrom(65536)
                    break
                except BlockingIOError:
                    continue
            else:
                raise Finding("the dialler sent nothing")
            quic = QuicConnection(
                configuration=server_configuration(self.settings.for_listening()),
                original_destination_connection_id=first[6 : 6 + first[5]],
            )
            hostile = Hostile(plan, quic, sock, address)
            if plan.login:
                identity = LocalIdentity("hostile@127.0.0.1", 1)
                hostile.machine = Acceptor(identity, HandshakeFraming.BARE, lambda node: "secret")
            with contextlib.suppress(Exception):
                quic.receive_datagram(first, address, self.loop.time())
            await self._play(hostile)
        try:
            link = await dial
        except QuicDistError:
            pass
        else:
            self.links += 1
            link.start(lambda control, payload: None, lambda error: None)
            link.close("over")
            await link.wait_closed()

    async def _play(self, hostile: Hostile) -> None:
        for turn in range(TURNS):
            now = self.loop.time()
            hostile.receive(now)
            hostile.timer(now)
            if turn == 0:
                hostile.extra(hostile.plan.early, (Epoch.INITIAL,))
            if turn in (1, TURNS - 4):
                hostile.extra(hostile.plan.extra)
            if turn == TURNS - 1 and hostile.plan.close:
                hostile.quic.close(error_code=QuicErrorCode.NO_ERROR, reason_phrase="over\nand out")
            hostile.transmit(now)
            await asyncio.sleep(0.01)
        self.up += hostile.up

    async def settled(self) -> None:
        """Let time pass; then the good link answers, and nothing else is left."""
        await asyncio.sleep(SETTLED)
        endpoint = self.server.listener.endpoint
        if endpoint.half_open:
            raise Finding(f"{len(endpoint.half_open)} connections are half open for ever")
        if len(endpoint.connections) != self.connections:
            raise Finding(f"{len(endpoint.connections) - self.connections} connections are left over")
        if left := [task for task in asyncio.all_tasks() - self.tasks if task is not asyncio.current_task()]:
            raise Finding(f"left over: {left}")
        self.pair.to_server(b"are you there")
        try:
            _, payload = await self.pair.client.get()
        except AssertionError as error:
            raise Finding(f"the good link: {error}") from error
        if payload != b"are you there":
            raise Finding(f"the good link answered {payload!r}")


class Fuzzer:
    """Endless plans from one seed, and the checks on each. To be closed."""

    subject = "the QUIC carrier"

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.inputs = 0
        self.worst = 0.0
        self._last = Plan()
        self._watcher = Watcher()
        self._runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self._stack = contextlib.AsyncExitStack()
        self._directory = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._loggers = [logging.getLogger(name) for name in ("quicdist", "quic", "asyncio")]
        self._levels = [(logger.level, logger.propagate) for logger in self._loggers]
        for logger in self._loggers:
            logger.addHandler(self._watcher)
            logger.setLevel(logging.INFO)
            logger.propagate = False
        self._stage = self._runner.run(self._begin())

    async def _begin(self) -> Stage:
        files = make_development_certificates(Path(self._directory.name) / "certs")
        settings = settings_of(files, idle_timeout=20.0, resumption=False)
        server = await self._stack.enter_async_context(listening(settings))
        pair = await self._stack.enter_async_context(linked_to(server, settings))
        return Stage(server, pair, settings)

    def close(self) -> None:
        async def end() -> None:
            self._stage._echoing.cancel()
            await self._stack.aclose()

        try:
            self._runner.run(end())
        finally:
            self._runner.close()
            self._directory.cleanup()
            for logger, (level, propagate) in zip(self._loggers, self._levels, strict=True):
                logger.removeHandler(self._watcher)
                logger.setLevel(level)
                logger.propagate = propagate

    # -- inputs ----------------------------------------------------------------------------------

    def step(self) -> None:
        self.check(Plan.random(self.random))

    def check(self, plan: Plan) -> None:
        """Play one plan. Raises Finding."""
        self.inputs += 1
        self._last = plan
        self._runner.run(self._check(plan))

    async def _check(self, plan: Plan) -> None:
        stage, watcher = self._stage, self._watcher
        before, start = _resident(), time.process_time()
        try:
            async with asyncio.timeout(600):
                await stage.attack(plan)
        except Finding:
            raise
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}") from error
        took, more = time.process_time() - start, _resident() - before
        self.worst = max(self.worst, took)
        if took > MOST_TIME:
            raise Finding(f"it took {took:.2f} s of processor")
        if more > MOST_MEMORY and self.inputs > WARM:
            raise Finding(f"it took {more} bytes of memory")
        await stage.settled()
        if faults := [*stage.errors, *watcher.faults]:
            stage.errors.clear()
            watcher.faults.clear()
            raise Finding(faults[0])

    def summary(self) -> str:
        stage = self._stage
        return f"{stage.up} QUIC connections, {stage.links} links, the slowest {self.worst * 1e3:.0f} ms"

    def last_input(self) -> bytes:
        return self._last.to_bytes()


def _resident() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main(Fuzzer, "Fuzz the QUIC carrier."))
