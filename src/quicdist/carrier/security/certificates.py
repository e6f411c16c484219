"""Makes development certificates: a CA and a node certificate.

The keys are EC P-256: every quic_dist up to 1.8.1 accepts them in both directions, as it does RSA, and they
make short handshakes. The file of the node certificate holds no other: ``quic_dist:load_credentials/1``
matches exactly one PEM entry.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quicdist import dependencies

dependencies.check("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.credentials import Credentials, fingerprint
from quicdist.carrier.security.tls_config import TlsConfig

#: Days a development certificate is valid.
VALID_DAYS = 825

CA_FILE = "ca.pem"
CERT_FILE = "cert.pem"
KEY_FILE = "key.pem"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files that :func:`make_development_certificates` has written."""

    ca: Path
    cert: Path
    key: Path
    fingerprint: str

    def tls(self, *, verify: bool = True) -> TlsConfig:
        """The settings that use these files."""
        return TlsConfig(self.cert, self.key, self.ca, verify)


def make_development_certificates(
    directory: str | os.PathLike[str], hosts: Iterable[str] = ("localhost", "127.0.0.1", "::1")
) -> CertificateFiles:
    """Make a new CA, and a node certificate for ``hosts`` (names or IP addresses).

    Writes ``ca.pem``, ``cert.pem`` and ``key.pem`` (readable by its owner only) into ``directory``, which is
    created if it does not exist. The CA's key is not kept, so it signs nothing else. For development and
    tests, not for production.

    Raises :class:`CertificateError` if a host is neither a name nor an IP address, or if a file cannot be
    written.
    """
    names = list(dict.fromkeys(hosts))
    if not names:
        raise CertificateError("a certificate needs at least one host")
    alternatives = x509.SubjectAlternativeName(list(map(_alternative_name, names)))
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("quicdist development CA")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca_name, key.public_key())
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    folder = Path(directory)
    files = CertificateFiles(
        folder / CA_FILE, folder / CERT_FILE, folder / KEY_FILE, fingerprint(certificate)
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        files.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_secret(files.key, key)
    except OSError as error:
        raise CertificateError(f"cannot write certificates into {folder}: {error.strerror}") from error
    return files


def unused_credentials() -> Credentials:
    """Credentials for a listener that has only PSKs: aioquic requires a certificate. It is never shown, and
    its key is not kept."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("unused")
    return Credentials(_builder(name, name, key.public_key()).sign(key, hashes.SHA256()), (), key)


def _write_secret(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)  # An existing file would keep its mode.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        if host:
            return x509.DNSName(host)
    except ValueError:
        pass
    raise CertificateError(f"{host!r} is neither a host name (in ASCII) nor an IP address")


def _key_usage(*, digital_signature: bool = False, certificate_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A peer's clock may run a little behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
