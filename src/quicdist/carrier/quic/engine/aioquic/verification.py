"""Whether a certificate is to be believed, on the side that dials and on the side that listens.

The chain, the dates and the names are checked by aioquic's :func:`aioquic.tls.verify_certificate`
on both sides; what a certificate may be used for is checked here (RFC 5280, section 4.2.1.12), for
aioquic does not look. Each refusal is a TLS alert, so that the other side is told.
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

#: Bytes of a peer's Certificate message, and certificates in it, its own among them: each costs a signature
#: to check.
MAX_CERTIFICATES_SIZE: Final = 64 * 1024
MAX_CERTIFICATES: Final = 10
#: Bits of an RSA key in them: a longer one takes milliseconds to use.
MAX_RSA_BITS: Final = 8192
#: Characters of what is said of a certificate, which may hold any number of names.
MAX_TEXT: Final = 300

_USES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "servers (serverAuth), which a node that listens is",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clients (clientAuth), which a node that dials is",
}


class CertificateRequired(tls.Alert):
    """A node that dials has shown no certificate where one is required."""

    description = tls.AlertDescription.certificate_required


@contextlib.contextmanager
def refused_by_alert() -> Iterator[None]:
    """Whatever a peer's certificate makes the libraries raise that read it is a TLS alert. They have many
    ways to say that they cannot read one: most of their errors are no ValueError, and some come of names
    that are legal and not supported. The text of an alert is escaped and cut."""
    try:
        yield
    except tls.Alert as alert:
        text = clean(str(alert), MAX_TEXT)
        if text == str(alert):
            raise
        raise type(alert)(text) from None
    except (KeyboardInterrupt, BufferReadError):  # of which aioquic makes an alert
        raise
    except Exception as error:
        text = clean(f"{type(error).__name__}: {error}", MAX_TEXT)
        raise tls.AlertBadCertificate(f"it cannot be read: {text}") from None


def check_size(message: int) -> None:
    """Raises an alert for a Certificate message of so many bytes, if they are too many."""
    if message > MAX_CERTIFICATES_SIZE:
        raise tls.AlertBadCertificate(
            f"its certificates have {message} bytes, the most is {MAX_CERTIFICATES_SIZE}"
        )


def check_keys(certificates: Sequence[x509.Certificate]) -> None:
    """Raises an alert for certificates whose signatures would cost too much to check: there are too many,
    or their keys are too long or of a kind that TLS 1.3 does not have (RFC 8446, section 4.2.3)."""
    if len(certificates) > MAX_CERTIFICATES:
        raise tls.AlertBadCertificate(f"{len(certificates)} certificates, the most is {MAX_CERTIFICATES}")
    with refused_by_alert():
        for certificate in certificates:
            key = certificate.public_key()
            if isinstance(key, rsa.RSAPublicKey):
                if key.key_size > MAX_RSA_BITS:
                    raise tls.AlertBadCertificate(
                        f"an RSA key of {key.key_size} bits, the most is {MAX_RSA_BITS}"
                    )
            elif not isinstance(
                key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
            ):
                kind = type(key).__name__.removesuffix("PublicKey").strip("_")
                raise tls.AlertUnsupportedCertificate(f"a key of the kind {kind}")


def check_use(certificate: x509.Certificate, use: x509.ObjectIdentifier) -> None:
    """Raises an alert if the certificate says what it is for, and this is not among it."""
    with refused_by_alert():
        try:
            extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound:
            return
        if use not in extension.value and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in extension.value:
            raise tls.AlertUnsupportedCertificate(f"it is not for {_USES[use]}")


def check_server_use(certificate: x509.Certificate) -> None:
    """Raises an alert if the certificate is not for servers."""
    check_use(certificate, ExtendedKeyUsageOID.SERVER_AUTH)


def check_client(
    trust: ClientTrust, certificate: x509.Certificate | None, chain: Sequence[x509.Certificate]
) -> None:
    """Check what a dialling node has shown. Raises a TLS alert."""
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
