"""Stateless resets: packets of a connection that is lost are answered, and such answers are recognised."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quicdist.carrier import Address, LinkLost, ListenError
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.driver import stateless_reset
from quicdist.carrier.quic.driver.stateless_reset import (
    RESET_BURST,
    StatelessResets,
    derived_secret,
    is_reset,
)
from quicdist.carrier.quic.reset_secret import reset_secret
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.carrier.security.tls_config import TlsConfig
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_peer import CLIENT, SERVER
from tests.carrier.quic_support import PATIENCE, SETUP_TIME, listening, quic_link
from tests.carrier.strangers import outside
from tests.support.engine import connection_of
from tests.support.programs import running_program

SECRET = bytes(range(32))
HERE = ("192.0.2.1", 5000)


async def dial(settings: QuicSettings, address: Address) -> Inbox:
    return Inbox.of(
        await QuicCarrier(settings).setup(SERVER, address, FakeNode(CLIENT), setup_time=SETUP_TIME)
    )


# -- what is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [22, 23, 30, 43, 44, 60, 100, 1200, 16384])
def test_reset_is_shorter_than_what_it_answers_and_looks_like_a_packet(size: int) -> None:
    resets = StatelessResets(SECRET)
    data = b"\x40" + os.urandom(size - 1)
    answers = [resets.answer(data, b"a lost id", 0.0) for _ in range(100)]
    for answer in answers:
        assert answer is not None
        assert stateless_reset.MIN_RESET <= len(answer) < min(size, 100)
        assert answer[0] & 0xC0 == 0x40
        assert answer.endswith(resets.token(b"a lost id"))
    # Nothing else about them can be foretold.
    assert len({answer[:-16] for answer in answers if answer}) == 100


@pytest.mark.parametrize("size", range(22))
def test_short_packets_get_no_reset(size: int) -> None:
    assert StatelessResets(SECRET).answer(bytes(size), b"", 0.0) is None


def test_two_nodes_that_know_nothing_end_their_exchange() -> None:
    one, other = StatelessResets(SECRET), StatelessResets(SECRET[::-1])
    data: bytes | None = bytes(1400)
    count = 0
    while data is not None:
        one, other = other, one
        data = one.answer(data, data[1:9], 0.0)
        count += 1
    assert count < 60


def test_resets_are_limited() -> None:
    resets = StatelessResets(SECRET)
    sent = [resets.answer(bytes(100), b"", 0.0) for _ in range(10_000)]
    assert len([answer for answer in sent if answer]) == stateless_reset.RESET_BURST
    assert resets.answer(bytes(100), b"", 1.0)


async def test_packet_of_no_connection_is_answered_by_a_reset(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        endpoint = server.listener.endpoint
        with outside(endpoint) as beyond:
            beyond.arrive((b"\x40" + bytes(40), HERE))
            (answer,) = beyond.sent[HERE]
            assert is_reset(answer, [endpoint._resets.token(bytes(8))])
            assert endpoint.strays == 1


# -- what is announced and recognised ------------------------------------------------------------


async def test_all_connection_ids_of_a_listener_are_announced_with_their_tokens(
    settings: QuicSettings,
) -> None:
    async with listening(settings) as server:
        client = await dial(settings, server.address)
        accepted = connection_of(quic_link(await server.link())._connection.engine)
        quic = connection_of(quic_link(client.link)._connection.engine)
        token = server.listener.endpoint._resets.token
        assert len(accepted._host_cids) == 8
        assert quic.reset_tokens() == [token(accepted._host_cids[0].cid)]
        for known in quic._peer_cid_available:
            assert known.stateless_reset_token == token(known.cid)
        client.link.close()


@pytest.mark.parametrize("size", [21, 40, 1200])
async def test_reset_ends_a_dialled_link_at_once(settings: QuicSettings, size: int) -> None:
    async with listening(settings) as server:
        client = await dial(settings, server.address)
        await server.link()
        connection = quic_link(client.link)._connection
        (token,) = connection.engine.reset_tokens()
        where = connection.engine.get_peer_address()
        assert where is not None
        receiver = connection.socket.receiver
        for other in (token[::-1], bytes(16)):
            receiver.datagrams_received([(b"\x40" + os.urandom(size - 17) + other, where)])
        receiver.datagrams_received([(b"\xc0" + os.urandom(size - 17) + token, where)])
        receiver.datagrams_received([(b"\x40" + token[: size - 1], where)])
        assert not connection.closed
        receiver.datagrams_received([(b"\x40" + os.urandom(size - 17) + token, where)])
        assert connection.closed
        error = await client.end()
        assert isinstance(error, LinkLost)
        assert "stateless reset" in str(error)


@pytest.mark.parametrize("size", [21, 47])
async def test_reset_ends_an_accepted_link_where_it_comes_from_its_peer(
    settings: QuicSettings, size: int
) -> None:
    """However many packets of no connection come from others."""
    async with listening(settings) as server:
        client = await dial(settings, server.address)
        peer = Inbox.of(await server.link())
        connection = quic_link(peer.link)._connection
        connection_of(connection.engine)._peer_cid.stateless_reset_token = SECRET[
            :16
        ]  # its later ones have one
        where = connection.engine.get_peer_address()
        assert where is not None
        data = b"\x40" + os.urandom(size - 17) + SECRET[:16]
        endpoint = server.listener.endpoint
        with outside(endpoint) as beyond:
            beyond.arrive(*[(data, HERE)] * 2 * int(RESET_BURST))
            assert not connection.closed
            beyond.arrive((data, where))
        assert "stateless reset" in str(await peer.end())
        client.link.close()


# -- a secret that survives ----------------------------------------------------------------------


def test_secret_is_one_of_the_key_the_node_and_its_port(
    certificates: CertificateFiles, tmp_path: Path
) -> None:
    tls = certificates.tls()
    secret = reset_secret(None, tls, "a@h", 4433)
    assert len(secret) == 32
    assert secret == reset_secret(None, certificates.tls(verify=False), "a@h", 4433)
    psks = TlsConfig(psks={b"one": SECRET})
    others = [
        reset_secret(None, tls, "b@h", 4433),
        reset_secret(None, tls, "a@h", 4434),
        reset_secret(SECRET, tls, "a@h", 4433),
        reset_secret(tmp_path / "secret", tls, "a@h", 4433),
        reset_secret(None, psks, "a@h", 4433),
        reset_secret(None, TlsConfig(psks=lambda identity: SECRET), "a@h", 4433),
        reset_secret(None, TlsConfig(psks=lambda identity: SECRET), "a@h", 4433),
    ]
    assert len({secret, *others}) == 8
    assert reset_secret(None, psks, "a@h", 4433) == others[4]
    assert derived_secret(SECRET, "a@h:4433") == others[2]


def test_secret_in_a_file_is_made_once_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = reset_secret(path, TlsConfig(), "a@h", 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) >= stateless_reset.MIN_SECRET
    assert reset_secret(str(path), TlsConfig(), "a@h", 1) == first


async def test_secrets_that_cannot_be_used(settings: QuicSettings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes, got 31"):
        dataclasses.replace(settings, reset_secret=bytes(31))
    (tmp_path / "short").write_bytes(bytes(31))
    for path in (tmp_path / "short", tmp_path / "none" / "secret"):
        with pytest.raises(ListenError, match="reset_secret"):
            await QuicCarrier(dataclasses.replace(settings, reset_secret=path)).listen(SERVER)
    assert "reset_secret" not in repr(dataclasses.replace(settings, reset_secret=SECRET))


@asynccontextmanager
async def echo(files: CertificateFiles, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = "-m", "tests.carrier.quic_peer", "listen", str(files.cert), str(files.key), str(port)
    async with running_program(sys.executable, *command, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert int(await process.stdout.readline()) == port
        yield process


async def test_a_node_that_was_killed_and_started_again_ends_old_links(
    settings: QuicSettings, certificates: CertificateFiles, free_port: Callable[[], int]
) -> None:
    port = free_port()
    address = Address("127.0.0.1", port)
    async with echo(certificates, port) as process:
        client = await dial(settings, address)
        connection = quic_link(client.link)._connection
        # A datagram to a closed port causes an ICMP error, which would end the link before the reset does.
        send = connection.socket.send
        connection.socket.send = lambda datagrams: None  # type: ignore[method-assign]
        process.kill()
        await process.wait()
    async with echo(certificates, port):
        connection.socket.send = send  # type: ignore[method-assign]
        connection.ping()
        async with asyncio.timeout(PATIENCE):
            error = await client.end()
        assert isinstance(error, LinkLost)
        assert "stateless reset" in str(error)
        again = await dial(settings, address)
        again.link.close()
