"""Certificates and keys that a configuration holds as terms.

quic_dist accepts a key only as the record that ``public_key:pem_entry_decode/1`` returns. Here
``{Type, Der}`` is accepted too, as by OTP's ``ssl``.
"""

from __future__ import annotations

from typing import Any

from quicdist.carrier.errors import CertificateError
from quicdist.config.values import BadValue
from quicdist.term import Atom

_DER_KINDS = ("RSAPrivateKey", "ECPrivateKey", "PrivateKeyInfo")


def certificates(value: Any) -> bytes:
    """A certificate in DER, or a list of them, as PEM."""
    # Imported here, so that other configurations do not load cryptography.
    from quicdist.carrier.security.key_material import certificates_from_der

    try:
        found = certificates_from_der(value if isinstance(value, list) else [value])
    except CertificateError:
        found = b""
    if not found:
        raise BadValue("a certificate in DER expected, or a list of them")
    return found


def private_key(value: Any) -> bytes:
    """``#'RSAPrivateKey'{}``, ``#'ECPrivateKey'{}`` or ``{Type, Der}``, as PEM."""
    from quicdist.carrier.security.key_material import key_from_der, key_on_curve, rsa_key

    try:
        match value:
            case (Atom(kind), bytes(der)) if kind in _DER_KINDS:
                return key_from_der(der)
            case (Atom("RSAPrivateKey"), _, int(n), int(e), int(d), int(p), int(q), *rest, _):
                return rsa_key(n, e, d, p, q, *rest)
            case (Atom("ECPrivateKey"), _, bytes(secret), (Atom("namedCurve"), tuple(curve)), _, _):
                return key_on_curve(curve, secret)
    except (CertificateError, TypeError):
        pass  # the error must not show the key
    raise BadValue(f"an RSA or EC private key as a record expected, or {{{' or '.join(_DER_KINDS)}, Der}}")
