"""Against the real ``quic_dist`` of erlang_quic, as dialler and as dialled.

QUICDIST_ERL chooses the BEAM, and with it the version: see the markers in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE

from quicdist.carrier import Address, PeerClosed, PeerSilent, SetupTimeout
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.engine.aioquic.key_limits import KeyLimited, KeyLimits, KeyPair
from quicdist.carrier.quic.engine.path_mtu import BASE_SIZE
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.protocol import (
    AliasSend,
    HandshakeEnded,
    MonitorP,
    NotAllowed,
    RegSend,
    SendSender,
    Status,
    WrongCookie,
)
from quicdist.term import Atom, ImproperList
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import SETUP_TIME, listening, quic_link, until
from tests.support.beam import Beam, erl_facts, quic_args

pytestmark = pytest.mark.quic_dist

MIB = 1024 * 1024
NAME = "py@127.0.0.1"
BEAM = "a@127.0.0.1"
#: The process that evaluates a test's expressions is registered under this name.
EVALUATOR = Atom("beam_evaluator")


class Answering(Inbox):
    """An inbox that answers ``net_kernel``'s calls to itself, as ``net_adm:ping`` makes them."""

    node: FakeNode

    def _on_message(self, control: Any, payload: Any) -> None:
        if isinstance(control, RegSend) and control.to_name == Atom("net_kernel"):
            call, (_, tag), (what, asker) = payload
            assert (call, what, asker) == (Atom("$gen_call"), Atom("is_auth"), Atom(BEAM))
            assert isinstance(tag, ImproperList)
            self.link.send(AliasSend(self.node.pid(), tag.tail), (tag, Atom("yes")))
        else:
            super()._on_message(control, payload)

    @classmethod
    def at(cls, node: FakeNode, link: Any) -> Answering:
        inbox = cls(link)
        inbox.node = node
        link.start(inbox._on_message, inbox.lost.set_result)
        return inbox

    async def wanted(self, kind: type) -> tuple[Any, Any]:
        """The next message of this kind; monitors and demonitors of pings come in between."""
        while True:
            control, payload = await self.get()
            if isinstance(control, kind):
                return control, payload


@asynccontextmanager
async def beam(
    directory: Path,
    certificates: CertificateFiles,
    port: int,
    nodes: dict[str, tuple[str, int]] | None = None,
    *,
    cookie: str = "secret",
) -> AsyncIterator[Beam]:
    args = quic_args(
        BEAM, port, directory, nodes or {}, cert=certificates.cert, key=certificates.key, cookie=cookie
    )
    running = await asyncio.to_thread(Beam, args)
    try:
        await running.eval("{ok, _} = application:ensure_all_started(quic), ok")
        yield running
    finally:
        running.kill()


