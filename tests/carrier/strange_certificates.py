"""Certificates of the right CA that are strange in every other way."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.carrier.security import DAY, Shown, TestCa, _store

HOST = "127.0.0.1"
Builder = x509.CertificateBuilder


def der(tag: int, body: bytes) -> bytes:
    """One DER element."""
    size = len(body)
    if size < 128:
        length = bytes([size])
    else:
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes([0x80 | len(digits)]) + digits
    return bytes([tag]) + length + body


def raw_san(*names: bytes, critical: bool = False) -> Callable[[Builder], Builder]:
    """A subjectAltName of names in DER, whatever they are."""
    value = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der(0x30, b"".join(names)))
    return lambda builder: builder.add_extension(value, critical)


def san(*names: x509.GeneralName) -> Callable[[Builder], Builder]:
    return lambda builder: builder.add_extension(x509.SubjectAlternativeName(names), False)


#: id-on-dnsSRV (RFC 4985), which service_identity reads.
SRV = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7")
IP = x509.IPAddress(ipaddress.ip_address(HOST))

#: Certificates whose names are strange; none of them names a host that it could be for.
STRANGE_NAMES: dict[str, Callable[[Builder], Builder]] = {
    "none": lambda builder: builder,
    "empty": raw_san(),
    "not DER": lambda builder: builder.add_extension(
        x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\xff\xff\xff"), False
    ),
    "an SRV name of another type": san(x509.OtherName(SRV, der(0x02, b"\x01"))),
    "an SRV name that is no name": san(x509.OtherName(SRV, der(0x16, b"\xff\0\n"))),
    "an SRV name without service": san(x509.OtherName(SRV, der(0x16, b"localhost"))),
    "an other-name": san(x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), der(0x0C, b"x"))),
    "an address of 5 bytes": raw_san(der(0x87, b"\x7f\0\0\1\1")),
    "an empty address": raw_san(der(0x87, b"")),
    "a DNS name with NUL": raw_san(der(0x82, b"127.0.0.1\0.evil.example")),
    "a DNS name with line ends": raw_san(der(0x82, b"a\r\nb\x1b[31m")),
    "a DNS name outside ASCII": raw_san(der(0x82, b"\xff\xfe")),
    "a DNS name of bad punycode": raw_san(der(0x82, b"xn--\x80\x80\x80")),
    "an empty DNS name": raw_san(der(0x82, b"")),
    "a wildcard alone": raw_san(der(0x82, b"*")),
    "wildcards": raw_san(der(0x82, b"*.*.*"), der(0x82, b"a*b*.c")),
    "a huge DNS name": raw_san(der(0x82, b"a" * 3000)),
    "many names": raw_san(*(der(0x82, b"host%d.example" % number) for number in range(300))),
    "an X.400 address": raw_san(der(0xA3, b"")),
    "an EDI party": raw_san(der(0xA5, b"")),
    "a URI": raw_san(der(0x86, b"http://\xff")),
    "a registered id": raw_san(der(0x88, b"\x80")),
    "a directory name": san(x509.DirectoryName(x509.Name([]))),
    "critical": raw_san(der(0xA3, b""), critical=True),
}

NAMES_IT: Callable[[Builder], Builder] = san(IP)


def _with_san(change: Callable[[Builder], Builder]) -> Callable[[Builder], Builder]:
    return lambda builder: change(NAMES_IT(builder))


def _extension(oid: str, value: bytes, critical: bool) -> Callable[[Builder], Builder]:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
    return _with_san(lambda builder: builder.add_extension(extension, critical))


#: Certificates that name the right host, and are bad all the same.
STRANGE_OTHERWISE: dict[str, Callable[[Builder], Builder]] = {
    "an unknown critical extension": _extension("1.2.3.4.5", b"\x05\0", True),
    "extended key usage that is no DER": _extension("2.5.29.37", b"\xff\xff", False),
    "extended key usage of nothing": _extension("2.5.29.37", der(0x30, b""), False),
    "key usage that is no DER": _extension("2.5.29.15", b"\x03\x09\x07", True),
    "basic constraints that are no DER": _extension("2.5.29.19", b"\x30\x03\x01\x01\x07", True),
    "not valid yet": _with_san(lambda builder: _dates(builder, DAY, 2 * DAY)),
    "no longer valid": _with_san(lambda builder: _dates(builder, -2 * DAY, -DAY)),
}


def _dates(builder: Builder, since: datetime.timedelta, until: datetime.timedelta) -> Builder:
    now = datetime.datetime.now(datetime.UTC)
    builder._not_valid_before = builder._not_valid_after = None
    return builder.not_valid_before(now + since).not_valid_after(now + until)


#: Keys, by how they are called.
KEYS: dict[str, Callable[[], Any]] = {
    "EC P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EC P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EC secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "RSA 2048": lambda: rsa.generate_private_key(65537, 2048),
    "DSA": lambda: dsa.generate_private_key(1024),
}


def sign(
    ca: TestCa,
    directory: Path,
    change: Callable[[Builder], Builder],
    *,
    key: Any = None,
    chain: Sequence[x509.Certificate] = (),
) -> Shown:
    """A certificate of ``ca`` with what ``change`` adds to it."""
    key = key or KEYS["EC P-256"]()
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]))
        .issuer_name(ca.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
    certificate = change(builder).sign(ca.key, hashes.SHA256())
    path = directory / f"strange-{certificate.serial_number:x}"
    return _store(path, [certificate, *chain], key)
