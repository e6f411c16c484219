"""The certificates of a run, good and strange."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
_GOOD = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


def _builder(subject: x509.Name, issuer: x509.Name, key: object) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def make_certificates(directory: Path) -> dict[str, str]:
    """Files by what they are: ``ca``, ``cert``, ``key``, and a pair of ``<kind>.cert`` and ``<kind>.key``
    for each of ``strange-san``, ``no-san``, ``other-host``, ``self-signed`` and ``chain``."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("hostile CA")
    ca = (
        _builder(issuer, issuer, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    files: dict[str, str] = {}

    def write(name: str, data: bytes) -> None:
        path = directory / name
        path.write_bytes(data)
        files[name] = str(path)

    pem = serialization.Encoding.PEM

    def pair(kind: str, names: list[x509.GeneralName] | None, *, own: bool = False, padding: int = 0) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(kind[:64])
        builder = _builder(subject, subject if own else issuer, key.public_key())
        if names is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        certificate = builder.sign(key if own else ca_key, hashes.SHA256())
        chain = [certificate]
        for number in range(padding):
            other = rsa.generate_private_key(65537, 2048)
            chain.append(
                _builder(_name(f"padding {number}"), issuer, other.public_key())
                .add_extension(
                    x509.SubjectAlternativeName([x509.DNSName(f"{'x' * 60}{n}.example") for n in range(20)]),
                    critical=False,
                )
                .sign(ca_key, hashes.SHA256())
            )
        prefix = "" if kind == "good" else f"{kind}."
        write(f"{prefix}cert", b"".join(one.public_bytes(pem) for one in chain))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        write(f"{prefix}key", private)

    write("ca", ca.public_bytes(pem))
    pair("good", list(_GOOD))
    pair("strange-san", [
        x509.DNSName("*"), x509.DNSName("xn--a.\n"), x509.DNSName("." * 3), x509.RFC822Name("a@b"),
        x509.UniformResourceIdentifier("http://[:::"),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"),
        x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
    ])  # fmt: skip
    pair("no-san", None)
    pair("other-host", [x509.DNSName("elsewhere.example")])
    pair("self-signed", list(_GOOD), own=True)
    pair("chain", list(_GOOD), padding=5)
    return files
