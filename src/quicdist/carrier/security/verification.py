"""Whether a certificate is to be believed, on the side that dials and on the side that listens.

The chain, the dates and the names are checked by aioquic's :func:`aioquic.tls.verify_certificate`
on both sides; what a certificate may be used for is checked here (RFC 5280, section 4.2.1.12), for
aioquic does not look. Each refusal is a TLS alert, so that the other side is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aioquic import tls
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

_USES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "servers (serverAuth), which a node that listens is",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clients (clientAuth), which a node that dials is",
}


class CertificateRequired(tls.Alert):
    """A node that dials has shown no certificate where one is required."""

    description = tls.AlertDescription.certificate_required


def check_use(certificate: x509.Certificate, use: x509.ObjectIdentifier) -> None:
    """Raises an alert if the certificate says what it is for, and this is not among it."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return
    except ValueError as error:
        raise tls.AlertBadCertificate(f"its extensions cannot be read: {error}") from error
    if use not in extension.value and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in extension.value:
        raise tls.AlertUnsupportedCertificate(f"it is not for {_USES[use]}")


def check_server_use(certificate: x509.Certificate) -> None:
    """Raises an alert if the certificate is not for servers."""
    check_use(certificate, ExtendedKeyUsageOID.SERVER_AUTH)


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """Which nodes that dial are believed: those with a certificate of ``ca`` (PEM), and if it is not
    ``required`` those with none."""

    ca: bytes
    required: bool

    def check(self, certificate: x509.Certificate | None, chain: Sequence[x509.Certificate]) -> None:
        """Check what a dialling node has shown. Raises a TLS alert."""
        if certificate is None:
            if self.required:
                raise CertificateRequired("a certificate is required and none was shown")
            return
        tls.verify_certificate(certificate, list(chain), cadata=self.ca)
        check_use(certificate, ExtendedKeyUsageOID.CLIENT_AUTH)

    def why_not_named(
        self, certificate: x509.Certificate, chain: Sequence[x509.Certificate], host: str
    ) -> str | None:
        """Why the certificate does not name ``host`` (a DNS name or an IP address), None if it does."""
        try:
            tls.verify_certificate(certificate, list(chain), server_name=host, cadata=self.ca)
        except tls.Alert as alert:
            return str(alert)
        return None
