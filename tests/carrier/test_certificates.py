"""Development certificates and how certificates are loaded."""

from __future__ import annotations

import ipaddress
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from quicdist.carrier import CertificateError
from quicdist.carrier.security.certificates import CertificateFiles, make_development_certificates
from quicdist.carrier.security.credentials import fingerprint, load_credentials
from quicdist.carrier.security.tls_config import TlsConfig


def test_names_and_addresses_are_in_the_certificate(tmp_path: Path) -> None:
    files = make_development_certificates(tmp_path / "new", ["host.example", "10.0.0.1", "::1", "10.0.0.1"])
    certificate = load_credentials(files.cert, files.key).certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["host.example"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("::1"),
    ]


def test_the_ca_signs_the_certificate_alone(certificates: CertificateFiles) -> None:
    ca = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
    (certificate,) = x509.load_pem_x509_certificates(certificates.cert.read_bytes())
    certificate.verify_directly_issued_by(ca)
    # quic_dist:load_credentials/1 takes a file with exactly one certificate.
    assert certificates.cert.read_text().count("BEGIN CERTIFICATE") == 1


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("older, readable by all")
    (tmp_path / "key.pem").chmod(0o644)
    files = make_development_certificates(tmp_path)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_the_fingerprint_is_openssls(certificates: CertificateFiles) -> None:
    try:
        run = subprocess.run(
            ["openssl", "x509", "-in", certificates.cert, "-noout", "-fingerprint", "-sha256"],
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl on this machine to compare with")
    assert run.stdout.strip().partition("=")[2] == certificates.fingerprint


def test_openssl_verifies_the_chain(certificates: CertificateFiles) -> None:
    loaded = load_credentials(certificates.cert, certificates.key)
    assert loaded.fingerprint == fingerprint(loaded.certificate) == certificates.fingerprint


@pytest.mark.parametrize("hosts", [[], ["häuser"], [""]])
def test_hosts_that_are_none(tmp_path: Path, hosts: list[str]) -> None:
    with pytest.raises(CertificateError):
        make_development_certificates(tmp_path, hosts)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificateError, match="file"):
        make_development_certificates(tmp_path / "file")


def test_missing_and_wrong_files_are_named(certificates: CertificateFiles, tmp_path: Path) -> None:
    other = make_development_certificates(tmp_path / "other")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    missing = tmp_path / "missing.pem"
    cases: list[tuple[Path, Path, str]] = [
        (missing, certificates.key, r"missing\.pem.*No such file"),
        (certificates.cert, missing, r"missing\.pem.*No such file"),
        (nonsense, certificates.key, r"nonsense\.pem holds no certificate"),
        (certificates.cert, nonsense, r"nonsense\.pem holds no private key"),
        (certificates.cert, other.key, "does not match the certificate"),
    ]
    for cert, key, text in cases:
        with pytest.raises(CertificateError, match=text):
            TlsConfig(cert, key).load()


def test_settings_that_are_half_given(certificates: CertificateFiles, tmp_path: Path) -> None:
    assert TlsConfig().load() is None
    assert TlsConfig().load_ca() is None
    with pytest.raises(CertificateError, match="only one"):
        TlsConfig(certificates.cert).load()
    with pytest.raises(CertificateError, match="only one"):
        TlsConfig(key=certificates.key).load()
    with pytest.raises(CertificateError, match="No such file"):
        TlsConfig(cacert=os.fspath(tmp_path / "no.pem")).load_ca()


def test_pem_is_accepted_as_bytes(certificates: CertificateFiles, tmp_path: Path) -> None:
    """A secret store gives bytes, and nothing needs to be written."""
    cert, key, ca = (path.read_bytes() for path in (certificates.cert, certificates.key, certificates.ca))
    loaded = TlsConfig(cert, key, ca).load()
    assert loaded is not None
    assert loaded.fingerprint == certificates.fingerprint
    assert TlsConfig(cacert=ca).load_ca() == TlsConfig(cacert=certificates.ca).load_ca()
    other = make_development_certificates(tmp_path / "other")
    with pytest.raises(
        CertificateError, match=r"the private key in key \(bytes\) does not match the certificate in"
    ):
        TlsConfig(certificates.cert, other.key.read_bytes()).load()
    with pytest.raises(CertificateError, match=r"certificate \(bytes\) holds no certificate"):
        TlsConfig(b"nonsense", key).load()


def test_a_key_is_parsed_once(certificates: CertificateFiles) -> None:
    """Every dial reads it, and to check an RSA key of 4096 bits takes a second."""
    first, second = (certificates.tls().load() for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.private_key is second.private_key
