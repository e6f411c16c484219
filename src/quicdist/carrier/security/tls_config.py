"""The TLS settings of a QUIC carrier. Importing them loads no cryptography: a node over TCP has them too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.pem import Pem

if TYPE_CHECKING:
    from quicdist.carrier.security.client_trust import ClientTrust
    from quicdist.carrier.security.credentials import Credentials
    from quicdist.carrier.security.psk import ExternalPsk, Psks

#: What a listening node does about certificates of nodes that dial it.
ClientCertificate = Literal["none", "request", "require"]


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Whose certificates are shown and believed. See ``docs/security.md``.

    ``cert`` and ``key`` are this node's own; without them it can dial but not listen, unless there are
    ``psks``. ``cacert`` holds the CA certificates that peers are checked against, Mozilla's list
    (certifi) if None. Each is the path of a PEM file or, as bytes, what would stand in it.

    With ``verify`` a dialled node must show a certificate of such a CA that names its host, or
    ``server_name`` if given; quic_dist itself never checks (``verify_none`` in effect), hence the
    default. ``client_certificate`` says whether nodes that dial this one are asked for a certificate
    (``"request"``: one that is shown must be good; ``"require"``: it must be shown), which needs a
    ``cacert``. It must name the host in the node's name. quic_dist's nodes show none.

    ``external_psk`` is shown to dialled nodes, which must take it, and ``psks`` are taken of nodes
    that dial this one: whoever knows the secret needs no certificate.
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
            raise CertificateError(
                f"client_certificate={self.client_certificate!r}: one of {choice} expected"
            )

    def load(self) -> Credentials | None:
        """This node's certificate and key, or None if it has none. Raises CertificateError."""
        if self.cert is None and self.key is None:
            return None
        if self.cert is None or self.key is None:
            raise CertificateError(
                "a certificate needs its key, and a key its certificate: only one is given"
            )
        from quicdist.carrier.security.credentials import load_credentials

        return load_credentials(self.cert, self.key)

    def load_ca(self) -> bytes | None:
        """The CA certificates as PEM, or None for Mozilla's list. Raises CertificateError."""
        if self.cacert is None:
            return None
        from quicdist.carrier.security.credentials import load_ca

        return load_ca(self.cacert)

    def load_client_trust(self) -> ClientTrust | None:
        """Which certificates of nodes that dial are believed, or None if none are asked for. Raises
        CertificateError."""
        if self.client_certificate == "none":
            return None
        ca = self.load_ca()
        if ca is None:
            # Anyone can have a certificate of a CA on Mozilla's list.
            raise CertificateError(
                f'client_certificate="{self.client_certificate}" needs the CA that signs them: none is given'
            )
        from quicdist.carrier.security.client_trust import ClientTrust

        return ClientTrust(ca, required=self.client_certificate == "require")
