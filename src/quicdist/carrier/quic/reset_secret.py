"""The secret of a listener's stateless resets, if possible the same after a restart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from quicdist.carrier.errors import CertificateError
from quicdist.carrier.quic.driver.stateless_reset import MIN_SECRET, derived_secret, random_secret
from quicdist.carrier.security.tls_config import TlsConfig

#: A secret, or the path of a file that holds it.
ResetSecret = bytes | str | os.PathLike[str]


def check_reset_secret(given: ResetSecret) -> None:
    """Raises ValueError for a secret that is too short."""
    if isinstance(given, bytes) and len(given) < MIN_SECRET:
        raise ValueError(f"a reset_secret has at least {MIN_SECRET} bytes, got {len(given)}")


def reset_secret(given: ResetSecret | None, tls: TlsConfig, name: str, port: int) -> bytes:
    """The secret of the node ``name`` that listens at ``port``: derived from ``given``, or else from the
    private key of its certificate, or from its PSKs if they are listed; it is the same after a restart with
    those, at that port. Otherwise it is random. Raises :class:`CertificateError` for an unusable file."""
    key = _from_tls(tls) if given is None else given if isinstance(given, bytes) else _in_file(Path(given))
    return random_secret() if key is None else derived_secret(key, f"{name}:{port}")


def _from_tls(tls: TlsConfig) -> bytes | None:
    credentials = tls.load()
    if credentials is not None:
        return credentials.private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    if isinstance(tls.psks, Mapping):
        return b"".join(b"%d:%b" % (len(secret), secret) for _, secret in sorted(tls.psks.items()))
    return None


def _in_file(path: Path) -> bytes:
    """The secret in a file, which is created if it does not exist, readable by its owner only."""
    try:
        try:
            secret = path.read_bytes()
        except FileNotFoundError:
            secret = random_secret()
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secret)
    except OSError as error:
        raise CertificateError(f"reset_secret {path}: {error.strerror}") from error
    if len(secret) < MIN_SECRET:
        raise CertificateError(f"reset_secret {path} holds {len(secret)} bytes: it needs {MIN_SECRET}")
    return secret
