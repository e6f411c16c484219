"""The ticket store, and what a ticket is good for."""

from __future__ import annotations

import dataclasses
import datetime

from aioquic import tls as aioquic_tls

from quicdist.carrier.quic.driver.tickets import TicketKey, TicketStore
from quicdist.carrier.quic.engine.aioquic.tickets import (
    MAX_LIFETIME,
    SessionTicket,
)
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles, make_development_certificates

NOW = datetime.datetime.now(datetime.UTC)


def ticket(name: bytes = b"t", *, seconds: float = 3600.0) -> SessionTicket:
    return SessionTicket(
        aioquic_tls.SessionTicket(
            age_add=0,
            cipher_suite=aioquic_tls.CipherSuite.AES_128_GCM_SHA256,
            not_valid_before=NOW - datetime.timedelta(hours=1),
            not_valid_after=NOW + datetime.timedelta(seconds=seconds),
            resumption_secret=bytes(32),
            server_name="127.0.0.1",
            ticket=name,
        )
    )


def test_a_ticket_is_taken_once() -> None:
    store: TicketStore[str] = TicketStore()
    store.put("a", ticket())
    assert store.take("a") == ticket()
    assert store.take("a") is None


def test_the_newest_ticket_of_a_key_is_kept() -> None:
    store: TicketStore[str] = TicketStore()
    store.put("a", ticket(b"old"))
    store.put("a", ticket(b"new"))
    taken = store.take("a")
    assert taken is not None
    assert taken.identity == b"new"
    assert len(store) == 0


def test_an_expired_ticket_is_not_given_out() -> None:
    store: TicketStore[str] = TicketStore()
    store.put("a", ticket(seconds=-1))
    assert store.take("a") is None
    assert len(store) == 0


def test_a_store_is_bounded_and_the_oldest_give_way() -> None:
    store: TicketStore[int] = TicketStore(capacity=3)
    for number in (1, 2, 3, 1, 4):
        store.put(number, ticket())
    assert len(store) == 3
    assert [number for number in (1, 2, 3, 4) if store.take(number)] == [1, 3, 4]


def test_a_ticket_ends_with_what_it_rests_on() -> None:
    soon = NOW + datetime.timedelta(minutes=1)
    assert ticket().bounded(soon).not_valid_after == soon
    assert ticket().bounded(NOW + datetime.timedelta(days=1)) == ticket()
    longest = ticket().session.not_valid_before + datetime.timedelta(seconds=MAX_LIFETIME)
    assert ticket(seconds=1e9).bounded().not_valid_after == longest


def test_a_ticket_is_for_one_node_and_one_belief(certificates: CertificateFiles, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    other = make_development_certificates(tmp_path_factory.mktemp("other"))
    tls = certificates.tls(verify=True)
    variants = [
        tls,
        dataclasses.replace(tls, verify=False),
        dataclasses.replace(tls, cacert=other.ca),
        dataclasses.replace(tls, server_name="elsewhere"),
        dataclasses.replace(tls, cert=None, key=None),
    ]
    keys = {
        TicketKey.of("a@127.0.0.1", QuicSettings(tls=variant).for_dialling("127.0.0.1"))
        for variant in variants
    }
    assert len(keys) == len(variants)
    same = QuicSettings(tls=tls).for_dialling("127.0.0.1")
    assert TicketKey.of("a@127.0.0.1", same) in keys
    assert TicketKey.of("b@127.0.0.1", same) not in keys


def test_transport_parameters_that_are_none_take_no_early_data() -> None:
    for parameters in (b"", b"\x40", b"\x01\x05ab", bytes(300)):
        session = dataclasses.replace(ticket().session, other_extensions=[(0x39, parameters)])
        assert not SessionTicket(session).takes_early_data
