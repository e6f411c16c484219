"""Who is believed over QUIC: certificates of both sides, the auth_callback, pre-shared keys."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from quicdist.carrier import (
    AcceptError,
    AuthenticationRefused,
    AuthPeer,
    CertificateError,
    CertificateRefused,
    ConnectError,
    ExternalPsk,
    ListenError,
    PskRefused,
    Refusal,
    SetupTimeout,
)
from quicdist.carrier.quic.authentication import MAX_BYTES, AuthCallback
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.carrier.security.tls_config import TlsConfig
from quicdist.protocol import Role
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import (
    PATIENCE,
    SETUP_TIME,
    Listening,
    listening,
    nothing_half_made,
    quic_link,
    send,
    settings_of,
    until_seen,
)
from tests.carrier.security import HOSTS, Shown, TestCa, tls
from tests.support.virtual_time import in_virtual_time

SERVER = "server@127.0.0.1"
CLIENT = "client@127.0.0.1"
DAY = datetime.timedelta(days=1)
SECRET = secrets.token_bytes(32)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("ca"), "cluster-ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("stranger"), "strangers-ca")


async def dial(
    server: Listening, config: TlsConfig, *, name: str = CLIENT, to: str = SERVER, **more: Any
) -> QuicLink:
    settings = dataclasses.replace(QuicSettings(tls=config), **more)
    async with asyncio.timeout(PATIENCE):
        link = await QuicCarrier(settings).setup(to, server.address, FakeNode(name), setup_time=SETUP_TIME)
    return quic_link(link)


async def connects(server: Listening, config: TlsConfig, *, name: str = CLIENT, **more: Any) -> None:
    """Dial, and see that a message gets through."""
    client = await dial(server, config, name=name, **more)
    inbox = Inbox.of(await server.link())
    assert inbox.link.peer.name == name
    send(client, FakeNode(name), b"hello")
    assert (await inbox.get())[1] == b"hello"
    client.close()
    await client.wait_closed()
    await inbox.end()


async def logged(caplog: pytest.LogCaptureFixture, server: Listening, *words: str) -> None:
    """Wait for a warning that a connection was refused, with these words in it."""

    def there() -> bool:
        return any(
            record.name == "quicdist.carrier.quic"
            and record.levelno >= logging.WARNING
            and all(word in record.getMessage() for word in ("refused", *words))
            for record in caplog.records
        )

    if not there():
        with contextlib.suppress(TimeoutError):
            await until_seen(server, there)
    assert there(), caplog.text


# -- the dialler looks at the server's certificate ---------------------------------------------


async def test_a_chain_over_an_intermediate_ca(ca: TestCa, tmp_path: Path) -> None:
    below = TestCa(tmp_path, "below", issuer=ca)
    shown = below.sign(chain=[below])
    async with listening(QuicSettings(tls=tls(shown))) as server:
        await connects(server, tls(None, ca, verify=True))


BAD: dict[str, tuple[Callable[[TestCa, TestCa], Shown], str]] = {
    "wrong CA": (lambda ca, stranger: stranger.sign(), "unable to get local issuer certificate"),
    "self-signed": (lambda ca, stranger: ca.self_signed(), "self.signed certificate"),
    "expired": (lambda ca, stranger: ca.sign(since=-2 * DAY, until=-DAY), "no longer valid"),
    "not yet valid": (lambda ca, stranger: ca.sign(since=DAY, until=2 * DAY), "not valid yet"),
}
NOT_FOR_SERVERS = (
    lambda ca, stranger: ca.sign(uses=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    "does not include serverAuth",
)
NOT_FOR_CLIENTS = (
    lambda ca, stranger: ca.sign(uses=[ExtendedKeyUsageOID.SERVER_AUTH]),
    "does not include clientAuth",
)
WRONG_NAME = (lambda ca, stranger: ca.sign(hosts=["elsewhere.example"]), "elsewhere.example")
NAMELESS = (lambda ca, stranger: ca.sign(hosts=[]), "subjectAltName")


@pytest.mark.parametrize(
    ("make", "why"),
    [*BAD.values(), NOT_FOR_SERVERS, WRONG_NAME, NAMELESS],
    ids=[*BAD, "for clients only", "wrong name", "no name at all"],
)
async def test_a_server_whose_certificate_is_bad(
    ca: TestCa,
    stranger: TestCa,
    make: Callable[[TestCa, TestCa], Shown],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(QuicSettings(tls=tls(make(ca, stranger)))) as server:
        with pytest.raises(CertificateRefused, match=why) as caught:
            await dial(server, tls(None, ca, verify=True))
        assert not caught.value.by_peer
        assert caught.value.node == SERVER
        assert "the certificate of the peer was refused" in str(caught.value)
        await logged(caplog, server, "the peer refused our certificate")
        # And without verify nobody looks.
        await connects(server, tls(None))


async def test_a_name_of_ones_own_choice(ca: TestCa) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(hosts=["cluster.example"])))) as server:
        await connects(server, tls(None, ca, verify=True, server_name="cluster.example"))
        with pytest.raises(CertificateRefused, match="another"):
            await dial(server, tls(None, ca, verify=True, server_name="another.example"))


async def test_a_ca_file_of_any_make(ca: TestCa, stranger: TestCa, tmp_path: Path) -> None:
    """Several CAs, other line ends, text between and after: as openssl takes it."""
    text = "\r\n".join(["", "the cluster", *ca.file.read_text().splitlines(), "", "", ""])
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(stranger.file.read_bytes() + text.encode())
    async with listening(QuicSettings(tls=tls(ca.sign()))) as server:
        await connects(server, TlsConfig(cacert=mixed, verify=True))


async def test_one_certificate_that_all_nodes_share(ca: TestCa) -> None:
    """The way without any CA: each trusts that very certificate."""
    shown = ca.self_signed("shared")
    config = TlsConfig(shown.cert, shown.key, shown.cert, verify=True, client_certificate="require")
    async with listening(QuicSettings(tls=config)) as server:
        await connects(server, config)
        other = ca.self_signed("other")
        with pytest.raises(CertificateRefused, match=r"self.signed"):
            await dial(server, dataclasses.replace(config, cert=other.cert, key=other.key))


# -- the listener looks at the client's --------------------------------------------------------


@pytest.mark.parametrize("name", [CLIENT, "client@localhost", "client@::1"])
async def test_mutual_tls(ca: TestCa, name: str) -> None:
    config = tls(ca.sign(), ca, verify=True, client_certificate="require")
    async with listening(QuicSettings(tls=config)) as server:
        await connects(server, config, name=name)


async def test_mutual_tls_over_an_intermediate_ca(ca: TestCa, tmp_path: Path) -> None:
    below = TestCa(tmp_path, "below", issuer=ca)
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        await connects(server, tls(below.sign(chain=[below])))
        with pytest.raises(CertificateRefused, match="issuer"):
            await dial(server, tls(below.sign()))  # the one between is missing


@pytest.mark.parametrize("asking", ["request", "require"])
@pytest.mark.parametrize(("make", "why"), [*BAD.values(), NOT_FOR_CLIENTS], ids=[*BAD, "for servers only"])
async def test_a_client_whose_certificate_is_bad(
    ca: TestCa,
    stranger: TestCa,
    make: Callable[[TestCa, TestCa], Shown],
    why: str,
    asking: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate=asking))) as server:
        with pytest.raises(CertificateRefused, match=why) as caught:
            await dial(server, tls(make(ca, stranger)))
        assert caught.value.by_peer
        assert "the peer refused our certificate" in str(caught.value)
        await logged(caplog, server, "127.0.0.1", "its certificate")
        assert server.links.empty()
        await nothing_half_made(server)
        assert server.node.requested == []  # not a word of the distribution was spoken


async def test_a_client_without_certificate(ca: TestCa, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        with pytest.raises(
            CertificateRefused, match="a certificate is required and none was shown"
        ) as caught:
            await dial(server, tls(None))
        assert caught.value.by_peer
        await logged(caplog, server, "its certificate: a certificate is required")
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="request"))) as server:
        await connects(server, tls(None))


@pytest.mark.parametrize("asking", ["request", "require"])
@pytest.mark.parametrize("name", ["client@elsewhere", "client@10.0.0.1", "client@example.com"])
async def test_a_client_on_a_host_its_certificate_does_not_name(
    ca: TestCa, name: str, asking: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate=asking))) as server:
        with pytest.raises(CertificateRefused, match="the peer refused our certificate") as caught:
            await dial(server, tls(ca.sign()), name=name)
        assert caught.value.by_peer
        assert name in str(caught.value)
        error = await server.error()
        assert isinstance(error, AcceptError)
        assert error.refusal is Refusal.CERTIFICATE
        assert name in str(error)
        await logged(caplog, server, name)
        assert server.node.requested == []
        await nothing_half_made(server)


async def test_a_certificate_that_nobody_asked_for_is_not_shown(ca: TestCa, stranger: TestCa) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca))) as server:
        await connects(server, tls(stranger.sign(hosts=["elsewhere.example"])))


def test_to_ask_for_certificates_needs_a_ca(ca: TestCa) -> None:
    with pytest.raises(CertificateError, match="needs cacert"):
        QuicSettings(tls=tls(ca.sign(), client_certificate="require")).for_listening()
    with pytest.raises(CertificateError, match=r"'maybe'.*none, request, require"):
        TlsConfig(client_certificate="maybe")  # type: ignore[arg-type]


# -- the auth_callback -------------------------------------------------------------------------


@asynccontextmanager
async def guarded(
    certificates: CertificateFiles, callback: AuthCallback | None, **more: Any
) -> AsyncIterator[Listening]:
    async with listening(settings_of(certificates, auth_callback=callback, **more)) as server:
        yield server


def saying(answer: bool | str) -> Callable[[AuthPeer], Awaitable[bool | str]]:
    async def callback(peer: AuthPeer) -> bool | str:
        return answer

    return callback


async def test_the_callback_is_told_who_is_there(certificates: CertificateFiles, ca: TestCa) -> None:
    seen: list[AuthPeer] = []

    async def look(peer: AuthPeer) -> bool:
        seen.append(peer)
        return True

    config = tls(ca.sign("both"), ca, verify=True, client_certificate="require")
    async with listening(QuicSettings(tls=config, auth_callback=look)) as server:
        await connects(server, config, auth_callback=look)
        by_role = {peer.role: peer for peer in seen}
        assert set(by_role) == {Role.CLIENT, Role.SERVER}
        assert by_role[Role.CLIENT].node == SERVER
        assert by_role[Role.SERVER].node is None
        assert by_role[Role.CLIENT].remote_address == server.address
        assert by_role[Role.SERVER].local_address == server.address
        assert by_role[Role.SERVER].remote_address.port == by_role[Role.CLIENT].local_address.port
        for peer in seen:
            assert peer.certificate is not None
            assert "both" in peer.certificate.subject.rfc4514_string()
            assert peer.certificate_chain == ()


async def test_nobody_asked_for_a_certificate(certificates: CertificateFiles) -> None:
    shown: list[object] = []

    async def look(peer: AuthPeer) -> bool:
        shown.append(peer.certificate)
        return True

    async with guarded(certificates, look) as server:
        await connects(server, certificates.tls(verify=True))
        assert shown == [None]


@pytest.mark.parametrize(
    ("answer", "why"),
    [(False, "authentication refused"), ("not you", "not you"), (None, "refused"), (1, "refused")],
)
async def test_a_server_that_refuses(
    certificates: CertificateFiles, answer: bool | str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(certificates, saying(answer)) as server:
        with pytest.raises(AuthenticationRefused, match=why) as caught:
            await dial(server, certificates.tls())
        assert caught.value.by_peer
        error = await server.error()
        assert isinstance(error, AcceptError)
        assert error.refusal is Refusal.AUTHENTICATION
        assert not error.by_peer
        await logged(caplog, server, why)
        assert server.node.requested == []
        await nothing_half_made(server)


async def test_a_client_that_refuses(certificates: CertificateFiles) -> None:
    async def wait_for_word(peer: AuthPeer) -> bool | str:
        await peer.reader.readexactly(1)
        return "not there"

    async def greet(peer: AuthPeer) -> bool:
        peer.write(b"!")
        return True

    async with guarded(certificates, greet) as server:
        with pytest.raises(AuthenticationRefused, match="not there") as caught:
            await dial(server, certificates.tls(), auth_callback=wait_for_word)
        assert not caught.value.by_peer
        error = await server.error()
        assert isinstance(error, AcceptError)
        assert error.refusal is Refusal.AUTHENTICATION
        assert error.by_peer
        assert "not there" in str(error)
        await nothing_half_made(server)


async def test_a_callback_that_fails(
    certificates: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(peer: AuthPeer) -> bool:
        raise RuntimeError("what went wrong is nobody's business")

    async with guarded(certificates, fail) as server:
        with pytest.raises(AuthenticationRefused) as caught:
            await dial(server, certificates.tls())
        assert "nobody's business" not in str(caught.value)
        assert "nobody's business" in caplog.text
        await server.error()


@in_virtual_time
async def test_a_callback_that_takes_too_long(certificates: CertificateFiles) -> None:
    cancelled = asyncio.Event()

    async def wait(peer: AuthPeer) -> bool:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()
        return True

    async with guarded(certificates, wait, auth_handshake_timeout=0.2) as server:
        with pytest.raises(AuthenticationRefused, match=r"longer than 0\.2 s"):
            await dial(server, certificates.tls())
        assert cancelled.is_set()
        await server.error()


@in_virtual_time
async def test_authentication_has_a_time_of_its_own(certificates: CertificateFiles) -> None:
    """setup_time is for the rest: the callback may take longer."""
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def wait(peer: AuthPeer) -> bool:
        begun.set()
        await go_on.wait()
        return True

    async with listening(settings_of(certificates, auth_callback=wait), setup_time=SETUP_TIME) as server:
        short = 0.5
        settings = settings_of(certificates, auth_callback=wait)
        dialling = asyncio.ensure_future(
            QuicCarrier(settings).setup(SERVER, server.address, FakeNode(CLIENT), setup_time=short)
        )
        await begun.wait()
        loop = asyncio.get_running_loop()
        loop.call_later(2 * short, go_on.set)
        link = await dialling
        link.close()
        (await server.link()).close()
        # Without a callback of its own, it has no more than setup_time.
        begun.clear()
        go_on.clear()
        with pytest.raises(SetupTimeout):
            await QuicCarrier(settings_of(certificates)).setup(
                SERVER, server.address, FakeNode(CLIENT), setup_time=short
            )
        await server.error()


async def test_a_challenge_over_streams_of_their_own(certificates: CertificateFiles) -> None:
    """Both prove a secret that is none of the distribution's, before its handshake."""

    def proving(secret: bytes) -> AuthCallback:
        async def callback(peer: AuthPeer) -> bool | str:
            challenge = secrets.token_bytes(16)
            peer.write(challenge)
            theirs = await peer.reader.readexactly(16)
            peer.write(prove(secret, theirs, peer.role))
            other = Role.SERVER if peer.role is Role.CLIENT else Role.CLIENT
            proof = await peer.reader.readexactly(32)
            return proof == prove(secret, challenge, other) or "wrong proof"

        return callback

    def prove(secret: bytes, challenge: bytes, role: Role) -> bytes:
        return hmac.digest(secret, challenge + role.value.encode(), "sha256")

    async with guarded(certificates, proving(b"one")) as server:
        await connects(server, certificates.tls(), auth_callback=proving(b"one"))
        with pytest.raises(AuthenticationRefused, match="wrong proof"):
            await dial(server, certificates.tls(), auth_callback=proving(b"two"))
        await server.error()
        await nothing_half_made(server)


