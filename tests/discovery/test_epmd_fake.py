"""An epmd that misbehaves: each way of doing so ends in a named error, within the time allowed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from quicdist.carrier import Address
from quicdist.discovery import (
    EpmdDiscovery,
    EpmdError,
    EpmdTimeout,
    EpmdUnreachable,
    Family,
    NodeNameTaken,
    NodeNotFound,
    epmd_client,
)
from tests.support.epmd import free_port

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def fake_epmd(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server at ``host``; the port."""
    async with asyncio.TaskGroup() as served:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.create_task(handle(reader, writer))

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await handler(reader, writer)
                await writer.wait_closed()

        async with await asyncio.start_server(serve, host, 0) as server:
            yield server.sockets[0].getsockname()[1]


def answering(answer: bytes, *, then_close: bool = True) -> Handler:
    """Reads one request, answers, and closes (or does not)."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(answer)
        if not then_close:
            await reader.read()
        writer.close()

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def discovery(port: int, *, timeout: float = 10.0, reconnect_after: float = 2.0) -> EpmdDiscovery:
    return EpmdDiscovery(port=port, start_epmd=False, timeout=timeout, reconnect_after=reconnect_after)


@pytest.mark.parametrize(
    ("answer", "creation"), [(b"v\0\1\2\3\4", 0x01020304), (b"y\0\0\2", 2)], ids=["32 bits", "16 bits"]
)
async def test_both_answers_to_registering_give_the_creation(answer: bytes, creation: int) -> None:
    async with fake_epmd(answering(answer, then_close=False)) as port:
        epmd = discovery(port)
        assert await epmd.register_node("a@127.0.0.1", 4501) == creation
        await epmd.close()


async def test_registering_over_ipv6() -> None:
    async with fake_epmd(answering(b"v\0\0\0\0\7", then_close=False), "::1") as port:
        epmd = discovery(port)
        assert await epmd.register_node("a@localhost", 4501, "inet6") == 7
        await epmd.close()


async def test_a_name_that_is_taken_names_the_node_and_where() -> None:
    async with fake_epmd(answering(b"v\1\0\0\0\x63")) as port:
        with pytest.raises(NodeNameTaken) as caught:
            await discovery(port).register_node("a@127.0.0.1", 4501)
    assert caught.value.node == "a@127.0.0.1"
    assert str(caught.value) == (
        f"the name a@127.0.0.1 is taken: epmd at 127.0.0.1:{port} has another node of that name"
    )


async def test_unregistering_waits_until_epmd_has_freed_the_name() -> None:
    """Which it does when it reads the end of the connection: on a busy machine, later."""
    freed = False

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal freed
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(b"v\0\0\0\0\7")
        await reader.read()
        for _ in range(10):
            await asyncio.sleep(0)
        freed = True
        writer.close()

    async with fake_epmd(busy) as port:
        epmd = discovery(port)
        await epmd.register_node("a@127.0.0.1", 4501)
        await epmd.unregister_node("a@127.0.0.1")
        assert freed


async def test_an_epmd_that_resets_the_connection_while_it_is_unregistered_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def killed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(b"v\0\0\0\0\7")
        await reader.read()
        writer.close()

    def closed(writer: asyncio.StreamWriter) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    async with fake_epmd(killed) as port:
        epmd = discovery(port)
        await epmd.register_node("a@127.0.0.1", 4501)
        monkeypatch.setattr(asyncio.StreamWriter, "write_eof", closed)  # as uvloop does
        await epmd.unregister_node("a@127.0.0.1")


async def test_an_epmd_that_does_not_close_delays_unregistering_only_shortly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(epmd_client, "FINISH_TIME", 0.01)
    go_on = asyncio.Event()

    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(b"v\0\0\0\0\7")
        await go_on.wait()
        writer.close()

    async with fake_epmd(stuck) as port:
        epmd = discovery(port)
        await epmd.register_node("a@127.0.0.1", 4501)
        await epmd.unregister_node("a@127.0.0.1")
        go_on.set()


async def test_one_program_registers_a_name_once() -> None:
    async with fake_epmd(answering(b"v\0\0\0\0\7", then_close=False)) as port:
        epmd = discovery(port)
        await epmd.register_node("a", 4501)
        with pytest.raises(NodeNameTaken, match="this program has another node"):
            await epmd.register_node("a", 4502)
        await epmd.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed the connection when asked to register a, 0 of 1 bytes came"),
        (b"v\0\0", "closed the connection when asked to register a, 2 of 5 bytes came"),
        (b"HTTP/1.1 400", "begins with 72, expected 118 or 121"),
    ],
)
async def test_malformed_answers_to_registering(answer: bytes, says: str) -> None:
    async with fake_epmd(answering(answer)) as port:
        epmd = discovery(port)
        with pytest.raises(EpmdError, match=says):
            await epmd.register_node("a", 4501)
        # Nothing half-made stays: the name can be tried again.
        with pytest.raises(EpmdError, match=says):
            await epmd.register_node("a", 4501)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "0 of 2 bytes came"),
        (b"w\0\x10\x00", "2 of 8 bytes came"),
        (b"v\0\0\0\0\0\0\0\0\0", "begins with 118, expected 119"),
        (b"w\0\0\0M\0\0\6\0\5\0\1a\0\0", "port 0"),
    ],
)
async def test_malformed_answers_to_port_please(answer: bytes, says: str) -> None:
    async with fake_epmd(answering(answer)) as port:
        with pytest.raises(EpmdError, match=says) as caught:
            await discovery(port).port_please("a", "127.0.0.1")
    assert caught.value.address == Address("127.0.0.1", port)


async def test_names_that_never_end_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epmd_client, "MAX_NAMES", 1000)
    line = b"name a at port 4501\n"
    async with fake_epmd(answering(b"\0\0\x11\x11" + line * 51)) as port:
        with pytest.raises(EpmdError, match="more than 1000 bytes"):
            await discovery(port).names("127.0.0.1")
    async with fake_epmd(answering(b"\0\0\x11\x11" + line * 50)) as port:
        assert await discovery(port).names("127.0.0.1") == [("a", 4501)] * 50


async def test_an_epmd_that_says_nothing_is_given_up() -> None:
    async with fake_epmd(silent) as port:
        epmd = discovery(port, timeout=0.05)
        with pytest.raises(EpmdTimeout, match=r"no answer within 0\.05 s when asked to register a") as caught:
            await epmd.register_node("a", 4501)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.address == Address("127.0.0.1", port)
        with pytest.raises(EpmdTimeout, match="when asked for its names"):
            await epmd.names("127.0.0.1")
        with pytest.raises(NodeNotFound, match=r"no address for a@127.0.0.1; epmd at .*: no answer within"):
            await epmd.address_please("a", "127.0.0.1")


async def test_no_epmd_at_all() -> None:
    port = free_port()
    epmd = discovery(port)
    with pytest.raises(EpmdUnreachable, match=f"epmd at 127.0.0.1:{port}: cannot be reached"):
        await epmd.register_node("a", 4501)
    with pytest.raises(NodeNotFound, match=f"epmd at 127.0.0.1:{port}: cannot be reached") as caught:
        await epmd.port_please("a", "127.0.0.1")
    assert caught.value.node == "a@127.0.0.1"


async def test_an_epmd_that_resets_the_connection() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with fake_epmd(reset) as port:
        with pytest.raises(EpmdError):
            await discovery(port).names("127.0.0.1")


async def test_a_host_that_does_not_resolve_is_a_node_not_found() -> None:
    epmd = discovery(free_port())
    families: list[Family | None] = [None, "inet"]
    for family in families:
        with pytest.raises(NodeNotFound, match=r"a@no-such-host\.invalid"):
            await epmd.address_please("a", "no-such-host.invalid", family)


async def test_an_address_of_a_family_is_where_epmd_answered() -> None:
    async with fake_epmd(answering(b"w\0\x11\x95M\0\0\6\0\6\0\1a\0\0")) as port:
        epmd = discovery(port)
        assert await epmd.address_please("a", "localhost", "inet") == Address("127.0.0.1", 4501)
        assert await epmd.lookup("a@127.0.0.1") == Address("127.0.0.1", 4501)


@pytest.mark.parametrize("value", ["0", "65536", "x", "-1", "4_369"])
def test_a_wrong_erl_epmd_port_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ERL_EPMD_PORT", value)
    with pytest.raises(EpmdError, match=r"ERL_EPMD_PORT is .*, no port number"):
        EpmdDiscovery()


def test_erl_epmd_port_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERL_EPMD_PORT", "14369")
    assert EpmdDiscovery().port == 14369
    assert EpmdDiscovery(port=4444).port == 4444
    monkeypatch.delenv("ERL_EPMD_PORT")
    assert EpmdDiscovery().port == 4369


async def test_what_epmd_says_unasked_ends_the_registration_and_a_new_one_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = asyncio.Queue[int]()

    async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(b"v\0\0\0\0\7")
        first = asked.empty()
        asked.put_nowait(1)
        if first:
            writer.write(b"?")
        await reader.read()
        writer.close()

    async with fake_epmd(babbling) as port:
        epmd = discovery(port, reconnect_after=0)
        await epmd.register_node("a@127.0.0.1", 4501)
        await asked.get()
        async with asyncio.timeout(30):
            await asked.get()
        await epmd.close()
    assert "unasked byte 63; a@127.0.0.1 is not registered now" in caplog.text
