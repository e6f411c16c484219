"""CAs and certificates of all kinds, good and bad, for tests."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quicdist.carrier.security.tls_config import TlsConfig

DAY = datetime.timedelta(days=1)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
HOSTS = ("localhost", "127.0.0.1", "::1")
PEM = serialization.Encoding.PEM


@dataclass
class Shown:
    """Files of a certificate and its key."""

    cert: Path
    key: Path


class TestCa:
    """A CA that signs whatever it is asked to."""

    __test__ = False

    def __init__(self, directory: Path, name: str, issuer: TestCa | None = None) -> None:
        self.directory = directory
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        signer = issuer or self
        self.certificate = (
            _begin(self.name, signer.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer.key, hashes.SHA256())
        )
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(PEM))

    def sign(
        self,
        name: str = "node",
        hosts: Sequence[str] = HOSTS,
        *,
        uses: Sequence[x509.ObjectIdentifier] = BOTH,
        since: datetime.timedelta = -DAY,
        until: datetime.timedelta = DAY,
        chain: Sequence[TestCa] = (),
    ) -> Shown:
        """A certificate of this CA; ``since`` and ``until`` are counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, _leaf(subject, self.name, key, hosts, uses, since, until), key, chain)

    def self_signed(self, name: str = "self-signed", hosts: Sequence[str] = HOSTS) -> Shown:
        """One that is signed by nobody but itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _leaf(subject, subject, key, hosts, BOTH, -DAY, DAY)
        path = self.directory / name
        return _store(path, [builder.sign(key, hashes.SHA256())], key)

    def _write(
        self,
        name: str,
        builder: x509.CertificateBuilder,
        key: ec.EllipticCurvePrivateKey,
        chain: Sequence[TestCa],
    ) -> Shown:
        certificate = builder.sign(self.key, hashes.SHA256())
        path = self.directory / f"{name}-{certificate.serial_number:x}"
        return _store(path, [certificate, *(ca.certificate for ca in chain)], key)


def _store(path: Path, certificates: Sequence[x509.Certificate], key: ec.EllipticCurvePrivateKey) -> Shown:
    shown = Shown(path.with_suffix(".cert"), path.with_suffix(".key"))
    shown.cert.write_bytes(b"".join(certificate.public_bytes(PEM) for certificate in certificates))
    shown.key.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return shown


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def _leaf(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    uses: Sequence[x509.ObjectIdentifier],
    since: datetime.timedelta,
    until: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def tls(shown: Shown | None, ca: TestCa | None = None, **more: object) -> TlsConfig:
    """The settings of a node that shows one and believes the other."""
    given = {} if shown is None else {"cert": shown.cert, "key": shown.key}
    return TlsConfig(**given, cacert=ca and ca.file, **more)  # type: ignore[arg-type]
