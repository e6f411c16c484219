"""Our loss recovery has all that aioquic calls of its own."""

from __future__ import annotations

import ast
import inspect

import aioquic.quic.connection
import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketRecovery, QuicPacketSpace

from quicdist.carrier.quic.engine.aioquic.configuration import Configuration, client_configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.recovery import Recovery
from quicdist.carrier.quic.engine.aioquic.release import release
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles


def used() -> set[tuple[str, ...]]:
    """What aioquic's connection uses of ``self._loss``: names of attributes, one of the other."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(aioquic.quic.connection))):
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id == "self" and names[:1] == ["_loss"] and len(names) > 1:
            found.add(tuple(names[1:]))
    return found


def test_it_has_all_names_that_aioquic_uses() -> None:
    recovery = Connection(configuration=Configuration(is_client=True))._loss
    assert isinstance(recovery, Recovery)
    names = used()
    assert ("on_ack_received",) in names
    assert ("_pacer", "next_send_time") in names
    for path in names:
        thing: object = recovery
        for name in path:
            assert hasattr(thing, name), path
            thing = getattr(thing, name)


@pytest.mark.parametrize(
    "name",
    [
        "discard_space",
        "get_loss_detection_time",
        "get_probe_timeout",
        "on_ack_received",
        "on_loss_detection_timeout",
        "on_packet_sent",
        "reschedule_data",
    ],
)
def test_its_methods_take_what_aioquic_s_take(name: str) -> None:
    theirs = inspect.signature(getattr(QuicPacketRecovery, name)).parameters
    ours = inspect.signature(getattr(Recovery, name)).parameters
    assert {(p.name, p.kind) for p in theirs.values()} == {(p.name, p.kind) for p in ours.values()}


def test_packets_and_spaces_have_what_is_used_of_them() -> None:
    space = vars(QuicPacketSpace())
    assert space.keys() >= {
        "ack_at",
        "ack_eliciting_in_flight",
        "is_application_data",
        "largest_acked_packet",
        "loss_time",
        "sent_packets",
    }
    assert inspect.signature(QuicSentPacket).parameters.keys() >= {
        "packet_number",
        "sent_time",
        "sent_bytes",
        "in_flight",
        "is_ack_eliciting",
        "is_crypto_packet",
        "delivery_handlers",
    }


@pytest.mark.parametrize("algorithm", ["cubic", "reno"])
def test_settings_choose_the_congestion_control(certificates: CertificateFiles, algorithm: str) -> None:
    tls = certificates.tls(verify=False)
    settings = QuicSettings(tls=tls, congestion_control=algorithm, initial_rtt=0.3)
    quic = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
    assert isinstance(quic._loss, Recovery)
    assert quic._loss.get_probe_timeout() == 0.6
    assert quic._loss.congestion_window == 10 * 1200


def test_an_unknown_congestion_control_is_refused() -> None:
    with pytest.raises(ValueError, match="congestion_control 'vegas'"):
        QuicSettings(congestion_control="vegas")


def test_a_released_connection_holds_no_packets(certificates: CertificateFiles) -> None:
    settings = QuicSettings(tls=certificates.tls(verify=False))
    quic = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
    quic.connect(("127.0.0.1", 1), 0.0)
    quic.datagrams_to_send(0.0)
    quic.handle_timer(1.0)
    assert isinstance(quic, QuicConnection)
    release(quic)
    assert isinstance(quic._loss, Recovery)
    assert quic._loss._records == {}
