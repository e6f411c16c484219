"""The UDP socket in the loop: batches, what cannot be sent now, what the kernel reports."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quicdist.carrier import Address, datagram_reader
from quicdist.carrier import udp as udp_module
from quicdist.carrier.datagram_reader import DatagramReader
from quicdist.carrier.datagram_socket import SOL_UDP, UDP_GRO, Datagram, open_socket, to_address
from quicdist.carrier.udp import UdpSocket
from tests.carrier.quic_support import PATIENCE, linked, quic_link

LOCALHOST = ("127.0.0.1", 0)


class Receiver:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.errors: asyncio.Queue[OSError] = asyncio.Queue()
        self.refused: list[int] = []
        self.writable = 0
        self.came = asyncio.Event()

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        self.batches.append([data for data, _ in batch])
        self.came.set()

    def socket_error(self, error: OSError) -> None:
        self.errors.put_nowait(error)

    def too_long(self, size: int, address: Any) -> None:
        self.refused.append(size)

    def socket_writable(self) -> None:
        self.writable += 1

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(PATIENCE):
            while sum(map(len, self.batches)) < count:
                self.came.clear()
                await self.came.wait()
        return [data for batch in self.batches for data in batch]


def on(sock: socket.socket) -> tuple[UdpSocket, Receiver]:
    receiver = Receiver()
    udp = UdpSocket(sock)
    udp.receiver = receiver
    return udp, receiver


@asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[UdpSocket, UdpSocket, Receiver]]:
    """A socket connected to a bound one, and who is told what the latter receives."""
    bound, receiver = on(open_socket(socket.AF_INET, local=LOCALHOST))
    connected, _ = on(open_socket(socket.AF_INET, remote=(bound.local.host, bound.local.port)))
    try:
        yield connected, bound, receiver
    finally:
        connected.close()
        bound.close()


class Choking:
    """A socket whose kernel takes only some datagrams at a time, or reports errors of others."""

    def __init__(self, real: Any, answers: list[int | None]) -> None:
        self._real = real
        self._answers = answers

    def send(self, data: bytes) -> int:
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise OSError(answer, "no")
        return int(self._real.send(data))

    def sendmsg(self, *arguments: Any) -> int:
        raise OSError(errno.EIO, "it does not cut datagrams")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def test_what_arrives_in_one_turn_is_told_in_one_batch() -> None:
    async with both_ends() as (connected, _, receiver):
        sent = [bytes([number]) for number in range(udp_module.BATCH + 3)]
        connected.send([(data, ()) for data in sent])
        assert await receiver.until(len(sent)) == sent
        # All of them were there; no turn may take more than a batch.
        assert [len(batch) for batch in receiver.batches] == [udp_module.BATCH, 3]


async def test_buffers_are_asked_for_and_what_was_granted_is_known() -> None:
    async with both_ends() as (connected, bound, _):
        for udp in (connected, bound):
            assert udp.buffers.receive == udp._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                assert udp.buffers.receive >= plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


@pytest.mark.parametrize("again", [errno.EAGAIN, errno.ECONNREFUSED])
async def test_what_the_kernel_does_not_take_now_is_sent_later_in_order(again: int) -> None:
    async with both_ends() as (connected, _, receiver):
        connected._sock = Choking(connected._sock, [None, again, None, again])
        sent = [bytes([number]) for number in range(6)]
        connected.send([(data, ()) for data in sent[:4]])
        if again == errno.EAGAIN:
            assert connected.blocked
        connected.send([(data, ()) for data in sent[4:]])
        if again == errno.EAGAIN:
            assert await receiver.until(6) == sent
            assert connected.receiver.writable  # type: ignore[attr-defined]
        else:
            assert sorted(await receiver.until(6)) == sent


class Counting:
    """A socket that counts the calls that send."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._real, name)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux cuts datagrams (UDP_SEGMENT)")
