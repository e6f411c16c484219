"""``cert``, ``key`` and ``cacert`` of a configuration: certificates and keys as terms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from quicdist.carrier.security.certificates import make_development_certificates
from quicdist.carrier.security.credentials import PrivateKey
from quicdist.carrier.security.tls_config import TlsConfig
from quicdist.config import Config, ConfigError, read_config
from quicdist.term import Atom, format_term
from tests.support.beam import Beam

KINDS: dict[str, Callable[[], PrivateKey]] = {
    "rsa": functools.partial(rsa.generate_private_key, 65537, 2048),
    "secp256r1": functools.partial(ec.generate_private_key, ec.SECP256R1()),
    "secp384r1": functools.partial(ec.generate_private_key, ec.SECP384R1()),
    "secp521r1": functools.partial(ec.generate_private_key, ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}


def read(directory: Path, dist: str) -> Config:
    (directory / "sys.config").write_text(f"[{{quic, [{{dist, [{dist}]}}]}}].")
    return read_config(directory / "sys.config", environ={})


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def der(key: PrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


@pytest.mark.beam
@pytest.mark.otp_application("public_key")
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_as_the_record_of_public_key(tmp_path: Path, kind: str) -> None:
    """What quic_dist wants there: ``public_key:pem_entry_decode/1``."""
    key = KINDS[kind]()
    with Beam() as beam:
        record = beam.eval_now("public_key:pem_entry_decode(hd(public_key:pem_decode(Data)))", pem(key))
    found = read(tmp_path, f"{{key, {record}}}").key
    assert found is not None
    assert found == pem(key)


def test_a_key_as_type_and_der(tmp_path: Path) -> None:
    """What OTP's ``ssl`` takes, and quic_dist does not."""
    one, other = KINDS["rsa"](), KINDS["secp256r1"]()
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    cases = [
        ("RSAPrivateKey", der(one, traditional), one),
        ("ECPrivateKey", der(other, traditional), other),
        ("PrivateKeyInfo", der(other, serialization.PrivateFormat.PKCS8), other),
    ]
    for kind, data, key in cases:
        assert read(tmp_path, f"{{key, {format_term((Atom(kind), data))}}}").key == pem(key)


@pytest.mark.parametrize(
    "key",
    [
        "<<1,2,3>>",
        "{'RSAPrivateKey', <<1,2,3>>}",
        "{'DSAPrivateKey', <<1,2,3>>}",
        "{'RSAPrivateKey', 'two-prime', 16, 3, 3, 3, 5, 1, 3, 2, asn1_NOVALUE}",
        "{'ECPrivateKey', 1, <<0>>, {namedCurve, {1,2,840,10045,3,1,7}}, <<>>, asn1_NOVALUE}",
        "{'ECPrivateKey', 1, <<77>>, {namedCurve, {1,2,3}}, <<>>, asn1_NOVALUE}",
    ],
)
def test_an_invalid_key_is_a_config_error_that_does_not_show_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="dist key: an RSA or EC private key") as raised:
        read(tmp_path, f"{{key, {key}}}")
    assert "got" not in str(raised.value)


@pytest.mark.parametrize("option", ["cert", "cacert"])
@pytest.mark.parametrize("value", ["<<1>>", '"cert.pem"', "[]", "[<<1>>]"])
def test_an_invalid_certificate_is_a_config_error(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"dist {option}: a certificate in DER expected"):
        read(tmp_path, f"{{{option}, {value}}}")


def test_terms_override_files(tmp_path: Path) -> None:
    """``quic_dist:load_credentials/1``: a certificate and its key as terms go before both files."""
    files = make_development_certificates(tmp_path / "certs")
    cert, ca = (
        format_term(
            x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(serialization.Encoding.DER)
        )
        for file in (files.cert, files.ca)
    )
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    term = format_term((Atom("PrivateKeyInfo"), der(key, serialization.PrivateFormat.PKCS8)))
    named = f'{{cert_file, "{files.cert}"}}, {{key_file, "{files.key}"}}, {{cacert_file, "{files.ca}"}}'
    paths = (files.cert, files.key, files.ca)

    both = read(tmp_path, f"{{cert, {cert}}}, {{key, {term}}}, {{cacert, [{ca}]}}, {named}")
    assert both.unsupported == ()
    assert [isinstance(one, bytes) for one in both.certificates] == [True, True, True]
    own, its_key, cacert = both.certificates
    loaded = TlsConfig(own, its_key, cacert).load()
    assert loaded is not None
    assert loaded.fingerprint == files.fingerprint
    assert TlsConfig(cacert=cacert).load_ca() == TlsConfig(cacert=files.ca).load_ca()

    for one, option in ((f"{{cert, {cert}}}", "cert"), (f"{{key, {term}}}", "key")):
        alone = read(tmp_path, f"{one}, {named}")
        assert alone.certificates == paths
        assert [entry.option for entry in alone.unsupported] == [f"dist {option}"]


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    key = pem(KINDS["secp256r1"]())
    term = format_term((Atom("PrivateKeyInfo"), der(KINDS["secp256r1"](), serialization.PrivateFormat.PKCS8)))
    assert "PRIVATE" not in repr(read(tmp_path, f"{{key, {term}}}")) + repr(TlsConfig(key=key))
