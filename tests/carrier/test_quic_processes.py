"""Two Python nodes over QUIC, each in its own process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quicdist.carrier import Address, PeerClosed, PeerSilent
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_peer import CLIENT, SERVER
from tests.carrier.quic_support import PATIENCE, SETUP_TIME, listening, quic_link, send
from tests.support.programs import running_program

MIB = 1024 * 1024


@asynccontextmanager
async def peer(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A peer's process and the first line it prints."""
    command = sys.executable, "-m", "tests.carrier.quic_peer", *arguments
    async with running_program(*command, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = (await process.stdout.readline()).decode().strip()
        yield process, line


@asynccontextmanager
async def echo(certificates: CertificateFiles) -> AsyncIterator[tuple[asyncio.subprocess.Process, Address]]:
    async with peer("listen", str(certificates.cert), str(certificates.key)) as (process, port):
        yield process, Address("127.0.0.1", int(port))


async def test_messages_small_and_large_to_another_process_and_back(certificates: CertificateFiles) -> None:
    async with echo(certificates) as (_, address):
        node = FakeNode(CLIENT)
        inbox = Inbox.of(await QuicCarrier().setup(SERVER, address, node, setup_time=SETUP_TIME))
        for number in range(10_000):
            send(inbox.link, node, number)
            await inbox.link.drain()
        assert [(await inbox.get())[1] for _ in range(10_000)] == list(range(10_000))
        large = bytes(range(256)) * (16 * MIB // 256)
        send(inbox.link, node, large)
        assert (await inbox.get())[1] == large
        inbox.link.close()
        await inbox.link.wait_closed()


@pytest.mark.parametrize("then", ["leave", "exit"])
async def test_a_program_that_just_ends_says_goodbye(settings: QuicSettings, then: str) -> None:
    async with listening(settings) as server, peer("dial", str(server.address.port), then) as (process, line):
        assert line == "linked"
        inbox = Inbox.of(await server.link())
        error = await inbox.end()
        assert isinstance(error, PeerClosed)
        assert CLIENT in str(error)
        assert await process.wait() == 0


async def test_a_dialled_process_that_is_killed_is_noticed_by_its_port(
    certificates: CertificateFiles,
) -> None:
    async with echo(certificates) as (process, address):
        inbox = Inbox.of(await QuicCarrier().setup(SERVER, address, FakeNode(CLIENT), setup_time=SETUP_TIME))
        process.kill()
        await process.wait()
        quic_link(inbox.link)._connection.ping()
        error = await inbox.end()
        assert SERVER in str(error)
        assert "ICMP port unreachable" in str(error)


async def test_a_process_that_dialled_and_is_killed_is_noticed(settings: QuicSettings) -> None:
    """By its silence, or before by what the system answers in its place."""
    soon = QuicSettings(tls=settings.tls, idle_timeout=3.0)
    async with listening(soon) as server, peer("dial", str(server.address.port), "stay") as (process, line):
        assert line == "linked"
        inbox = Inbox.of(await server.link())
        process.kill()
        error = await inbox.end()
        assert isinstance(error, PeerSilent) or "ICMP port unreachable" in str(error)
        assert CLIENT in str(error)