@pytest.mark.parametrize("backwards", [False, True], ids=["connected", "bound"])
async def test_datagrams_of_one_size_leave_in_one_call(backwards: bool) -> None:
    async with both_ends() as (connected, bound, receiver):
        sender, to = connected, ()
        if backwards:
            sender, to = bound, tuple(connected._sock.getsockname())
            receiver = connected.receiver  # type: ignore[assignment]
        counting = Counting(sender._sock)
        sender._sock = counting
        sizes = [1200] * 10 + [700] + [1200, 1300, 1300, 50, 1300] + [1000] * 100
        sent = [bytes([number]) * size for number, size in enumerate(sizes)]
        sender.send([(data, to) for data in sent])
        assert await receiver.until(len(sent)) == sent
        assert sender.datagrams_out == len(sent)
        # Ten and a shorter one; one; two and a shorter one; one and what follows, up to 64; the rest.
        calls = [name for name in counting.calls if name.startswith("send")]
        assert calls == [
            "sendmsg",
            "sendto" if backwards else "send",
            "sendmsg",
            "sendmsg",
            "sendmsg",
            "sendmsg",
        ]


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
async def test_datagrams_that_the_kernel_will_not_cut_leave_one_by_one(code: int) -> None:
    class Uncut(Choking):
        runs = 0

        def sendmsg(self, *arguments: Any) -> int:
            self.runs += 1
            raise OSError(code, "no")

    async with both_ends() as (connected, _, receiver):
        uncut = Uncut(connected._sock, [])
        connected._sock = uncut
        connected._cuts = True
        for _ in range(2):
            connected.send([(b"a", ()), (b"b", ())])
        assert await receiver.until(4) == [b"a", b"b", b"a", b"b"]
        # A device that cannot is not asked again.
        assert uncut.runs == (1 if code == errno.EIO else 2)


async def test_datagrams_to_several_addresses_leave_to_each() -> None:
    async with both_ends() as (one, bound, receiver), both_ends() as (other, _, _):
        other_receiver = other.receiver
        assert isinstance(receiver, Receiver)
        to_one, to_other = one._sock.getsockname(), other._sock.getsockname()
        other._sock.connect(bound._sock.getsockname())  # type: ignore[attr-defined]
        bound.send([(b"a", to_one), (b"b", to_one), (b"c", to_other), (b"d", to_one)])
        assert await one.receiver.until(3) == [b"a", b"b", b"d"]  # type: ignore[attr-defined]
        assert await other_receiver.until(1) == [b"c"]  # type: ignore[attr-defined]


async def test_what_waits_is_bounded() -> None:
    async with both_ends() as (connected, _, receiver):
        connected._sock = Choking(connected._sock, [errno.EAGAIN])
        connected.send([(b"%d" % number, ()) for number in range(udp_module.MAX_UNSENT + 10)])
        assert connected.dropped == 10
        assert (await receiver.until(1))[0] == b"10"


async def test_a_datagram_that_cannot_be_sent_costs_none_of_the_others() -> None:
    async with both_ends() as (connected, _, receiver):
        connected._sock = Choking(connected._sock, [None, errno.EPERM])
        connected.send([(b"a", ()), (b"b", ()), (b"c", ())])
        assert await receiver.until(2) == [b"a", b"c"]
        error = await connected.receiver.errors.get()  # type: ignore[attr-defined]
        assert error.errno == errno.EPERM


async def test_a_datagram_that_is_too_long_is_told_from_one_that_was() -> None:
    """What the network has to say about a datagram is an error of the next to be sent."""
    too_long = errno.EMSGSIZE
    async with both_ends() as (connected, _, receiver):
        connected._sock = Choking(connected._sock, [None, too_long, None])
        connected.send([(b"a", ()), (b"b", ()), (b"c", ())])
        assert await receiver.until(3) == [b"a", b"b", b"c"]
        error = await connected.receiver.errors.get()  # type: ignore[attr-defined]
        assert error.errno == too_long
    async with both_ends() as (connected, _, receiver):
        connected._sock = Choking(connected._sock, [None, *[too_long] * 3])
        connected.send([(b"a", ()), (b"long", ()), (b"c", ())])
        assert await receiver.until(2) == [b"a", b"c"]
        assert connected.receiver.refused == [4]  # type: ignore[attr-defined]
        assert connected.receiver.errors.empty()  # type: ignore[attr-defined]


async def test_long_datagrams_arrive_as_they_were_sent() -> None:
    """On a loopback interface; what becomes of them elsewhere is in tests/netns."""
    async with both_ends() as (connected, bound, receiver):
        if not (connected.whole and bound.whole):
            pytest.skip("this system takes datagrams apart")
        long = bytes(range(256)) * 64
        assert connected.send_probe((long, ()))
        assert await receiver.until(1) == [long]
        assert connected.datagrams_out == 1