async def test_a_token_and_the_end_of_it(certificates: CertificateFiles) -> None:
    async def give(peer: AuthPeer) -> bool:
        peer.write(b"a token")
        peer.write_eof()
        peer.write_eof()
        return True

    async def take(peer: AuthPeer) -> bool:
        return await peer.reader.read() == b"a token"

    async with guarded(certificates, take) as server:
        await connects(server, certificates.tls(), auth_callback=give)


@in_virtual_time
async def test_a_peer_without_a_callback(certificates: CertificateFiles) -> None:
    """It does not know of the stream, and goes on with the handshake, which is not read."""

    async def ask(peer: AuthPeer) -> bool:
        peer.write(b"who are you?")
        return bool(await peer.reader.read())

    async with guarded(certificates, ask, auth_handshake_timeout=0.5) as server:
        with pytest.raises(ConnectError):
            await dial(server, certificates.tls())
        error = await server.error()
        assert isinstance(error, AcceptError)
        assert error.refusal is Refusal.AUTHENTICATION
        assert server.node.requested == []


async def test_a_peer_that_leaves_in_the_middle(certificates: CertificateFiles) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(peer: AuthPeer) -> bool:
        begun.set()
        try:
            await peer.reader.read()
        finally:
            cancelled.set()
        return True

    async def refuse(peer: AuthPeer) -> str:
        await begun.wait()
        return "no thanks"

    async with guarded(certificates, wait) as server:
        with pytest.raises(AuthenticationRefused, match="no thanks"):
            await dial(server, certificates.tls(), auth_callback=refuse)
        await server.error()
        assert cancelled.is_set()


