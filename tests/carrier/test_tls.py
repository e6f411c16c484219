"""What a link over TCP does, one over TLS does: the same tests, on links of the TLS carrier."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from quicdist.carrier import (
    AcceptError,
    CertificateAndKey,
    CertificateError,
    ConnectError,
    ListenError,
    PeerClosed,
    TlsCarrier,
    TlsOptions,
    TlsSettings,
)
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.tls.context import ContextSource, make_context
from quicdist.carrier.tls.link import TlsLink
from quicdist.carrier.tls.session import TlsSession
from quicdist.carrier.tls.writer import TlsWriter
from tests.carrier import tcp_peers, test_tcp
from tests.carrier.key_updates import KeyUpdates
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.security import TestCa
from tests.carrier.tcp_peers import RawPeer, joined, listening, raw_dial, raw_listener
from tests.carrier.test_keepalive import (  # noqa: F401
    frequent_switches,
    in_a_thread,
    test_messages_sent_while_the_loop_stands_still_are_sent_once,
    test_tcp_delivers_what_a_peer_sent_before_it_closed_meanwhile,
    test_tcp_sends_what_is_queued_and_no_tick_inside_a_frame,
    test_tcp_ticks_every_second_and_counts_them,
    to_echo,
)
from tests.carrier.test_tcp import (  # noqa: F401
    a,
    b,
    test_a_dial_that_is_cancelled_closes_its_connection,
    test_a_fault_in_a_large_read_ends_the_link_behind_what_came_before,
    test_a_large_read_of_costly_messages_does_not_hold_up_the_loop,
    test_a_link_that_ended_before_it_was_started_says_so,
    test_a_peer_that_dies_is_noticed,
    test_a_peer_whose_messages_take_long_is_not_silent,
    test_a_slow_peer_slows_its_sender,
    test_an_address_that_is_none,
    test_an_error_in_a_large_read_ends_the_link,
    test_closing_does_not_wait_for_ever_for_a_peer_that_reads_nothing,
    test_closing_tells_both_sides_once,
    test_drain_ends_with_the_link,
    test_ipv6_listens_for_ipv4_as_well,
    test_messages_both_ways_whole_and_in_order,
    test_no_tick_where_bytes_already_wait,
    test_nobody_there_is_told_at_once,
    test_nothing_of_a_large_read_comes_after_its_link_was_closed,
    test_over_ipv6,
    test_ticks,
    test_what_answers_a_batch_leaves_in_one_write,
    test_what_cannot_be_encoded_is_not_sent_and_costs_nothing,
    test_what_is_sent_in_one_turn_leaves_in_one_write,
    test_what_was_sent_before_closing_arrives,
)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TlsSettings:
    """Mutual TLS by certificates of one CA, for every carrier that these tests make."""
    ca = TestCa(tmp_path, "ca")
    shown = ca.sign("node", ["h", "127.0.0.1", "localhost"])
    side = TlsOptions(certificates=(CertificateAndKey(shown.cert, shown.key),), cacert=ca.file, verify=True)
    both = TlsSettings(server=side, client=side)

    def carrier(**options: Any) -> TlsCarrier:
        return TlsCarrier(both, **options)

    for module in (tcp_peers, test_tcp):
        monkeypatch.setattr(module, "TcpCarrier", carrier)
    return both


async def test_links_know_that_they_are_tls(settings: TlsSettings) -> None:
    async with joined(FakeNode("a@127.0.0.1"), FakeNode("b@127.0.0.1")) as links:
        assert [link.carrier_name for link in links] == ["tls", "tls"]


@pytest.mark.parametrize("data", [b"\0\x15n" + bytes(20), b"GET / HTTP/1.1\r\n\r\n", bytes(64 * 1024)])
async def test_a_peer_that_does_not_speak_tls_is_refused_and_told_by_an_alert(
    settings: TlsSettings, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    node = FakeNode("b@127.0.0.1")
    async with listening() as (carrier, listener, address), raw_dial(address) as peer:
        peer.writer.write(data)
        async for incoming in carrier.accept(listener):
            with pytest.raises(AcceptError, match="TLS handshake failed"):
                await carrier.accept_connection(incoming, node, setup_time=10)
            break
        said = await peer.closed()
    assert said[:1] in (b"", b"\x15")  # nothing, where the kernel has reset the connection, or an alert
    assert "the peer does not speak TLS on this port" in caplog.text


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    ca = TestCa(tmp_path, "renewing-ca")
    first, second = ca.sign("first", ["127.0.0.1"]), ca.sign("second", ["127.0.0.1"])
    own = CertificateAndKey(tmp_path / "own.pem", tmp_path / "own.key")
    settings = TlsSettings(
        server=TlsOptions(certificates=(own,)), client=TlsOptions(cacert=ca.file, verify=True)
    )
    shown: list[bytes | None] = []
    for certificate in (first, second):
        (tmp_path / "own.pem").write_bytes(certificate.cert.read_bytes())
        (tmp_path / "own.key").write_bytes(certificate.key.read_bytes())
        if not shown:
            carrier = TlsCarrier(settings)
        async with joined(FakeNode("a@127.0.0.1"), FakeNode("b@127.0.0.1"), carrier) as (dialled, _):
            assert isinstance(dialled, TlsLink)
            shown.append(dialled.peer_certificate)
    assert shown[0] is not None
    assert shown[1] not in (None, shown[0])


# -- what a peer may cost --------------------------------------------------------------------------


async def test_half_open_connections_are_bounded_and_the_oldest_goes_first(
    settings: TlsSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has sent half a ClientHello, and is silent."""
    node = FakeNode("b@127.0.0.1")
    carrier = TlsCarrier(settings, max_half_open=2)
    async with listening(carrier) as (_, listener, address):
        peers = [RawPeer(*await asyncio.open_connection(address.host, address.port)) for _ in range(3)]
        for peer in peers:
            peer.writer.write(b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(50))
        accepted = [
            asyncio.create_task(
                carrier.accept_connection(await anext(carrier.accept(listener)), node, setup_time=0.3)
            )
            for _ in peers
        ]
        results = await asyncio.gather(*accepted, return_exceptions=True)
        for peer in peers:
            await peer.close()
    assert ["it is the oldest" in str(result) for result in results] == [True, False, False]
    assert all("no handshake within 0.3 s" in str(result) for result in results[1:])
    assert caplog.text.count("it is the oldest") == 1