async def test_a_port_where_nobody_listens_is_reported(free_port: Callable[[], int]) -> None:
    udp, receiver = on(open_socket(socket.AF_INET, remote=("127.0.0.1", free_port())))
    udp.send([(b"anyone?", ())])
    async with asyncio.timeout(PATIENCE):
        error = await receiver.errors.get()
    assert error.errno == errno.ECONNREFUSED
    udp.close()


async def test_a_closed_socket_has_left_the_loop() -> None:
    async with both_ends() as (connected, bound, _):
        bound.close()
        bound.close()
        assert bound.closed
        assert bound._sock.fileno() == -1
        connected.send([(b"late", ())])


async def test_a_closed_socket_holds_nobody_it_told() -> None:
    class Owner(Receiver):
        def __init__(self, udp: UdpSocket) -> None:
            super().__init__()
            self.udp = udp
            udp.receiver = self
            udp.sift = self.sift
            udp.report_to(self.report)

        def sift(self, datagrams: Sequence[Datagram]) -> Sequence[Datagram]:
            return datagrams

        def report(self, number: int, address: Any) -> None:
            """Not of interest."""

    owner = Owner(UdpSocket(open_socket(socket.AF_INET, local=LOCALHOST)))
    held = weakref.ref(owner)
    owner.udp.close()
    gc.disable()
    try:
        del owner
        assert held() is None
    finally:
        gc.enable()


def test_addresses_are_plain() -> None:
    assert to_address(("::ffff:10.0.0.1", 5, 0, 0)) == Address("10.0.0.1", 5)
    assert to_address(("::1", 5, 0, 0)) == Address("::1", 5)
    assert to_address(("10.0.0.1", 5)) == Address("10.0.0.1", 5)


async def test_a_link_goes_on_where_the_path_takes_only_short_datagrams(settings: Any) -> None:
    async with linked(settings) as pair:
        for inbox in (pair.client, pair.server):
            connection = quic_link(inbox.link)._connection
            real = connection.socket._sock

            class Narrow(Choking):
                def send(self, data: bytes) -> int:
                    if len(data) > 1200:
                        raise OSError(errno.EMSGSIZE, "Message too long")
                    return int(self._real.send(data))

                def sendto(self, data: bytes, address: Any) -> int:
                    if len(data) > 1200:
                        raise OSError(errno.EMSGSIZE, "Message too long")
                    return int(self._real.sendto(data, address))

            connection.socket._sock = Narrow(real, [])
        pair.to_server(bytes(1 << 20))
        assert len((await pair.server.get())[1]) == 1 << 20
        pair.to_client(bytes(1 << 20))
        assert len((await pair.client.get())[1]) == 1 << 20


async def test_a_link_goes_on_where_datagrams_are_lost_and_the_kernel_chokes(settings: Any) -> None:
    async with linked(settings) as pair:
        for inbox in (pair.client, pair.server):
            socket_ = quic_link(inbox.link)._connection.socket
            count = 0
            send = socket_.send

            def lossy(datagrams: Sequence[Datagram], send: Any = send) -> None:
                nonlocal count
                kept = []
                for datagram in datagrams:
                    count += 1
                    if count % 20:
                        kept.append(datagram)
                send(kept)

            socket_.send = lossy  # type: ignore[method-assign]
        pair.to_server(bytes(1 << 20))
        pair.to_client(bytes(1 << 20))
        assert len((await pair.server.get())[1]) == 1 << 20
        assert len((await pair.client.get())[1]) == 1 << 20


# -- datagrams that the kernel returns together --------------------------------------------------


