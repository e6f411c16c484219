"""Verification of the peer's certificate, on the side that dials and on the side that listens.

aioquic's :func:`aioquic.tls.verify_certificate` verifies the chain, the dates and the names. The extended key
usage (RFC 5280, section 4.2.1.12), which it ignores, is verified here. Each refusal is a TLS alert, which the
peer is sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from aioquic import tls
from aioquic.buffer import BufferReadError  # type: ignore[attr-defined]  # as its examples do
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from quicdist.carrier.security.client_trust import ClientTrust
from quicdist.logs import clean

#: The maximum size of a Certificate message in bytes, and the maximum number of certificates in it: each
#: costs the verification of a signature.
MAX_CERTIFICATES_SIZE: Final = 64 * 1024
MAX_CERTIFICATES: Final = 10
#: The longest RSA key, in bits: to use a longer one takes milliseconds.
MAX_RSA_BITS: Final = 8192
#: The longest text of an alert, in characters: a certificate may have any number of names.
MAX_TEXT: Final = 300

_USES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth, which a listening node needs",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth, which a dialling node needs",
}


class CertificateRequired(tls.Alert):
    """A dialling node showed no certificate, and one is required."""

    description = tls.AlertDescription.certificate_required


@contextlib.contextmanager
def refused_by_alert() -> Iterator[None]:
    """Turn any error of the libraries that read a certificate into a TLS alert. They raise errors of many
    kinds, some of them for names that are legal and not supported. The text of the alert is escaped and
    cut."""
    try:
        yield
    except tls.Alert as alert:
        text = clean(str(alert), MAX_TEXT)
        if text == str(alert):
            raise
        raise type(alert)(text) from None
    except (KeyboardInterrupt, BufferReadError):  # aioquic makes an alert of the latter
        raise
    except Exception as error:
        text = clean(f"{type(error).__name__}: {error}", MAX_TEXT)
        raise tls.AlertBadCertificate(f"the certificate cannot be read: {text}") from None


def check_size(message: int) -> None:
    """Raises an alert if a Certificate message of ``message`` bytes is too long."""
    if message > MAX_CERTIFICATES_SIZE:
        raise tls.AlertBadCertificate(
            f"its certificates have {message} bytes, at most {MAX_CERTIFICATES_SIZE} are accepted"
        )


def check_keys(certificates: Sequence[x509.Certificate]) -> None:
    """Raises an alert for certificates that would cost too much to verify: there are too many, or their keys
    are too long, or of a kind that TLS 1.3 does not have (RFC 8446, section 4.2.3)."""
    if len(certificates) > MAX_CERTIFICATES:
        raise tls.AlertBadCertificate(
            f"{len(certificates)} certificates, at most {MAX_CERTIFICATES} are accepted"
        )
    with refused_by_alert():
        for certificate in certificates:
            key = certificate.public_key()
            if isinstance(key, rsa.RSAPublicKey):
                if key.key_size > MAX_RSA_BITS:
                    raise tls.AlertBadCertificate(
                        f"an RSA key of {key.key_size} bits, at most {MAX_RSA_BITS} are accepted"
                    )
            elif not isinstance(
                key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
            ):
                kind = type(key).__name__.removesuffix("PublicKey").strip("_")
                raise tls.AlertUnsupportedCertificate(f"unsupported key type {kind}")


def check_use(certificate: x509.Certificate, use: x509.ObjectIdentifier) -> None:
    """Raises an alert if the certificate has an extended key usage that does not include ``use``."""
    with refused_by_alert():
        try:
            extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound:
            return
        if use not in extension.value and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in extension.value:
            raise tls.AlertUnsupportedCertificate(f"its extended key usage does not include {_USES[use]}")


def check_server_use(certificate: x509.Certificate) -> None:
    """Raises an alert if the certificate has an extended key usage that does not include serverAuth."""
    check_use(certificate, ExtendedKeyUsageOID.SERVER_AUTH)


def check_client(
    trust: ClientTrust, certificate: x509.Certificate | None, chain: Sequence[x509.Certificate]
) -> None:
    """Verify the certificate of a dialling node. Raises a TLS alert."""
    if certificate is None:
        if trust.required:
            raise CertificateRequired("a certificate is required and none was shown")
        return
    with refused_by_alert():
        tls.verify_certificate(certificate, list(chain), cadata=trust.ca)
    check_use(certificate, ExtendedKeyUsageOID.CLIENT_AUTH)


def mismatch(
    trust: ClientTrust, certificate: x509.Certificate, chain: Sequence[x509.Certificate], host: str
) -> str | None:
    """Why the certificate does not name ``host`` (a DNS name or an IP address), None if it does."""
    try:
        with refused_by_alert():
            tls.verify_certificate(certificate, list(chain), server_name=host, cadata=trust.ca)
    except tls.Alert as alert:
        return str(alert)
    return None