async def test_dialling_a_beam(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    node = FakeNode(NAME)
    async with beam(tmp_path, certificates, port) as a:
        link = await QuicCarrier(settings).setup(
            BEAM, Address("127.0.0.1", port), node, setup_time=SETUP_TIME
        )
        inbox = Answering.at(node, link)
        await both_ways(a, inbox)
        link.close()
        await link.wait_closed()
        assert await inbox.end() is None
        # At once: far sooner than a missed tick would show.
        assert await a.eval(gone(NAME), timeout=20) == "gone"


async def test_being_dialled_by_a_beam(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    node = FakeNode(NAME)
    async with listening(settings, node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, certificates, free_port(), table) as a:
            assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "true"
            inbox = Answering.at(node, await server.link())
            assert [named.name for named in node.requested] == [BEAM]
            await both_ways(a, inbox)
            inbox.link.close()
            assert await a.eval(gone(NAME), timeout=20) == "gone"


async def test_a_beam_that_disconnects_leaves_a_connection_that_still_answers(
    certificates: CertificateFiles,
    settings: QuicSettings,
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``net_kernel:disconnect/1`` ends quic_dist's controller and not its QUIC connection, which
    goes on acknowledging (seen up to 1.8.1). A node that is only idle does no more, of itself: it
    takes the acknowledgements for something written and does not tick. But it answers a liveness probe."""
    monkeypatch.setattr("quicdist.carrier.quic.settings.MIN_PING_INTERVAL", 0.1)
    hasty = QuicSettings(tls=settings.tls, net_ticktime=1)
    node = FakeNode(NAME)
    async with listening(hasty, node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, certificates, free_port(), table) as a:
            assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "true"
            inbox = Answering.at(node, await server.link())
            loop = asyncio.get_running_loop()
            end = loop.time() + 3 * hasty.net_ticktime
            await until(quic_link(inbox.link), lambda: loop.time() > end)
            assert not inbox.link.closed
            assert await a.eval(f"net_kernel:disconnect('{NAME}')") == "true"
            error = await inbox.end()
            assert isinstance(error, PeerSilent | PeerClosed)
            assert BEAM in str(error)
            # And it may come back at once.
            assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "true"
            Answering.at(node, await server.link())


@pytest.mark.parametrize("dials", [True, False], ids=["dialling", "dialled"])
async def test_quic_dist_follows_one_key_update(
    certificates: CertificateFiles,
    settings: QuicSettings,
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    dials: bool,
) -> None:
    """RFC 9001, section 6. A second one it would not follow: it tries the keys of before the first."""
    monkeypatch.setattr(KeyLimited, "key_limits", KeyLimits(update=100, maximum=1 << 62, forgeries=1 << 52))
    updates = []
    update = KeyPair._update_key

    def counted(pair: KeyPair, trigger: str) -> None:
        updates.append(trigger)
        update(pair, trigger)

    monkeypatch.setattr(KeyPair, "_update_key", counted)
    node = FakeNode(NAME)
    async with listening(settings, node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        port = free_port()
        async with beam(tmp_path, certificates, port, table) as a:
            if dials:
                address = Address("127.0.0.1", port)
                link = await QuicCarrier(settings).setup(BEAM, address, node, setup_time=SETUP_TIME)
            else:
                assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "true"
                link = await server.link()
            inbox = Answering.at(node, link)
            await both_ways(a, inbox)
            assert updates == ["local_update"]
            assert not inbox.link.closed


async def both_ways(a: Beam, inbox: Answering) -> None:
    """Pings, small and large messages in both directions, over an established link."""
    node, link = inbox.node, inbox.link
    assert link.peer.name == BEAM
    for _ in range(3):
        assert await a.eval(f"net_adm:ping('{NAME}')") == "pong"
    control, _ = await inbox.wanted(MonitorP)
    assert control.to_proc == Atom("net_kernel")
    # Small ones, in order.
    await a.eval(f"[{{echo, '{NAME}'}} ! {{n, N}} || N <- lists:seq(1, 2000)], ok")
    assert [(await inbox.wanted(RegSend))[1] for _ in range(2000)] == [
        (Atom("n"), number) for number in range(1, 2001)
    ]
    for number in range(2000):
        link.send(RegSend(node.pid(), Atom(""), EVALUATOR), number)
        if not number % 100:
            await link.drain()
    collect = "F = fun(_, 0, L) -> lists:reverse(L); (F, N, L) -> receive X -> F(F, N - 1, [X | L]) end end, "
    assert await a.eval(collect + "F(F, 2000, []) =:= lists:seq(0, 1999)", timeout=60) == "true"
    # Large ones: 1 MiB of bytes that are not all the same, whole at the other end.
    blob = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(MIB // 32))
    await a.eval(f"{{echo, '{NAME}'}} ! Data, ok", blob)
    assert (await inbox.wanted(RegSend))[1] == blob
    send_to_evaluator(inbox, blob)
    assert await a.eval_bytes("receive B when is_binary(B) -> crypto:hash(sha256, B) end") == (
        hashlib.sha256(blob).digest()
    )
    # From another sender, and so perhaps on another stream.
    await a.eval(f"spawn(fun() -> {{echo, '{NAME}'}} ! {{from, self()}} end), ok")
    _, (_, pid) = await inbox.wanted(RegSend)
    assert pid.node == Atom(BEAM)
    await a.eval(
        f"S = self(), P = spawn(fun() -> receive M -> S ! {{got, M}} end end), {{echo, '{NAME}'}} ! P, ok"
    )
    pid = (await inbox.wanted(RegSend))[1]
    link.send(SendSender(node.pid(7), pid), [1, 2.5, b"three"])
    assert await a.eval("receive {got, M} -> M end") == '[1,2.5,<<"three">>]'
    # And ticks are no trouble to either.
    # Up to 1.3.1 it says that it takes no datagrams longer than the shortest that there are in QUIC.
    version = erl_facts()[1]
    assert version is not None
    old = tuple(map(int, version.split("."))) < (1, 4)
    assert link.datagram_size == (SMALLEST_MAX_DATAGRAM_SIZE if old else BASE_SIZE)
    link.send_tick()
    assert await a.eval(f"lists:member('{NAME}', nodes(hidden))") == "true"
    assert not link.closed


def send_to_evaluator(inbox: Answering, payload: Any) -> None:
    inbox.link.send(RegSend(inbox.node.pid(), Atom(""), EVALUATOR), payload)


def gone(node: str) -> str:
    return (
        f"Wait = fun(_, 0) -> still_there; (W, N) -> case lists:member('{node}', nodes(hidden)) of "
        "false -> gone; true -> timer:sleep(20), W(W, N - 1) end end, Wait(Wait, 500)"
    )


async def test_a_long_burst_from_a_beam_arrives_to_its_end(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """More than quic_dist's send queue (16 MiB) takes: it keeps the rest back until it has something
    more to send."""
    version = erl_facts()[1]
    assert version is not None
    if tuple(map(int, version.split("."))) < (1, 4):
        pytest.skip(f"quic_dist {version} lets later fragments overtake those its full queue did not take")
    port = free_port()
    node = FakeNode(NAME)
    async with beam(tmp_path, certificates, port) as a:
        link = await QuicCarrier(settings).setup(
            BEAM, Address("127.0.0.1", port), node, setup_time=SETUP_TIME
        )
        inbox = Answering.at(node, link)
        await a.eval(f"[{{echo, '{NAME}'}} ! {{N, Data}} || N <- lists:seq(1, 64)], ok", bytes(MIB))
        for number in range(1, 65):
            _, (came, blob) = await inbox.wanted(RegSend)
            assert (came, len(blob)) == (number, MIB)
        link.close()
        await link.wait_closed()


async def test_a_beam_with_another_cookie_when_dialled(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    async with beam(tmp_path, certificates, port, cookie="other"):
        # Before 2.0 it says nothing more, and does not close: only time tells.
        with pytest.raises((WrongCookie, SetupTimeout), match="cookie") as caught:
            await QuicCarrier(settings).setup(BEAM, Address("127.0.0.1", port), FakeNode(NAME), setup_time=2)
        assert BEAM in str(caught.value)


async def test_a_beam_with_another_cookie_that_dials(
    certificates: CertificateFiles,
    settings: QuicSettings,
    tmp_path: Path,
    free_port: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(settings, FakeNode(NAME)) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, certificates, free_port(), table, cookie="other") as a:
            assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "false"
            assert isinstance(await server.error(), WrongCookie)
            assert BEAM in caplog.text
            assert "cookie" in caplog.text


async def test_refusing_a_beam_that_dials(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with listening(settings, FakeNode(NAME, status=Status.NOT_ALLOWED)) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, certificates, free_port(), table) as a:
            assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "false"
            await server.error()


async def test_being_refused_by_a_beam(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    async with beam(tmp_path, certificates, port) as a:
        await a.eval("net_kernel:allow(['only@127.0.0.1'])")
        # The status may be overtaken by the end of the connection.
        with pytest.raises((NotAllowed, HandshakeEnded), match=BEAM):
            await QuicCarrier(settings).setup(
                BEAM, Address("127.0.0.1", port), FakeNode(NAME), setup_time=SETUP_TIME
            )


async def test_a_beam_that_was_killed_is_noticed_by_its_port(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """A BEAM says no goodbye; the kernel of its machine says that the port is closed."""
    port = free_port()
    node = FakeNode(NAME)
    async with beam(tmp_path, certificates, port) as a:
        link = await QuicCarrier(settings).setup(
            BEAM, Address("127.0.0.1", port), node, setup_time=SETUP_TIME
        )
        inbox = Answering.at(node, link)
        assert await a.eval(f"net_adm:ping('{NAME}')") == "pong"
        a.kill()
        quic_link(link)._connection.ping()
        error = await inbox.end()
        assert BEAM in str(error)
        assert "ICMP port unreachable" in str(error)
