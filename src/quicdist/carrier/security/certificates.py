"""Certificates: a development CA with a node certificate, and the TLS settings of a QUIC carrier.

Development keys are EC P-256: every quic_dist up to 1.8.1 takes them in both directions, as it does
RSA, and they make short handshakes. The leaf is alone in its file: ``quic_dist:load_credentials/1``
matches exactly one PEM entry.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.client_trust import ClientTrust
from quicdist.carrier.security.psk import ExternalPsk, Psks

#: What can sign a TLS 1.3 handshake in aioquic.
PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

#: Days a development certificate is valid.
VALID_DAYS = 825

CA_FILE = "ca.pem"
CERT_FILE = "cert.pem"
KEY_FILE = "key.pem"


#: Certificates or a private key: the path of a PEM file, or what would stand in it.
Pem = str | os.PathLike[str] | bytes

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
        return load_credentials(self.cert, self.key)

    def load_ca(self) -> bytes | None:
        """The CA certificates as PEM, or None for Mozilla's list. Raises CertificateError."""
        if self.cacert is None:
            return None
        certificates = _parse_certificates(self.cacert, "CA")
        # Written anew: aioquic takes neither other line ends nor anything after the last of them.
        pem = serialization.Encoding.PEM
        return b"".join(certificate.public_bytes(pem) for certificate in certificates)

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
        return ClientTrust(ca, required=self.client_certificate == "require")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A node's certificate, those that link it to its CA, and its private key."""

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

    Raises :class:`CertificateError` for a file that is missing, for what is not what it should be,
    and for a key that is not the certificate's.
    """
    certificate, *chain = _parse_certificates(cert, "certificate")
    where = _shown(key, "key")
    try:
        private_key = _parse_key(_read(key, "key"))
    except (ValueError, TypeError) as error:
        raise CertificateError(
            f"{where} holds no private key in PEM form without password: {error}"
        ) from error
    if not isinstance(private_key, PrivateKey):
        raise CertificateError(f"{where}: a {type(private_key).__name__} cannot be used for TLS")
    if private_key.public_key() != certificate.public_key():
        raise CertificateError(
            f"the key in {where} is not that of the certificate in {_shown(cert, 'certificate')}"
        )
    return Credentials(certificate, tuple(chain), private_key)


@functools.lru_cache(maxsize=8)
def _parse_key(pem: bytes) -> object:
    # Every dial reads it, and to check an RSA key of 4096 bits takes a second.
    return serialization.load_pem_private_key(pem, password=None)


def _shown(given: Pem, what: str) -> str:
    """What to call it in an error: a file by its path, anything else by its kind alone."""
    return f"the {what} given" if isinstance(given, bytes) else os.fspath(given)


def _read(given: Pem, what: str) -> bytes:
    if isinstance(given, bytes):
        return given
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read the {what} file {given}: {error.strerror}") from error


def _parse_certificates(given: Pem, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(given, what))
    except ValueError as error:
        raise CertificateError(f"{_shown(given, what)} holds no certificate in PEM form: {error}") from error


def unused_credentials() -> Credentials:
    """For a listener that has PSKs alone: aioquic wants a certificate all the same. It is never
    shown, and its key is known to nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("unused")
    return Credentials(_builder(name, name, key.public_key()).sign(key, hashes.SHA256()), (), key)


# -- development certificates ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where :func:`make_development_certificates` has put what it made."""

    ca: Path
    cert: Path
    key: Path
    fingerprint: str

    def tls(self, *, verify: bool = True) -> TlsConfig:
        """The settings that use them."""
        return TlsConfig(self.cert, self.key, self.ca, verify)


def make_development_certificates(
    directory: str | os.PathLike[str], hosts: Iterable[str] = ("localhost", "127.0.0.1", "::1")
) -> CertificateFiles:
    """Make a CA of its own and a node certificate for ``hosts`` (names or IP addresses).

    Writes ``ca.pem``, ``cert.pem`` and ``key.pem`` (the latter readable by its owner alone) into
    ``directory``, which is made if need be. The CA's key is thrown away: nothing else can be
    signed with it. For development and tests, not for a cluster of any consequence.

    Raises :class:`CertificateError` if a host is neither, or if the files cannot be written.
    """
    names = list(dict.fromkeys(hosts))
    if not names:
        raise CertificateError("a certificate needs at least one host")
    alternatives = x509.SubjectAlternativeName(list(map(_alternative_name, names)))
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("quicdist development CA")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca_name, key.public_key())
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    folder = Path(directory)
    files = CertificateFiles(
        folder / CA_FILE, folder / CERT_FILE, folder / KEY_FILE, fingerprint(certificate)
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        files.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_secret(files.key, key)
    except OSError as error:
        raise CertificateError(f"cannot write certificates into {folder}: {error.strerror}") from error
    return files


def _write_secret(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)  # so that the mode below holds for an older file's name too
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        if host:
            return x509.DNSName(host)
    except ValueError:
        pass
    raise CertificateError(f"{host!r} is neither a host name (in ASCII) nor an IP address")


def _key_usage(*, digital_signature: bool = False, certificate_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A peer's clock may run a little behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
