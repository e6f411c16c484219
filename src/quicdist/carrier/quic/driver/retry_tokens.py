"""The tokens of Retry packets: they validate the address of a client without state.

A Retry packet carries a token and a new connection id, with which the client starts again (RFC 9000, sections
8.1.2 and 17.2.5). The token holds all that has to be known of the first attempt. aioquic's own tokens are not
used: their lifetime and format cannot be chosen.
"""

from __future__ import annotations

import socket
from itertools import count
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quicdist.carrier.datagram_socket import SocketAddress

#: The lifetime of a token in seconds: a client returns it at once (RFC 9000, section 8.1.4).
LIFETIME: Final = 10.0
_NONCE: Final = 12
_TIME: Final = 8


class StaleToken(Exception):
    """A token that was issued here, but for another address or connection id, or too long ago."""


class RetryTokens:
    """Makes and checks tokens. They are encrypted with a key of the listener, and none is remembered. A token
    that is used twice leads to the same connection, as it holds the connection id that it was issued with."""

    def __init__(self) -> None:
        self._aead = AESGCM(AESGCM.generate_key(128))
        # A counter, not random: a nonce must not be used twice with one key.
        self._numbers = count()

    def issue(self, address: SocketAddress, original_id: bytes, retry_id: bytes, now: float) -> bytes:
        """A token for a client at ``address`` whose first packet went to ``original_id`` and whose next one
        is to go to ``retry_id``. ``now`` is in seconds of any steady clock."""
        nonce = next(self._numbers).to_bytes(_NONCE)
        text = int(now * 1000).to_bytes(_TIME) + original_id
        whose = _bound_to(address, retry_id)
        return nonce + self._aead.encrypt(nonce, len(whose).to_bytes(1) + whose + text, None)

    def check(self, token: bytes, address: SocketAddress, retry_id: bytes, now: float) -> bytes | None:
        """The original destination connection id of a client that shows ``token`` in a packet to
        ``retry_id``; None if the token is not one of ours for it. Raises :class:`StaleToken`."""
        try:
            text = self._aead.decrypt(token[:_NONCE], token[_NONCE:], None)
        except (InvalidTag, ValueError):
            return None
        at = 1 + text[0]
        issued = int.from_bytes(text[at : at + _TIME]) / 1000
        if text[1:at] != _bound_to(address, retry_id) or now - issued > LIFETIME:
            raise StaleToken
        return text[at + _TIME :]


def _bound_to(address: SocketAddress, retry_id: bytes) -> bytes:
    host, port = str(address[0]), int(address[1])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        packed = socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        packed = host.encode()
    return packed + port.to_bytes(2) + retry_id