def _coalesces() -> bool:
    """Whether this system returns several datagrams in one call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(SOL_UDP, UDP_GRO, 1)
        except OSError:
            return False
    return sys.platform == "linux"


needs_gro = pytest.mark.skipif(not _coalesces(), reason="this system has no UDP GRO (Linux has from 5.0 on)")


def _numbered(count: int, size: int) -> list[bytes]:
    return [number.to_bytes(4, "big") * (size // 4) for number in range(count)]


@needs_gro
async def test_a_burst_of_long_datagrams_is_read_together_and_taken_apart() -> None:
    async with both_ends() as (connected, bound, receiver):
        sent = _numbered(40, 1452)
        connected.send([(data, ()) for data in sent])
        assert await receiver.until(40) == sent
        assert bound._reader.coalesces
        # The last one is shorter; others, alone or of other lengths, come between.
        more = [*_numbered(50, 1452), bytes(700), b"x", *_numbered(20, 1200), bytes(1400)]
        connected.send([(data, ()) for data in more])
        assert await receiver.until(40 + len(more)) == sent + more
        assert bound.datagrams_in == 40 + len(more)


@needs_gro
async def test_short_datagrams_are_read_one_by_one() -> None:
    async with both_ends() as (connected, bound, receiver):
        sent = _numbered(200, 100)
        connected.send([(data, ()) for data in sent])
        assert await receiver.until(200) == sent
        assert not bound._reader.coalesces


@needs_gro
async def test_datagrams_that_come_alone_end_the_reading_of_several_together() -> None:
    async with both_ends() as (connected, bound, receiver):
        connected.send([(data, ()) for data in _numbered(40, 1452)])
        await receiver.until(40)
        assert bound._reader.coalesces
        count = 40
        for _ in range(datagram_reader.ALONE // 10 + 1):
            # Of different lengths: the kernel sends each by itself.
            connected.send([(bytes(size), ()) for size in range(1, 11)])
            count += 10
            await receiver.until(count)
        assert not bound._reader.coalesces
        # Nothing is lost on the way, and long bursts are not read together again at once.
        sent = _numbered(40, 1452)
        connected.send([(data, ()) for data in sent])
        assert (await receiver.until(count + 40))[count:] == sent
        assert not bound._reader.coalesces
        for _ in range(datagram_reader.MAX_PAUSE):
            connected.send([(data, ()) for data in sent])
            count += 40
            await receiver.until(count + 40)
            if bound._reader.coalesces:
                break
        assert bound._reader.coalesces


async def test_datagrams_come_one_by_one_where_the_system_cannot_return_several_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datagram_reader, "UDP_GRO", -1)
    async with both_ends() as (connected, bound, receiver):
        sent = _numbered(80, 1452)
        connected.send([(data, ()) for data in sent[:40]])
        await receiver.until(40)
        connected.send([(data, ()) for data in sent[40:]])
        assert await receiver.until(80) == sent
        assert not bound._reader.coalesces
        assert not receiver.errors.qsize()


class Together:
    """A socket whose kernel returns datagrams together, or an error; more come once an option is set."""

    def __init__(self, real: Any, answers: list[list[bytes] | int], late: list[list[bytes] | int]) -> None:
        self._real = real
        self._answers = answers
        self._late = late

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        answer = self._answers.pop(0) if self._answers else errno.EAGAIN
        if isinstance(answer, int):
            raise OSError(answer, "no")
        size = len(answer[0]).to_bytes(4, sys.byteorder)
        return b"".join(answer), [(SOL_UDP, UDP_GRO, size)] if len(answer) > 1 else [], 0, ("127.0.0.1", 1)

    def setsockopt(self, *_: int) -> None:
        self._answers += self._late

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _read_together(udp: UdpSocket, answers: list[Any], late: list[Any]) -> None:
    udp._reader = DatagramReader(Together(udp._sock, answers, late), None)
    udp._reader.coalesces = True


async def test_datagrams_that_came_together_are_all_taken_while_the_loop_is_blocked() -> None:
    async with both_ends() as (_, bound, _):
        sent = _numbered(120, 1452)
        _read_together(bound, [sent[:60], sent[60:]], [])
        # One that is left would wait until another one comes.
        assert [data for data, _ in bound.take(64)] == sent


async def test_what_comes_when_the_reading_of_several_together_ends_is_counted_and_errors_are_told() -> None:
    async with both_ends() as (_, bound, receiver):
        alone = [[data] for data in _numbered(datagram_reader.ALONE + 1, 8)]
        _read_together(bound, [*alone], [[b"late"], errno.ECONNREFUSED])
        bound.read()
        assert (await receiver.until(len(alone) + 1))[-1] == b"late"
        assert bound.datagrams_in == len(alone) + 1
        assert receiver.errors.get_nowait().errno == errno.ECONNREFUSED
