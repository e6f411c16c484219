"""Converts certificates and keys from other forms to PEM.

Each function raises :class:`CertificateError` for malformed input. Sources: RFC 8017, A.1.2; RFC 5915,
section 3; RFC 8410.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quicdist import dependencies

dependencies.check("cryptography")

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.credentials import PrivateKey

#: By the object identifier of a curve: the function that makes a key from its secret.
_CURVES: dict[tuple[int, ...], Callable[[bytes], PrivateKey]] = {
    (1, 2, 840, 10045, 3, 1, 7): lambda secret: _on_curve(secret, ec.SECP256R1()),
    (1, 3, 132, 0, 34): lambda secret: _on_curve(secret, ec.SECP384R1()),
    (1, 3, 132, 0, 35): lambda secret: _on_curve(secret, ec.SECP521R1()),
    (1, 3, 101, 112): ed25519.Ed25519PrivateKey.from_private_bytes,
    (1, 3, 101, 113): ed448.Ed448PrivateKey.from_private_bytes,
}


def certificates_from_der(given: Iterable[bytes]) -> bytes:
    """Certificates in DER, as PEM, one after the other."""
    try:
        found = [x509.load_der_x509_certificate(one) for one in given]
    except (ValueError, TypeError) as error:
        raise CertificateError(f"not a certificate in DER: {error}") from error
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found)


def key_from_der(data: bytes) -> bytes:
    """A private key in DER (PKCS#1, SEC1 or PKCS#8), as PEM."""
    return _pem(lambda: serialization.load_der_private_key(data, password=None))


def rsa_key(n: int, e: int, d: int, p: int, q: int, dp: int, dq: int, qi: int) -> bytes:
    """An RSA key, as PEM, from the numbers of RFC 8017's ``RSAPrivateKey``, in its order."""
    numbers = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n))
    return _pem(numbers.private_key)


def key_on_curve(curve: tuple[int, ...], secret: bytes) -> bytes:
    """A key on a NIST or Edwards curve, as PEM. ``curve`` is the object identifier."""
    load = _CURVES.get(curve)
    if load is None:
        raise CertificateError(f"unknown curve {'.'.join(map(str, curve))}")
    return _pem(lambda: load(secret))


def _on_curve(secret: bytes, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret, "big"), curve)


def _pem(load: Callable[[], object]) -> bytes:
    try:
        key = load()
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"not a private key: {error}") from error
    if not isinstance(key, PrivateKey):
        raise CertificateError(f"a {type(key).__name__} cannot be used for TLS")
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