async def test_what_is_sent_to_authenticate_is_bounded(certificates: CertificateFiles) -> None:
    async def flood(peer: AuthPeer) -> bool:
        peer.write(bytes(MAX_BYTES + 1))
        return bool(await peer.reader.read())

    async def listen(peer: AuthPeer) -> bool:
        return bool(await peer.reader.read())

    async with guarded(certificates, listen) as server:
        with pytest.raises(AuthenticationRefused, match="more than"):
            await dial(server, certificates.tls(), auth_callback=flood)
        await server.error()


async def test_a_dial_that_is_called_off_ends_the_callback(certificates: CertificateFiles) -> None:
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    async def wait(peer: AuthPeer) -> bool:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()
        return True

    async with guarded(certificates, None) as server:
        dialling = asyncio.ensure_future(dial(server, certificates.tls(), auth_callback=wait))
        await begun.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        assert cancelled.is_set()
        # The listener may hear of it before anybody has accepted it.
        await nothing_half_made(server)


# -- pre-shared keys ---------------------------------------------------------------------------

PSK = ExternalPsk(b"cluster", SECRET)


async def test_a_psk_in_place_of_certificates() -> None:
    async with listening(QuicSettings(tls=TlsConfig(psks={b"cluster": SECRET}))) as server:
        # verify: who knows the secret has shown who it is.
        await connects(server, TlsConfig(external_psk=PSK, verify=True))


