"""Stateless resets: how a node that has lost its connections ends them (RFC 9000, section 10.3).

A packet that belongs to no connection is answered by one that looks like any other and ends with a token. The
token is made of the packet's connection id and a secret, so a node that was started again with the same
secret makes the same one, and its peers, to whom it was announced, know by it that the connection is gone.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from quicdist.carrier.rate_limits import TokenBucket

#: Why a connection ends that its peer has reset.
RESET: Final = "the peer has lost the connection (stateless reset)"

TOKEN: Final = 16
#: The shortest datagram that can be a stateless reset, and the shortest that is answered by one: the answer
#: is shorter, so that two nodes that have lost a connection do not go on for ever (section 10.3.3).
MIN_RESET: Final = 21
MIN_TRIGGER: Final = MIN_RESET + 1
#: Up to this size an answer is one byte shorter than what it answers; a longer datagram is answered by one
#: of the size of a short packet.
_ORDINARY: Final = 43
#: Resets per second, and at once. A node that was started again gets a packet of each old connection.
RESET_RATE: Final = 200.0
RESET_BURST: Final = 200.0
#: Bytes of a secret at least.
MIN_SECRET: Final = 32
_SECRET: Final = 32


class StatelessResets:
    """Makes the tokens and the resets of one listener."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._limit = TokenBucket(RESET_RATE, RESET_BURST)

    def token(self, connection_id: bytes) -> bytes:
        """The token of a connection id of ours."""
        return hmac.digest(self._secret, connection_id, "sha256")[:TOKEN]

    def answer(self, data: bytes, connection_id: bytes, now: float) -> bytes | None:
        """The reset in answer to a packet with a short header for ``connection_id``, which belongs to none;
        None if it gets none. ``now`` is in seconds of any steady clock."""
        if len(data) < MIN_TRIGGER or not self._limit.take(now):
            return None
        size = len(data) - 1 if len(data) <= _ORDINARY else _ORDINARY + secrets.randbelow(_ORDINARY // 2)
        noise = os.urandom(min(size, len(data) - 1) - TOKEN)
        return b"%c%b%b" % (0x40 | noise[0] & 0x3F, noise[1:], self.token(connection_id))


def is_reset(data: bytes, tokens: Sequence[bytes]) -> bool:
    """Whether a datagram that is no packet of a connection is a reset with one of its ``tokens``."""
    if len(data) < MIN_RESET or data[0] & 0x80:
        return False
    shown = data[-TOKEN:]
    found = False
    for token in tokens:
        # All of them, and in constant time: they are secret until they are used (section 10.3.1).
        found |= hmac.compare_digest(shown, token)
    return found


def derived_secret(key: bytes, node: str) -> bytes:
    """A secret of a node that has ``key``, a private key, a PSK or what else it keeps. Nodes that share the
    key have each its own: else one would make the tokens of another (section 10.3.2)."""
    info = b"quicdist stateless reset\0" + node.encode()
    return HKDF(hashes.SHA256(), _SECRET, salt=None, info=info).derive(key)


def random_secret() -> bytes:
    """A secret that is lost with the process."""
    return secrets.token_bytes(_SECRET)