def _keylogging(settings: TlsSettings, tmp_path: Path) -> ssl.SSLContext:
    context = make_context(settings.client, server_side=False)
    context.keylog_filename = str(tmp_path / "keys")
    return context


async def test_key_updates_whose_answers_a_stranger_does_not_read_end_its_connection(
    settings: TlsSettings, tmp_path: Path
) -> None:
    node = FakeNode("b@127.0.0.1")
    async with listening() as (carrier, listener, address):
        assert listener._server is not None
        listener._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        accepting = asyncio.create_task(tcp_peers.accept_one(carrier, listener, node))
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(sock.connect, (address.host, address.port))
        context = _keylogging(settings, tmp_path)
        tls = await asyncio.to_thread(context.wrap_socket, sock, server_hostname="127.0.0.1")
        raw = socket.socket(fileno=tls.detach())
        with raw:

            def send() -> None:
                updates = KeyUpdates(tmp_path / "keys")
                raw.setblocking(True)
                try:
                    while True:
                        raw.sendall(updates.make(1000))
                except OSError:
                    pass

            sending = asyncio.create_task(asyncio.to_thread(send))
            with pytest.raises(AcceptError, match="the peer does not read the answers to its messages"):
                await accepting
            await sending


async def test_key_updates_whose_answers_a_peer_does_not_read_end_the_link(
    settings: TlsSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _keylogging(settings, tmp_path)
    monkeypatch.setattr(ContextSource, "context", _instead(ContextSource.context, context))
    async with joined(FakeNode("a@127.0.0.1"), FakeNode("b@127.0.0.1")) as (link, other):
        inbox = Inbox.of(other)
        sock = link._writer.sock
        assert sock is not None
        assert other._writer.sock is not None
        other._writer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        updates = KeyUpdates(tmp_path / "keys", sent=2)  # the two messages of the handshake
        while not other.closed:
            data = updates.make(1000)
            while data and not other.closed:
                try:
                    data = data[sock.send(data) :]
                except BlockingIOError:
                    pass
                except OSError:
                    break
                await asyncio.sleep(0)
        assert "the peer does not read the answers to its messages" in str(await inbox.end())


def _instead(make: Any, context: ssl.SSLContext) -> Any:
    return lambda source: make(source) if source._server_side else context


# -- order -----------------------------------------------------------------------------------------


async def test_records_of_a_message_leave_while_the_loop_stands_still_before_a_tick_is_due() -> None:
    node = FakeNode("a@127.0.0.1")
    async with joined(node, FakeNode("b@127.0.0.1")) as (link, other):
        Inbox.of(link)
        inbox = Inbox.of(other)
        other._transport.pause_reading()
        writer = link._writer
        assert writer.sock is not None
        writer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for _ in range(100):  # until the kernel takes no more
            link.send(to_echo(node), bytes(200_000))
            await asyncio.sleep(0)
            if link.pending:
                break
        assert not writer.queue  # all of them are records
        writer._kept_at = time.monotonic()
        keeper = KeepAlive.of(asyncio.get_running_loop())
        peer_sock = os.dup(other._transport.get_extra_info("socket").fileno())

        def read() -> bytes:
            came = bytearray()
            until = time.monotonic() + 10
            while link.pending and time.monotonic() < until:
                writer._kept_at = time.monotonic()  # no tick is due
                keeper.act(1.0)
                try:
                    came += os.read(peer_sock, 1 << 20)
                except BlockingIOError:
                    time.sleep(0.001)
            return bytes(came)

        came = in_a_thread(read)
        os.close(peer_sock)
        assert link.pending == 0
        other._transport.resume_reading()
        other.data_received(came)
        assert (await inbox.get())[1] == bytes(200_000)


async def test_close_notify_waits_for_the_last_bytes_of_the_handshake() -> None:
    async with joined(FakeNode("a@127.0.0.1"), FakeNode("b@127.0.0.1")) as (link, other):
        Inbox.of(link)
        inbox = Inbox.of(other)
        link.pause_writing()  # as when the transport has bytes left
        link.close()
        assert isinstance(link._writer, TlsWriter)
        assert not link._writer.is_empty
        link.resume_writing()
        assert isinstance(await inbox.end(), PeerClosed)


def test_a_server_sends_nothing_of_its_own_after_the_handshake(settings: TlsSettings) -> None:
    """The kernel of a BEAM with ktls takes application data only."""
    client = TlsSession(
        make_context(settings.client, server_side=False), server_side=False, server_name="127.0.0.1"
    )
    server = TlsSession(make_context(settings.server, server_side=True), server_side=True)
    client.begin()
    while not server.is_established:
        server.receive_data(client.data_to_send())
        if not server.is_established:
            client.receive_data(server.data_to_send())
    assert client.version == "TLSv1.3"
    assert server.data_to_send() == b""


# -- certificates and names ------------------------------------------------------------------------


async def test_a_host_that_no_certificate_can_name_is_an_error_at_once() -> None:
    async with raw_listener() as (address, _):
        with pytest.raises(ConnectError, match="no certificate can name the host x"):
            await TlsCarrier(TlsSettings(client=TlsOptions(verify=True))).setup(
                f"b@{'x' * 70}.example", address, FakeNode("a@127.0.0.1"), setup_time=5
            )


async def test_a_server_that_verifies_without_cas_does_not_listen(settings: TlsSettings) -> None:
    carrier = TlsCarrier(replace(settings, server=replace(settings.server, cacert=None)))
    with pytest.raises(ListenError, match="needs their CAs, and no cacert is configured"):
        await carrier.listen("b@127.0.0.1", host="127.0.0.1")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("password", [None, "wrong"])
def test_an_encrypted_key_without_its_password_is_refused_without_asking(
    tmp_path: Path, settings: TlsSettings, form: PrivateFormat, password: str | None
) -> None:
    (own,) = settings.server.certificates
    assert isinstance(own.key, Path)
    key = load_pem_private_key(own.key.read_bytes(), None)
    file = tmp_path / "encrypted.key"
    file.write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"right")))
    options = replace(settings.server, certificates=(replace(own, key=file, password=password),))
    with pytest.raises(CertificateError, match=r"cannot use .* and its key: "):
        make_context(options, server_side=True)
    options = replace(settings.server, certificates=(replace(own, key=file, password="right"),))
    make_context(options, server_side=True)


async def test_changed_files_that_cannot_be_used_are_logged_once(
    tmp_path: Path, settings: TlsSettings, caplog: pytest.LogCaptureFixture
) -> None:
    (own,) = settings.server.certificates
    source = ContextSource(settings.server, server_side=True)
    before = source.context()
    assert isinstance(own.certificate, Path)
    own.certificate.write_bytes(b"half a fi")
    assert [source.context() for _ in range(3)] == [before] * 3
    assert caplog.text.count("changed TLS files are not used: cannot use ") == 1
