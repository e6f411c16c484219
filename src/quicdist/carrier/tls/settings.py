"""The settings of the TLS carrier: the options of OTP's ``ssl`` that apply to the distribution.

Source: SSL User's Guide, *Erlang Distribution over TLS*; the types ``common_option`` of module ``ssl``.
Importing them loads neither ``ssl`` nor cryptography.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from quicdist.carrier.security.pem import Pem

Version = Literal["tlsv1.2", "tlsv1.3"]
#: ``crl_check``: no revocation list is needed, one for the peer's own certificate, or one for each
#: certificate of the chain.
CrlCheck = Literal["none", "peer", "all"]

#: The maximum number of certificates between the peer's own and its root (``depth``).
DEPTH = 10


@dataclass(frozen=True, slots=True)
class CertificateAndKey:
    """A certificate, followed by its intermediate certificates, and its key (``certs_keys``)."""

    certificate: Pem
    #: None: the key is in the file of the certificate.
    key: Pem | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """The TLS options of one side: as the server, when this node is dialled, or as the client.

    ``certificates`` are shown to the peer; a server needs one. ``cacert`` holds the CAs that the peer's
    certificate is verified against; None: those of the system, for a client only. With ``verify``
    (``verify_peer``) the peer's certificate is verified; that of a server must also name the host of its node
    name, or ``server_name`` if that is set. ``check_host=False`` is ``{server_name_indication, disable}``: no
    name is sent or checked. A server that verifies refuses clients without a certificate
    (``fail_if_no_peer_cert``, the default since OTP 26). ``ciphers`` are OpenSSL's names for TLS 1.2 cipher
    suites; if empty, OpenSSL chooses. ``crl_dir`` is a directory of revocation lists, named by their hashes
    (``ssl_crl_hash_dir``).
    """

    certificates: tuple[CertificateAndKey, ...] = ()
    cacert: Pem | None = None
    verify: bool = False
    fail_if_no_peer_cert: bool = True
    check_host: bool = True
    server_name: str | None = None
    depth: int = DEPTH
    versions: tuple[Version, ...] = ("tlsv1.2", "tlsv1.3")
    ciphers: tuple[str, ...] = ()
    crl_check: CrlCheck = "none"
    crl_dir: str | os.PathLike[str] | None = None
    dh_file: str | os.PathLike[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The options of both sides: ``[{server, Options}, {client, Options}]`` of ``-ssl_dist_optfile``."""

    server: TlsOptions = field(default_factory=TlsOptions)
    client: TlsOptions = field(default_factory=TlsOptions)
