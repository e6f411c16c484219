"""External pre-shared keys: two nodes that share a secret need no certificates (RFC 8446, section 4.2.11).

The names are quic_dist's: a dialling node shows its ``external_psk``, a listening node accepts ``psks``. The
secret is used in the key schedule unchanged, as in quic_dist; the importer of RFC 9258 is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from quicdist.carrier.errors import CertificateError
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: The minimum length of a secret, in bytes (RFC 9257, section 6: 128 bits of entropy).
MIN_SECRET = 16
#: The maximum length of an identity, in bytes. TLS allows 65535, but a ClientHello should fit two datagrams.
MAX_IDENTITY = 1024


@dataclass(frozen=True, slots=True)
class ExternalPsk:
    """The identity of a shared secret, and the secret: at least 16 bytes from a random source.

    Its hash is SHA-256, the default of RFC 8446. Raises :class:`CertificateError` for an invalid identity or
    secret.
    """

    identity: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_psk(self.identity, self.secret)


#: The PSKs that a listener accepts: secrets by identity, or a function that returns the secret of an identity
#: or None. The function is called in the event loop and must not wait.
Psks = Mapping[bytes, bytes] | Callable[[bytes], bytes | None]


def check_psk(identity: object, secret: object) -> None:
    """Raises :class:`CertificateError` for an identity or a secret that is not valid."""
    if not isinstance(identity, bytes) or not 0 < len(identity) <= MAX_IDENTITY:
        raise CertificateError(f"a PSK identity is 1 to {MAX_IDENTITY} bytes, got {identity!r:.80}")
    if not isinstance(secret, bytes) or len(secret) < MIN_SECRET:
        got = f"{len(secret)} bytes" if isinstance(secret, bytes) else type(secret).__name__
        raise CertificateError(f"the secret of PSK {identity!r} has {got}; at least {MIN_SECRET} are needed")


def psk_finder(psks: Psks) -> Callable[[bytes], bytes | None]:
    """A function that returns the secret of an identity, or None. Raises :class:`CertificateError`.

    If ``psks`` is a function that raises, or that returns an invalid secret, the identity counts as unknown
    and an error is logged.
    """
    if callable(psks):
        return _guarded(psks)
    for identity, secret in psks.items():
        check_psk(identity, secret)
    return dict(psks).get


def _guarded(find: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes | None]:
    def guarded(identity: bytes) -> bytes | None:
        try:
            secret = find(identity)
            if secret is not None:
                check_psk(identity, secret)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("looking for the secret of PSK %r failed: it counts as unknown", identity)
            return None
        return secret

    return guarded
