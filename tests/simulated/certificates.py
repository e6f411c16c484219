"""Self-signed certificates of each kind, made once in a process."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Kind = Literal["ed25519", "p256", "p384", "rsa2048", "rsa4096"]

#: Hosts that each of them names: those of :func:`tests.simulated.nodes.nodes`.
HOSTS = [f"10.0.0.{number}" for number in range(1, 17)]
_DAY = datetime.timedelta(days=1)


@functools.cache
def certificate(kind: Kind = "ed25519") -> tuple[bytes, bytes]:
    """A certificate and its key, in PEM form. Signatures of ``ed25519`` and RSA have one length, so that
    the same seed makes the same datagrams; those of EC differ by a byte or two."""
    key = _key(kind)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1 << 150)
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host)) for host in HOSTS]),
            critical=False,
        )
        .sign(key, None if kind == "ed25519" else hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key(kind: Kind) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    match kind:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
