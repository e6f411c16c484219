"""Errors say of why no connection came about what is known, and peers are told so that they can read it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

import pytest

from quicdist.carrier import Address, ConnectError, SetupTimeout
from quicdist.carrier.errors import (
    AcceptError,
    AuthenticationRefused,
    Refusal,
)
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.close_codes import close_code, dial_refused, wrong_cookie
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.dial_handshake import DialHandshake
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.errors import QuicDistError
from quicdist.protocol import Status, WrongCookie
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import Listening, listening
from tests.support.virtual_time import in_virtual_time

CLIENT, SERVER = "client@127.0.0.1", "server@127.0.0.1"
HERE = Address("192.0.2.1", 5000)

REFUSALS: list[QuicDistError] = [
    AuthenticationRefused(CLIENT, HERE, "no"),
    *(AcceptError(HERE, "no", refusal) for refusal in Refusal),
    WrongCookie(CLIENT, "no"),
]


def refusal(error: BaseException | None) -> Refusal | None:
    assert isinstance(error, AcceptError)
    return error.refusal


@dataclass
class Reached:
    said_name = True


class Unwilling(FakeNode):
    """It never acknowledges a digest."""

    def peer_proved(self, node: str) -> asyncio.Future[None] | None:
        return asyncio.get_running_loop().create_future()


async def refused(settings: QuicSettings, server: Listening, seconds: float, cookie: str = "secret") -> str:
    with pytest.raises(QuicDistError) as caught:
        await QuicCarrier(settings).setup(
            SERVER, server.address, FakeNode(CLIENT, cookie=cookie), setup_time=seconds
        )
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    "error", REFUSALS, ids=lambda error: str(getattr(error, "refusal", type(error).__name__))
)
def test_only_nodes_of_quicdist_are_told_another_code_than_0(error: QuicDistError) -> None:
    """quic_dist from 2.0.0 on logs any other as a crash."""
    assert close_code(error, quicdist=False) == 0
    assert close_code(error, quicdist=True) in range(0x101, 0x105)


@pytest.mark.parametrize("code", [0x101, 0x102, 0x103])
def test_codes_of_older_versions_are_read(code: int) -> None:
    closing = Closing(code, "no", by_peer=True, is_application=True)
    assert dial_refused(SERVER, HERE, closing, psk=False) is not None


def test_a_wrong_cookie_is_read_by_its_code_and_by_its_words() -> None:
    assert wrong_cookie(Closing(0x104, "", by_peer=True, is_application=True))
    assert wrong_cookie(Closing(0, "wrong cookie for a@b: so", by_peer=True, is_application=True))
    assert not wrong_cookie(Closing(0, "a wrong cookie", by_peer=True, is_application=True))
    assert not wrong_cookie(Closing(0x104, "", is_application=True))


def test_a_peer_that_is_no_quicdist_is_closed_with_code_0(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, str]] = []
    monkeypatch.setattr(Connection, "peer_is_quicdist", lambda quic: False)

    @in_virtual_time
    async def run() -> None:
        async with listening(settings) as server:
            told.append((0, await refused(settings, server, 5, "other")))
            assert isinstance(await server.error(), WrongCookie)

    run()
    # By its words, this time.
    ((_, error),) = told
    assert error.startswith(f"WrongCookie: wrong cookie for {SERVER}: the peer refused our digest: ")


def test_time_that_runs_out_after_our_digest_has_arrived_is_a_time_out(settings: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with listening(settings, Unwilling(SERVER)) as server:
            error = await refused(settings, server, 1.5)
            assert error.startswith(f"SetupTimeout: cannot connect to {SERVER}")
            assert "expected a challenge acknowledgement, although our digest was received" in error
            await server.error()

    run()


def test_time_that_runs_out_for_the_other_node_is_told_as_that(settings: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with listening(settings, Unwilling(SERVER), setup_time=1) as server:
            error = await refused(settings, server, 5)
            assert error.startswith(f"{ConnectError.__name__}: cannot connect to {SERVER}")
            assert "the peer closed the connection while a challenge acknowledgement was expected" in error
            assert "within 1 s" in error
            await server.error()

    run()


@pytest.mark.parametrize("refused", [False, True])
async def test_an_answer_that_came_with_the_timeout_counts(settings: QuicSettings, *, refused: bool) -> None:
    """As where the event loop has stood still for longer than a dial is to wait."""
    handshake = DialHandshake(SERVER, HERE, FakeNode(CLIENT), settings, StreamCounts(), lambda: True)
    assert not await handshake.begun(0)
    if refused:
        handshake.done.set_exception(ConnectError(SERVER, HERE, "no"))
    else:
        handshake._up.set()
    assert await handshake.begun(0)
    if refused:
        with pytest.raises(ConnectError, match="no"):
            await handshake.link(1)


def test_a_connection_that_breaks_before_the_acknowledgement_does_not_blame_the_cookie(
    settings: QuicSettings,
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with listening(settings, Unwilling(SERVER)) as server:
            carrier = QuicCarrier(settings)
            setup = carrier.setup(SERVER, server.address, FakeNode(CLIENT), setup_time=60)
            dialling = asyncio.ensure_future(setup)
            await asyncio.sleep(1)
            ((attempt,),) = carrier._attempts._attempts.values()
            assert isinstance(attempt, DialHandshake)
            attempt.connection.abandon("nothing came")
            with pytest.raises(ConnectError) as caught:
                await dialling
            text = "the QUIC connection ended while a challenge acknowledgement was expected: nothing came"
            assert text in str(caught.value)
            for connection in server.listener.endpoint.connections:
                connection.abandon("that was all")
            await server.error()

    run()


def test_tcp_error_names_the_expected_message() -> None:
    @in_virtual_time
    async def run() -> None:
        silent: set[asyncio.StreamWriter] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            silent.add(writer)
            with contextlib.suppress(ConnectionError):
                await reader.read(-1)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(SetupTimeout, match=r"no answer within 2 s: expected a status"):
            await TcpCarrier().setup(SERVER, address, FakeNode(CLIENT), setup_time=2)
        for writer in silent:
            writer.close()
        server.close()
        await server.wait_closed()

    run()


def test_an_attempt_that_gives_way_by_itself_is_no_warning(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """quic_dist from 1.8.2 on ends the losing one of two attempts, with code 0."""
    caplog.set_level(logging.DEBUG, "quicdist")

    @in_virtual_time
    async def run() -> None:
        node = FakeNode("z" + SERVER, status=Status.NOK)
        async with listening(settings, node) as server:
            with server.carrier._attempts.under_way(CLIENT, Reached()):
                dialling = asyncio.ensure_future(
                    QuicCarrier(settings).setup(node.name, server.address, FakeNode(CLIENT), setup_time=10)
                )
                await asyncio.sleep(0.04)
                assert node.requested
                dialling.cancel()
                assert refusal(await server.error()) is Refusal.SIMULTANEOUS
            await asyncio.wait([dialling])

    run()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert any("dial each other" in record.getMessage() for record in caplog.records)
