"""Certificate chains of each kind and length, with their CA."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

ChainKind = Literal["ed25519", "p256", "p384", "p521", "rsa2048", "rsa4096"]
KINDS: tuple[ChainKind, ...] = get_args(ChainKind)
LENGTHS = range(1, 5)

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_CURVES: dict[ChainKind, ec.EllipticCurve] = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
}
_HOSTS = [f"10.0.0.{number}" for number in range(1, 17)]
_DAY = datetime.timedelta(days=1)


@functools.cache
def _key(kind: ChainKind) -> PrivateKey:
    """One for all certificates of a chain: it takes long to make, and nobody looks whether they differ."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(kind: ChainKind, subject: str, issuer: str, *, is_ca: bool) -> bytes:
    key = _key(kind)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        hosts = [x509.IPAddress(ipaddress.ip_address(host)) for host in _HOSTS]
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    signed = builder.sign(key, None if kind == "ed25519" else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


@functools.cache
def chain(kind: ChainKind, length: int) -> tuple[bytes, bytes, bytes]:
    """A chain of ``length`` certificates that ends below its CA, its key, and the certificate of the CA, all
    in PEM form."""
    names = ["node", *(f"intermediate {number}" for number in range(1, length)), "root"]
    shown = [
        _certificate(kind, names[at], names[at + 1], is_ca=at > 0)  # from the leaf on
        for at in range(length)
    ]
    key = _key(kind).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return b"".join(shown), key, _certificate(kind, "root", "root", is_ca=True)
