"""External pre-shared keys: two nodes that know one secret need no certificates (RFC 8446, 4.2.11).

The names are quic_dist's: ``external_psk`` is what a dialling node shows, ``psks`` what a listening
one takes. The secret goes into the key schedule as it is, as in quic_dist; RFC 9258's importer is
not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from quicdist.carrier.errors import CertificateError
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: Bytes a secret must have at least (RFC 9257, section 6: 128 bits of entropy).
MIN_SECRET = 16
#: Bytes an identity may have; TLS would take 65535, a ClientHello had better fit two datagrams.
MAX_IDENTITY = 1024


@dataclass(frozen=True, slots=True)
class ExternalPsk:
    """A name both sides know a secret by, and that secret: at least 16 bytes from a random source.

    It is for SHA-256, the hash that RFC 8446 gives to keys which name none. Raises
    :class:`CertificateError` for what cannot be one.
    """

    identity: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_psk(self.identity, self.secret)


#: What a listener takes: secrets by identity, or a function that finds one or None. The function
#: is called in the event loop and must not wait.
Psks = Mapping[bytes, bytes] | Callable[[bytes], bytes | None]


def check_psk(identity: object, secret: object) -> None:
    """Raises :class:`CertificateError` for an identity and a secret that cannot be a PSK."""
    if not isinstance(identity, bytes) or not 0 < len(identity) <= MAX_IDENTITY:
        raise CertificateError(f"a PSK identity is 1 to {MAX_IDENTITY} bytes, got {identity!r:.80}")
    if not isinstance(secret, bytes) or len(secret) < MIN_SECRET:
        got = f"{len(secret)} bytes" if isinstance(secret, bytes) else type(secret).__name__
        raise CertificateError(f"the secret of PSK {identity!r} has {got}; at least {MIN_SECRET} are needed")


def psk_finder(psks: Psks) -> Callable[[bytes], bytes | None]:
    """A function that finds the secret of an identity. Raises :class:`CertificateError`.

    Where ``psks`` is a function that raises, or that gives what is no secret, the identity counts
    as unknown and an error is logged.
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
