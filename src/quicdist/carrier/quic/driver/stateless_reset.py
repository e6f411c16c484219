"""Stateless resets, with which a restarted node ends connections that it has lost (RFC 9000, section 10.3).

A packet of an unknown connection is answered by a packet that ends with a token, derived from the connection
id and a secret. A node that was restarted with the same secret derives the same token, and its peers, to whom
it was announced, learn that the connection is lost."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from quicdist.carrier.rate_limits import TokenBucket

#: The reason for the end of a connection that the peer has reset.
RESET: Final = "the peer has lost the connection (stateless reset)"

TOKEN: Final = 16
#: The shortest datagram that can be a stateless reset, and the shortest that is answered by one: the answer
#: is shorter, so that two nodes that have lost a connection do not answer each other for ever (section
#: 10.3.3).
MIN_RESET: Final = 21
MIN_TRIGGER: Final = MIN_RESET + 1
#: Up to this size the answer is one byte shorter than the datagram; a longer datagram gets an answer of the
#: size of a short packet.
_ORDINARY: Final = 43
#: Resets per second, and at once. A restarted node gets a packet of each old connection.
RESET_RATE: Final = 200.0
RESET_BURST: Final = 200.0
#: The least size of a secret, in bytes.
MIN_SECRET: Final = 32
_SECRET: Final = 32


class StatelessResets:
    """Makes the tokens and the resets of one listener."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._limit = TokenBucket(RESET_RATE, RESET_BURST)

    def token(self, connection_id: bytes) -> bytes:
        """The token for a connection id of this side."""
        return hmac.digest(self._secret, connection_id, "sha256")[:TOKEN]

    def answer(self, data: bytes, connection_id: bytes, now: float) -> bytes | None:
        """The reset in answer to a packet with a short header for an unknown ``connection_id``; None if it
        gets none. ``now`` is in seconds of any steady clock."""
        if len(data) < MIN_TRIGGER or not self._limit.take(now):
            return None
        size = len(data) - 1 if len(data) <= _ORDINARY else _ORDINARY + secrets.randbelow(_ORDINARY // 2)
        noise = os.urandom(min(size, len(data) - 1) - TOKEN)
        return b"%c%b%b" % (0x40 | noise[0] & 0x3F, noise[1:], self.token(connection_id))


def is_reset(data: bytes, tokens: Sequence[bytes]) -> bool:
    """Whether a datagram is a stateless reset with one of ``tokens``."""
    if len(data) < MIN_RESET or data[0] & 0x80:
        return False
    shown = data[-TOKEN:]
    found = False
    for token in tokens:
        # All of them, and in constant time: they are secret until they are used (section 10.3.1).
        found |= hmac.compare_digest(shown, token)
    return found


def derived_secret(key: bytes, node: str) -> bytes:
    """The secret of a node, derived from ``key``, a private key, a PSK or another secret. Nodes that share a
    key have different secrets: otherwise one would make the tokens of another (section 10.3.2)."""
    info = b"quicdist stateless reset\0" + node.encode()
    return HKDF(hashes.SHA256(), _SECRET, salt=None, info=info).derive(key)


def random_secret() -> bytes:
    """A secret for this process only."""
    return secrets.token_bytes(_SECRET)
