"""What a link over TCP does, one over TLS does: the same tests, on links of the TLS carrier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quicdist.carrier import AcceptError, CertificateAndKey, TlsCarrier, TlsOptions, TlsSettings
from quicdist.carrier.tls.link import TlsLink
from tests.carrier import tcp_peers, test_tcp
from tests.carrier.nodes import FakeNode
from tests.carrier.security import TestCa
from tests.carrier.tcp_peers import joined, listening, raw_dial
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
