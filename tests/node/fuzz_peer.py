"""A fuzzer for a node's peers: ``python -m tests.node.fuzz_peer --seconds 60 [--seed N]``.

A peer that has the cookie sends control messages of all operations with elements of all types, fragments,
frames on any stream and messages of all shapes to the node's services. The node has to live, its services
have to answer, the peer's link either stands or has ended, and nothing may be logged with a traceback.

Exit status 1 if anything else happens. The input is a plan in JSON; those in ``tests/node/corpus`` are
played again by ``make test``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

from quicdist import Node, Process, QuicDistError
from quicdist.carrier import Address
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.security.certificates import make_development_certificates
from quicdist.protocol import Connected, HandshakeFraming, Initiator, LocalIdentity, StatusReceived
from quicdist.term import Pid
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import settings_of
from tests.node.peer_messages import PEER, VICTIM, Plan
from tests.support.fuzzing import Finding, main

CORPUS = Path(__file__).parent / "corpus"
COOKIE = "fuzz"
#: Seconds in which the node has to answer, whatever it was sent before.
PATIENCE = 10.0
#: Inputs between two looks at all of the services.
EVERY = 10


class Watcher(logging.Handler):
    """What is logged that must not be."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()[:300]
        if record.exc_info and record.exc_info[1] is not None:
            last = traceback.extract_tb(record.exc_info[2])[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            error = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            self.faults.append(f"a traceback was logged: {text}: {error[:300]} at {where}")
        elif record.name == "asyncio":
            self.faults.append(f"logged: {text}")


class Fuzzer:
    """Endless plans from one seed, and the checks on each. To be closed."""

    subject = "a node's peers"

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.inputs = self.ended = 0
        self.worst = 0.0
        self._last = Plan()
        self._watcher = Watcher()
        self._errors: list[str] = []
        self._loggers = [logging.getLogger(name) for name in ("quicdist", "quic", "asyncio")]
        self._levels = [(logger.level, logger.propagate) for logger in self._loggers]
        for logger in self._loggers:
            logger.addHandler(self._watcher)
            logger.setLevel(logging.INFO)
            logger.propagate = False
        self._directory = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._runner.run(self._begin())

    async def _begin(self) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: self._errors.append(f"{context.get('exception')!r} {context['message']}")
        )
        files = make_development_certificates(Path(self._directory.name) / "certs")
        self._settings = settings_of(files, linger=0.1)
        victim = Node(
            VICTIM, cookie=COOKIE, carrier=["quic", "tcp"], host="127.0.0.1", port=0, epmd=False,
            cert=files.cert, key=files.key, verify=False,
        )  # fmt: skip
        victim.exports.add("m", "f", lambda *arguments: 7)

        @victim.process("echo")
        def echo(process: Process, message: Any) -> None:
            match message:
                case (Pid() as to, answer):
                    process.send(to, answer)

        self.victim = await self._stack.enter_async_context(victim)
        ports = {address.protocol: address.port for address in victim.addresses}
        self._quic, self._tcp = ports["quic"], ports["tcp"]
        self.good = await self._stack.enter_async_context(
            Node(
                "good@127.0.0.1",
                cookie=COOKIE,
                carrier="tcp",
                listen=False,
                epmd=False,
                nodes={VICTIM: ("127.0.0.1", self._tcp)},
            )
        )
        await self.good.connect(VICTIM)

    def close(self) -> None:
        try:
            self._runner.run(self._stack.aclose())
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

    def check(self, plan: Plan, *, services: bool = False) -> None:
        """Play one plan. Raises Finding."""
        self.inputs += 1
        self._last = plan
        self._runner.run(self._check(plan, services or self.inputs % EVERY == 0))

    async def _check(self, plan: Plan, services: bool) -> None:
        start = time.monotonic()
        stands = await (self._over_tcp(plan) if plan.carrier == "tcp" else self._over_quic(plan))
        self.ended += not stands
        await self._answers()
        if services:
            await self._serves()
        self.worst = max(self.worst, time.monotonic() - start)
        if faults := [*self._errors, *self._watcher.faults]:
            self._errors.clear()
            self._watcher.faults.clear()
            raise Finding(faults[0])

    async def _answers(self) -> None:
        """The good peer's link stands, and net_kernel answers on it; it is asked again only where the one
        that was asked has been ended by a signal and another started."""
        for _ in range(3):
            asked = self.victim.whereis("net_kernel")
            try:
                await self.good.is_auth(VICTIM, timeout=PATIENCE)
                break
            except QuicDistError as error:
                if asked is not None and self.victim.whereis("net_kernel") is asked:
                    raise Finding(f"net_kernel answers no more: {type(error).__name__}: {error}") from error
        else:
            raise Finding("net_kernel was ended three times while it was asked")
        if VICTIM not in self.good.nodes("connected"):
            raise Finding("the good peer's link is gone")

    async def _serves(self) -> None:
        for name in ("net_kernel", "rex", "user", "logger_proxy"):
            if self.victim.whereis(name) is None:
                await asyncio.sleep(0.5)
                if self.victim.whereis(name) is None:
                    raise Finding(f"there is no {name} any more")
        try:
            await self.good.call(VICTIM, "erlang", "node", [], timeout=PATIENCE)
        except QuicDistError as error:
            if "timeout" in str(error).lower():
                raise Finding(f"a call is not answered: {error}") from error

    # -- the peer --------------------------------------------------------------------------------

    async def _over_tcp(self, plan: Plan) -> bool:
        """Whether the link stood to the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._tcp)
        machine = Initiator(LocalIdentity(PEER, 1), VICTIM, COOKIE, HandshakeFraming.PACKET_2)
        stands = True
        try:
            connected = False
            while not connected:
                writer.writelines(machine.data_to_send())
                async with asyncio.timeout(PATIENCE):
                    data = await reader.read(1 << 16)
                if not data:
                    raise Finding("the fuzzer's link was not accepted")
                for event in machine.receive_data(data):
                    if isinstance(event, StatusReceived) and event.status == "alive":
                        machine.send_alive_answer(True)
                    connected = connected or isinstance(event, Connected)
            for _, piece in plan.pieces:
                writer.write(bytes.fromhex(piece))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    while await reader.read(1 << 16):
                        pass
                    stands = False
        except OSError:
            stands = False
        except TimeoutError as error:
            raise Finding("the fuzzer's link was not accepted in time") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._gone()
        return stands

    async def _over_quic(self, plan: Plan) -> bool:
        node = FakeNode(PEER, cookie=COOKIE)
        carrier = QuicCarrier(self._settings)
        try:
            link = await carrier.setup(VICTIM, Address("127.0.0.1", self._quic), node, setup_time=PATIENCE)
        except QuicDistError as error:
            raise Finding(f"the fuzzer's link was not accepted: {error}") from error
        assert isinstance(link, QuicLink)
        lost: list[Any] = []
        link.start(lambda control, payload: None, lost.append)
        for stream, piece in plan.pieces:
            data = bytes.fromhex(piece)
            if not lost:
                link._connection.write(stream, (data,), len(data))
        await asyncio.sleep(0.01)
        stands = not lost
        link.close("over")
        await link.wait_closed()
        await self._gone()
        return stands

    async def _gone(self) -> None:
        """The victim has seen the end of the link: the name is free again."""
        deadline = time.monotonic() + PATIENCE
        while PEER in self.victim.nodes("connected"):
            if time.monotonic() > deadline:
                raise Finding("the link that was closed is still there")
            await asyncio.sleep(0.001)

    def summary(self) -> str:
        return f"{self.ended} links ended by it, the slowest {self.worst * 1e3:.0f} ms"

    def last_input(self) -> bytes:
        return self._last.to_bytes()


if __name__ == "__main__":
    sys.exit(main(Fuzzer, "Fuzz a node by a peer that has the cookie."))
