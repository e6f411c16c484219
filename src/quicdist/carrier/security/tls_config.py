"""The TLS settings of a QUIC carrier. Importing this module loads no cryptography: a node over TCP has these
settings too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.pem import Pem

if TYPE_CHECKING:
    from quicdist.carrier.security.client_trust import ClientTrust
    from quicdist.carrier.security.credentials import Credentials
    from quicdist.carrier.security.psk import ExternalPsk, Psks

#: Whether a listening node asks dialling nodes for a certificate, and whether they must show one.
ClientCertificate = Literal["none", "request", "require"]


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """The certificates that a node shows, and those that it accepts. See ``docs/reference/security.md``.

    ``cert`` and ``key`` are this node's own; without them it can dial but not listen, unless it has
    ``psks``. ``cacert`` holds the CA certificates that peers are verified against; None: Mozilla's list
    (certifi). Each is the path of a PEM file, or its content as bytes.

    With ``verify`` a dialled node must show a certificate of such a CA that names its host, or
    ``server_name`` if that is set. The default is False because quic_dist itself never verifies
    (``verify_none`` in effect). ``client_certificate`` says whether dialling nodes are asked for a
    certificate: with ``"request"`` one that is shown must be valid, with ``"require"`` it must be shown too.
    Both need a ``cacert``. The certificate must name the host of the node name. quic_dist shows none.

    ``external_psk`` is shown to dialled nodes, which must accept it. ``psks`` are accepted from dialling
    nodes: a node that knows the secret needs no certificate.
    """

    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    cacert: Pem | None = None
    verify: bool = False
    server_name: str | None = None
    client_certificate: ClientCertificate = "none"
    external_psk: ExternalPsk | None = None
    psks: Psks | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.client_certificate not in get_args(ClientCertificate):
            choice = ", ".join(get_args(ClientCertificate))
            raise CertificateError(f"client_certificate={self.client_certificate!r} is not one of {choice}")

    def load(self) -> Credentials | None:
        """This node's certificate and key, or None if it has none. Raises CertificateError."""
        if self.cert is None and self.key is None:
            return None
        if self.cert is None or self.key is None:
            raise CertificateError("cert and key are needed together, and only one of them is set")
        from quicdist.carrier.security.credentials import load_credentials

        return load_credentials(self.cert, self.key)

    def load_ca(self) -> bytes | None:
        """The CA certificates as PEM, or None for Mozilla's list. Raises CertificateError."""
        if self.cacert is None:
            return None
        from quicdist.carrier.security.credentials import load_ca

        return load_ca(self.cacert)

    def load_client_trust(self) -> ClientTrust | None:
        """Which certificates of dialling nodes are accepted, or None if they are not asked for one. Raises
        CertificateError."""
        if self.client_certificate == "none":
            return None
        ca = self.load_ca()
        if ca is None:
            # Anyone can have a certificate of a CA on Mozilla's list.
            raise CertificateError(
                f'client_certificate="{self.client_certificate}" needs cacert, the CA that signs them'
            )
        from quicdist.carrier.security.client_trust import ClientTrust

        return ClientTrust(ca, required=self.client_certificate == "require")
