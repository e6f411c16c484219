"""Certificates of the right CA that are strange: each is refused by a TLS alert or an error of its own, with
one line, and its connection leaves nothing. Attacks on the code that reads certificates look like this."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import pytest
from aioquic import tls as aioquic_tls
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from quicdist.carrier import CertificateRefused
from quicdist.carrier.quic.engine.aioquic.verification import (
    MAX_CERTIFICATES,
    MAX_CERTIFICATES_SIZE,
    MAX_RSA_BITS,
    MAX_TEXT,
    check_client,
    check_keys,
    check_server_use,
    check_size,
    mismatch,
)
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.client_trust import ClientTrust
from tests.carrier.quic_support import listening, nothing_half_made
from tests.carrier.security import TestCa, tls
from tests.carrier.strange_certificates import (
    HOST,
    KEYS,
    NAMES_IT,
    STRANGE_NAMES,
    STRANGE_OTHERWISE,
    sign,
)
from tests.carrier.test_quic_security import connects, dial


@pytest.fixture
def ca(tmp_path: Path) -> TestCa:
    return TestCa(tmp_path, "ca")


def read(shown_cert: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(shown_cert.read_bytes())[0]


STRANGE = {**STRANGE_NAMES, **STRANGE_OTHERWISE}


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_certificate_raises_alerts_and_nothing_else(ca: TestCa, tmp_path: Path, what: str) -> None:
    certificate = read(sign(ca, tmp_path, STRANGE[what]).cert)
    trust = ClientTrust(ca.file.read_bytes(), required=True)
    for host in (HOST, "node.example.com", "xn--\x80", "\xff!_", "a" * 300, "::1", "-", "*"):
        why = mismatch(trust, certificate, (), host)
        if what in STRANGE_NAMES or host != HOST:
            assert why is not None, host
        assert why is None or (why.isprintable() and len(why) <= MAX_TEXT + 3)
    alerts: list[str] = []
    try:
        check_server_use(certificate)
        check_client(trust, certificate, ())
    except aioquic_tls.Alert as alert:
        alerts.append(str(alert))
    assert all(text.isprintable() and len(text) <= MAX_TEXT + 3 for text in alerts)


@pytest.mark.parametrize("what", STRANGE)
async def test_a_strange_certificate_of_a_node_that_dials_is_refused(
    ca: TestCa, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        with pytest.raises(CertificateRefused) as caught:
            await dial(server, tls(sign(ca, tmp_path, STRANGE[what])))
        assert caught.value.by_peer
        await nothing_half_made(server)
        assert server.node.requested == []
    ours = [record for record in caplog.records if record.name.startswith("quicdist")]
    lines = [record for record in ours if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].exc_info is None
    assert lines[0].getMessage().isprintable()
    assert len(lines[0].getMessage()) < 1100


@pytest.mark.parametrize("what", STRANGE)
async def test_a_strange_certificate_of_a_node_that_is_dialled_is_refused(
    ca: TestCa, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(QuicSettings(tls=tls(sign(ca, tmp_path, STRANGE[what])))) as server:
        with pytest.raises(CertificateRefused) as caught:
            await dial(server, tls(None, ca, verify=True))
        assert not caught.value.by_peer
        assert str(caught.value).isprintable()
        await nothing_half_made(server)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("kind", ["EC P-256", "EC P-521", "Ed25519", "Ed448", "RSA 2048"])
async def test_keys_that_tls_has(ca: TestCa, tmp_path: Path, kind: str) -> None:
    shown = sign(ca, tmp_path, NAMES_IT, key=KEYS[kind]())
    check_keys([read(shown.cert)])
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        await connects(server, tls(shown))


def test_keys_that_cost_too_much_or_are_none_of_tls(ca: TestCa, tmp_path: Path) -> None:
    class Long:
        """Of a key whose private part nobody knows: to sign with it is not needed."""

        def __init__(self, bits: int) -> None:
            modulus = secrets.randbits(bits) | 1 | 1 << (bits - 1)
            self.public = rsa.RSAPublicNumbers(65537, modulus).public_key()

        def certificate(self) -> x509.Certificate:
            return _signed(ca, self.public)

    check_keys([Long(MAX_RSA_BITS).certificate()])
    with pytest.raises(aioquic_tls.AlertBadCertificate, match="16384 bits"):
        check_keys([ca.certificate, Long(16384).certificate()])
    with pytest.raises(aioquic_tls.AlertUnsupportedCertificate, match="DSA"):
        check_keys([_signed(ca, dsa.generate_private_key(1024).public_key())])


def _signed(ca: TestCa, public_key: object) -> x509.Certificate:
    import datetime

    from cryptography.hazmat.primitives import hashes

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(ca.name)
        .issuer_name(ca.name)
        .public_key(public_key)  # type: ignore[arg-type]
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now)
        .sign(ca.key, hashes.SHA256())
    )


@pytest.mark.parametrize("who", ["dials", "is dialled"])
async def test_a_chain_of_too_many(ca: TestCa, tmp_path: Path, who: str) -> None:
    enough = sign(ca, tmp_path, NAMES_IT, chain=[ca.certificate] * (MAX_CERTIFICATES - 1))
    too_many = sign(ca, tmp_path, NAMES_IT, chain=[ca.certificate] * MAX_CERTIFICATES)
    if who == "dials":
        async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
            with pytest.raises(CertificateRefused, match=f"at most {MAX_CERTIFICATES} are accepted"):
                await dial(server, tls(too_many))
            await connects(server, tls(enough))
            await nothing_half_made(server)
    else:
        async with listening(QuicSettings(tls=tls(too_many))) as server:
            with pytest.raises(CertificateRefused, match=f"at most {MAX_CERTIFICATES} are accepted"):
                await dial(server, tls(None, ca, verify=True))
        async with listening(QuicSettings(tls=tls(enough))) as server:
            await connects(server, tls(None, ca, verify=True))


def test_certificates_of_too_many_bytes() -> None:
    check_size(MAX_CERTIFICATES_SIZE)
    with pytest.raises(aioquic_tls.AlertBadCertificate, match="are accepted"):
        check_size(MAX_CERTIFICATES_SIZE + 1)
