"""Reads certificates and private keys from PEM."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from quicdist import dependencies

dependencies.check("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.pem import Pem

#: The keys with which aioquic can sign a TLS 1.3 handshake.
PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A node's certificate, its intermediate certificates, and its private key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    private_key: PrivateKey

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 in hexadecimal, pairs separated by colons."""
        return fingerprint(self.certificate)


def fingerprint(certificate: x509.Certificate) -> str:
    """A certificate's SHA-256 in hexadecimal, pairs separated by colons, as openssl prints it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def load_credentials(cert: Pem, key: Pem) -> Credentials:
    """A node's certificate (its chain may follow it) and its key.

    Raises :class:`CertificateError` if a file is missing or malformed, or if the key does not match the
    certificate.
    """
    certificate, *chain = _parse_certificates(cert, "certificate")
    where = _shown(key, "key")
    try:
        private_key = _parse_key(_read(key, "key"))
    except (ValueError, TypeError) as error:
        raise CertificateError(
            f"{where} holds no private key in PEM form without a password: {error}"
        ) from error
    if not isinstance(private_key, PrivateKey):
        raise CertificateError(f"{where}: a {type(private_key).__name__} cannot be used for TLS")
    if private_key.public_key() != certificate.public_key():
        raise CertificateError(
            f"the private key in {where} does not match the certificate in {_shown(cert, 'certificate')}"
        )
    return Credentials(certificate, tuple(chain), private_key)


@functools.lru_cache(maxsize=8)
def _parse_key(pem: bytes) -> object:
    # Every dial reads the key, and checking an RSA key of 4096 bits takes a second.
    return serialization.load_pem_private_key(pem, password=None)


# The certificates of all connections of a node are the same objects: parsed, one takes some KiB.
@functools.lru_cache(maxsize=8)
def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(pem))


@functools.lru_cache(maxsize=8)
def _as_pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    # Encoded again: aioquic accepts no other line ends, and nothing after the last certificate.
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def _shown(given: Pem, what: str) -> str:
    """The name in an error: the path of a file, or the kind of the bytes."""
    return f"{what} (bytes)" if isinstance(given, bytes) else os.fspath(given)


def _read(given: Pem, what: str) -> bytes:
    if isinstance(given, bytes):
        return given
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read the {what} file {given}: {error.strerror}") from error


def _parse_certificates(given: Pem, what: str) -> list[x509.Certificate]:
    try:
        return list(_certificates(_read(given, what)))
    except ValueError as error:
        raise CertificateError(f"{_shown(given, what)} holds no certificate in PEM form: {error}") from error


def load_ca(cacert: Pem) -> bytes:
    """The CA certificates as PEM. Raises :class:`CertificateError`."""
    return _as_pem(tuple(_parse_certificates(cacert, "CA")))
