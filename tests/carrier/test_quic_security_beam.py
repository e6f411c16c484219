"""Security against the real ``quic_dist``: what it shows, what it asks for, its PSKs and its callback."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from quicdist.carrier import (
    AcceptError,
    Address,
    AuthCallback,
    AuthenticationRefused,
    AuthPeer,
    CertificateRefused,
    ExternalPsk,
    PskRefused,
    Refusal,
    SetupTimeout,
)
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.carrier.security.tls_config import TlsConfig
from quicdist.protocol import HandshakeEnded, Role
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import SETUP_TIME, listening, settings_of
from tests.carrier.security import Shown, TestCa, tls
from tests.carrier.test_quic_dist_interop import Answering, both_ways
from tests.support.beam import Beam, erl_facts, quic_args

pytestmark = pytest.mark.quic_dist

NAME = "py@127.0.0.1"
BEAM = "a@127.0.0.1"
SECRET = secrets.token_bytes(32)
PSK = ExternalPsk(b"cluster", SECRET)


def since(*version: int) -> None:
    """Skip what quic_dist has only from a version on."""
    found = erl_facts()[1]
    assert found is not None
    if tuple(map(int, found.split("."))) < version:
        pytest.skip(f"quic_dist has it from {'.'.join(map(str, version))} on, this is {found}")


@asynccontextmanager
async def beam(
    directory: Path,
    port: int,
    *,
    dist: str = "",
    certificates: CertificateFiles | Shown | None = None,
    nodes: dict[str, tuple[str, int]] | None = None,
) -> AsyncIterator[Beam]:
    """A node on quic_dist with more options in its ``dist``, and without certificates if none are given.

    The distribution is started when ``quic`` is loaded, as in a release: with ``-name`` it would be
    before, and quic_dist would see nothing of ``dist`` when it listens.
    """
    nowhere = directory / "none"
    cert, key = (certificates.cert, certificates.key) if certificates else (nowhere, nowhere)
    args = quic_args(BEAM, port, directory, nodes or {}, cert=cert, key=key)
    config = Path(args[args.index("-config") + 1]).with_suffix(".config")
    text = config.read_text()
    if certificates is None:
        text = text.replace(f'{{cert_file,"{nowhere}"}},{{key_file,"{nowhere}"}},', "")
        for flag in ("-quic_dist_cert", "-quic_dist_key"):
            at = args.index(flag)
            del args[at : at + 2]
    config.write_text(text.replace("{dist,[", "{dist,[" + dist))
    at = args.index("-name")
    del args[at : at + 2]
    running = await asyncio.to_thread(Beam, args)
    try:
        await running.eval("ok = application:load(quic)")
        await running.eval(f"{{ok, _}} = net_kernel:start(['{BEAM}', longnames]), ok")
        await running.eval("{ok, _} = application:ensure_all_started(quic), ok")
        yield running
    finally:
        running.kill()


async def dials(
    port: int, config: TlsConfig, node: FakeNode, *, setup_time: float = SETUP_TIME, **more: Any
) -> Answering:
    settings = dataclasses.replace(QuicSettings(tls=config), **more)
    link = await QuicCarrier(settings).setup(BEAM, Address("127.0.0.1", port), node, setup_time=setup_time)
    return Answering.at(node, link)


async def connect(a: Beam) -> str:
    return await a.eval(f"net_kernel:connect_node('{NAME}')")


def psk_options(secret: bytes) -> str:
    """Options of ``dist``: the same PSK to dial with and to be dialled with."""
    identity, shown = (f"<<{','.join(map(str, data))}>>" for data in (PSK.identity, secret))
    return f"{{psks,#{{{identity} => {shown}}}}},{{external_psk,{{{identity},{shown}}}}},"


# -- certificates ------------------------------------------------------------------------------


async def test_a_beam_that_is_verified(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, node = free_port(), FakeNode(NAME)
    async with beam(tmp_path, port, certificates=certificates) as a:
        await both_ways(a, await dials(port, TlsConfig(cacert=certificates.ca, verify=True), node))


async def test_a_beam_with_a_certificate_of_another_ca(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, stranger = free_port(), TestCa(tmp_path, "stranger")
    async with beam(tmp_path, port, certificates=certificates):
        with pytest.raises(CertificateRefused, match="issuer"):
            await dials(port, tls(None, stranger, verify=True), FakeNode(NAME))


async def test_a_beam_verifies_nobody(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Whatever ``verify`` says: a certificate that nobody has signed, for another host, out of date."""
    day = datetime.timedelta(days=1)
    shown = TestCa(tmp_path, "stranger").sign(hosts=["elsewhere"], since=-2 * day, until=-day)
    node = FakeNode(NAME)
    async with listening(QuicSettings(tls=tls(shown)), node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        dist = f'{{cacert_file,"{certificates.ca}"}},{{verify,verify_peer}},'
        async with beam(tmp_path, free_port(), dist=dist, certificates=certificates, nodes=table) as a:
            assert await connect(a) == "true"
            await both_ways(a, Answering.at(node, await server.link()))


async def test_mutual_tls_with_a_beam(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """It never asks for a certificate, but it shows its own to whoever asks."""
    config = dataclasses.replace(certificates.tls(), client_certificate="require")
    node = FakeNode(NAME)
    async with listening(QuicSettings(tls=config), node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, free_port(), certificates=certificates, nodes=table) as a:
            assert await connect(a) == "true"
            await both_ways(a, Answering.at(node, await server.link()))


@pytest.mark.parametrize("asking", ["request", "require"])
async def test_a_beam_that_dials_with_a_certificate_of_another_ca(
    certificates: CertificateFiles,
    tmp_path: Path,
    free_port: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
    asking: Literal["request", "require"],
) -> None:
    config = dataclasses.replace(certificates.tls(), client_certificate=asking)
    async with listening(QuicSettings(tls=config), FakeNode(NAME)) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        strangers = TestCa(tmp_path, "stranger").sign()
        async with beam(tmp_path, free_port(), certificates=strangers, nodes=table) as a:
            assert await connect(a) == "false"
    assert "its certificate: unable to get local issuer certificate" in caplog.text


async def test_a_beam_whose_certificate_does_not_name_its_host(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ca = TestCa(tmp_path, "ca")
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        shown = ca.sign("elsewhere", hosts=["elsewhere.example"])
        async with beam(tmp_path, free_port(), certificates=shown, nodes=table) as a:
            assert await connect(a) == "false"
            error = await server.error()
            assert isinstance(error, AcceptError)
            assert error.refusal is Refusal.CERTIFICATE
            assert BEAM in str(error)


# -- pre-shared keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("with_certificates", [False, True])
async def test_a_psk_towards_a_beam(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int], with_certificates: bool
) -> None:
    since(1, 4)
    port, node = free_port(), FakeNode(NAME)
    dist = psk_options(SECRET)
    shown = certificates if with_certificates else None
    async with beam(tmp_path, port, dist=dist, certificates=shown) as a:
        inbox = await dials(port, TlsConfig(external_psk=PSK), node)
        await both_ways(a, inbox)
        inbox.link.close()
        await inbox.link.wait_closed()
        # With certificates it goes on with these for an identity it does not know. All else it leaves
        # without an answer, where its documentation has it send an alert: only time tells.
        unknown = PskRefused if with_certificates else (PskRefused, SetupTimeout)
        with pytest.raises(unknown, match="pre-shared key"):
            await dials(port, TlsConfig(external_psk=ExternalPsk(b"unknown", SECRET)), node, setup_time=2)
        with pytest.raises((PskRefused, SetupTimeout), match="pre-shared key"):
            await dials(port, TlsConfig(external_psk=ExternalPsk(b"cluster", bytes(32))), node, setup_time=2)


@pytest.mark.parametrize("with_certificates", [False, True])
async def test_a_psk_of_a_beam(
    certificates: CertificateFiles,
    tmp_path: Path,
    free_port: Callable[[], int],
    with_certificates: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    since(1, 4)
    node = FakeNode(NAME)
    config = certificates.tls() if with_certificates else TlsConfig()
    config = dataclasses.replace(config, psks={PSK.identity: SECRET})
    async with listening(QuicSettings(tls=config), node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        dist = psk_options(SECRET)
        async with beam(tmp_path, free_port(), dist=dist, nodes=table) as a:
            assert await connect(a) == "true"
            await both_ways(a, Answering.at(node, await server.link()))
        other = psk_options(bytes(32))
        async with beam(tmp_path, free_port(), dist=other, nodes=table) as a:
            with caplog.at_level(logging.WARNING):
                assert await connect(a) == "false"
    assert "its pre-shared key: the secret differs" in caplog.text


# -- the auth_callback -------------------------------------------------------------------------

#: A callback that sends a word and wants one, over the streams that Python's uses.
CALLBACK = """
{ok, Dist} = application:get_env(quic, dist),
Auth = fun(Conn, Side, Timeout) ->
  {ok, Stream} = quic:open_unidirectional_stream(Conn),
  ok = quic:send_data(Conn, Stream, <<"the ", (atom_to_binary(Side))/binary, " is a beam">>, true),
  receive {quic, Conn, {stream_data, S, Word, _}} when S band 2 =:= 2 ->
    case Word of <<"let me in">> -> {ok, in}; _ -> {error, {not_the_word, Word}} end
  after Timeout -> {error, silence} end
end,
ok = application:set_env(quic, dist, [{auth_callback, Auth}, {auth_handshake_timeout, 3000} | Dist])
"""


def speaking(word: bytes, heard: list[tuple[Role, bytes]]) -> AuthCallback:
    async def callback(peer: AuthPeer) -> bool | str:
        peer.write(word)
        heard.append((peer.role, await peer.reader.read()))
        return True

    return callback


async def test_a_beam_with_a_callback_that_is_dialled(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    since(1, 3, 3)
    port, node = free_port(), FakeNode(NAME)
    heard: list[tuple[Role, bytes]] = []
    async with beam(tmp_path, port, certificates=certificates) as a:
        await a.eval(CALLBACK)
        callback = speaking(b"let me in", heard)
        await both_ways(a, await dials(port, certificates.tls(), node, auth_callback=callback))
        assert heard == [(Role.CLIENT, b"the server is a beam")]
        wrong = speaking(b"open sesame", heard)
        with pytest.raises((AuthenticationRefused, HandshakeEnded)):
            await dials(port, certificates.tls(), FakeNode("other@127.0.0.1"), auth_callback=wrong)


async def test_a_beam_with_a_callback_that_dials(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    since(1, 3, 3)
    node = FakeNode(NAME)
    heard: list[tuple[Role, bytes]] = []
    settings = settings_of(certificates, auth_callback=speaking(b"let me in", heard))
    async with listening(settings, node) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, free_port(), certificates=certificates, nodes=table) as a:
            await a.eval(CALLBACK)
            assert await connect(a) == "true"
            await both_ways(a, Answering.at(node, await server.link()))
            assert heard == [(Role.SERVER, b"the client is a beam")]


async def test_a_beam_that_is_refused(
    certificates: CertificateFiles, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async def refuse(peer: AuthPeer) -> bool | str:
        return "no beams here"

    port = free_port()
    async with listening(settings_of(certificates, auth_callback=refuse), FakeNode(NAME)) as server:
        table = {NAME: ("127.0.0.1", server.address.port)}
        async with beam(tmp_path, port, certificates=certificates, nodes=table) as a:
            assert await connect(a) == "false"
            error = await server.error()
            assert isinstance(error, AcceptError)
            assert error.refusal is Refusal.AUTHENTICATION
            with pytest.raises(AuthenticationRefused, match="no beams here"):
                await dials(port, certificates.tls(), FakeNode(NAME), auth_callback=refuse)
            assert await a.eval("nodes(hidden)") == "[]"