async def test_a_psk_found_by_a_function(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[bytes] = []

    def find(identity: bytes) -> bytes | None:
        asked.append(identity)
        if identity == b"bug":
            raise RuntimeError("a bug")
        return {b"cluster": SECRET, b"short": b"short"}.get(identity)

    async with listening(QuicSettings(tls=TlsConfig(psks=find))) as server:
        await connects(server, TlsConfig(external_psk=PSK))
        for identity in (b"bug", b"short", b"unknown"):
            with pytest.raises(PskRefused):
                await dial(server, TlsConfig(external_psk=ExternalPsk(identity, SECRET)))
        assert asked == [b"cluster", b"bug", b"short", b"unknown"]
        assert "a bug" in caplog.text


async def test_a_psk_beside_certificates(certificates: CertificateFiles) -> None:
    config = dataclasses.replace(certificates.tls(), psks={b"cluster": SECRET})
    async with listening(QuicSettings(tls=config)) as server:
        await connects(server, TlsConfig(external_psk=PSK))
        await connects(server, TlsConfig(cacert=certificates.ca, verify=True))


async def test_a_psk_where_client_certificates_are_required(certificates: CertificateFiles) -> None:
    """Either will do: the secret, or a certificate."""
    config = dataclasses.replace(certificates.tls(), psks={b"cluster": SECRET}, client_certificate="require")
    async with listening(QuicSettings(tls=config)) as server:
        await connects(server, TlsConfig(external_psk=PSK))
        await connects(server, certificates.tls())
        with pytest.raises(CertificateRefused):
            await dial(server, TlsConfig())


@pytest.mark.parametrize("with_certificates", [False, True])
async def test_another_secret(
    certificates: CertificateFiles, with_certificates: bool, caplog: pytest.LogCaptureFixture
) -> None:
    base = certificates.tls() if with_certificates else TlsConfig()
    async with listening(QuicSettings(tls=dataclasses.replace(base, psks={b"cluster": bytes(32)}))) as server:
        with pytest.raises(PskRefused, match="our pre-shared key: the secret differs") as caught:
            await dial(server, TlsConfig(external_psk=PSK))
        assert caught.value.by_peer
        await logged(caplog, server, "its pre-shared key: the secret differs")


async def test_no_fall_back_to_a_certificate(certificates: CertificateFiles) -> None:
    """A server that knows nothing of the PSK shows its certificate, and nobody looks at it."""
    async with listening(settings_of(certificates)) as server:
        with pytest.raises(PskRefused, match="did not accept our pre-shared key") as caught:
            await dial(server, TlsConfig(external_psk=PSK))
        assert not caught.value.by_peer


async def test_no_psk_where_one_is_required(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(QuicSettings(tls=TlsConfig(psks={b"cluster": SECRET}))) as server:
        with pytest.raises(PskRefused, match="the peer requires a pre-shared key") as caught:
            await dial(server, TlsConfig())
        assert caught.value.by_peer
        await logged(caplog, server, "its pre-shared key")
        with pytest.raises(PskRefused, match="the peer refused our pre-shared key"):
            await dial(server, TlsConfig(external_psk=ExternalPsk(b"another", SECRET)))


async def test_nothing_to_listen_with() -> None:
    with pytest.raises(ListenError, match="needs a certificate"):
        await QuicCarrier(QuicSettings()).listen(SERVER, host="127.0.0.1")


def test_what_is_no_psk() -> None:
    with pytest.raises(CertificateError, match="1 to 1024 bytes"):
        ExternalPsk(b"", SECRET)
    with pytest.raises(CertificateError, match="at least 16"):
        ExternalPsk(b"cluster", b"too short")
    with pytest.raises(CertificateError, match="at least 16"):
        QuicSettings(tls=TlsConfig(psks={b"cluster": b"too short"})).for_listening()
    assert SECRET.hex() not in repr(PSK)
    assert repr(SECRET) not in repr(TlsConfig(external_psk=PSK, psks={b"cluster": SECRET}))


def test_hosts_of_the_certificates_here() -> None:
    assert SERVER.partition("@")[2] in HOSTS
