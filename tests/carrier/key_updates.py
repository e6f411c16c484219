"""Key updates of a TLS 1.3 client (RFC 8446, section 4.6.3), made by hand: Python's ``ssl`` has none."""

from __future__ import annotations

import struct
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

#: KeyUpdate with update_requested, and the type of its record.
_UPDATE = b"\x18\0\0\1\1\x16"


class KeyUpdates:
    """Those of the client whose secrets are in ``keylog``; ``sent`` records went before. For AES-256-GCM."""

    def __init__(self, keylog: Path, sent: int = 0) -> None:
        (line,) = [
            line for line in keylog.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0")
        ]
        self._secret = bytes.fromhex(line.split()[2])
        self._sent = sent

    def make(self, count: int) -> bytes:
        """The next records, each of which asks for an answer."""
        return b"".join(self._next() for _ in range(count))

    def _next(self) -> bytes:
        header = struct.pack("!BHH", 23, 0x303, len(_UPDATE) + 16)
        iv = int.from_bytes(self._expand(b"iv", 12))
        nonce = (iv ^ self._sent).to_bytes(12)
        record = header + AESGCM(self._expand(b"key", 32)).encrypt(nonce, _UPDATE, header)
        self._secret, self._sent = self._expand(b"traffic upd", 48), 0
        return record

    def _expand(self, label: bytes, size: int) -> bytes:
        info = struct.pack("!HB", size, 6 + len(label)) + b"tls13 " + label + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)
