"""A listening UDP socket is read after an ICMP error, on every event loop."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence

import pytest

from quicdist.carrier.datagram_socket import open_socket
from quicdist.carrier.udp import UdpSocket
from tests.support.ports import any_port

LOOPS: list[Callable[[], asyncio.AbstractEventLoop] | None] = [None]
if sys.platform != "win32":
    import uvloop

    LOOPS.append(uvloop.new_event_loop)


class Receiver:
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.errors: list[int] = []

    def datagrams_received(self, batch: Sequence[tuple[bytes, object]]) -> None:
        for data, _ in batch:
            self.received.put_nowait(data)

    def socket_error(self, error: OSError) -> None:
        self.errors.append(error.errno or 0)

    def socket_writable(self) -> None:
        """Nothing waits."""

    def too_long(self, size: int, address: object) -> None:
        """Nothing is too long."""


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "uvloop"][: len(LOOPS)])
def test_a_listening_socket_is_read_after_an_icmp_error(
    factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> None:
    async def run() -> None:
        udp = UdpSocket(open_socket(socket.AF_INET, local=("127.0.0.1", 0)))
        receiver = udp.receiver = Receiver()
        reported = asyncio.Event()
        udp.report_to(lambda number, address: reported.set())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for text in (b"one", b"two"):
                udp.send([(b"to nobody", ("127.0.0.1", any_port()))])
                async with asyncio.timeout(30):
                    await reported.wait()
                reported.clear()
                peer.sendto(text, (udp.local.host, udp.local.port))
                async with asyncio.timeout(30):
                    assert await receiver.received.get() == text
        udp.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
